"""HTTP for guests, on connections that the agent accepted: uvicorn's protocol with limits.

Guests are not trusted. A connection has deadlines, and nothing that it sends is logged.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from lessor.metadata.http import Receive, Scope, Send
from lessor.metadata.messages import HEAD_S, HEADERS

_SILENT = logging.Logger("lessor.metadata.http", logging.CRITICAL + 1)  # noqa: LOG001 - outside the tree of loggers on purpose: guests must not reach it


class BoundedProtocol(H11Protocol):
    """uvicorn's connection, with a deadline for each part of a request.

    Args:
        config: of uvicorn.
        app: answers the requests of this connection (ASGI 3; HTTP only).
        left: called once, when the connection has ended.
        head_s: seconds from one answer (or the start) to the end of the next request's head.
        answer_s: seconds from there to the end of the answer.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        app: Any,
        left: Callable[[], None],
        *,
        head_s: float,
        answer_s: float,
    ) -> None:
        super().__init__(config, ServerState(), {})
        self.app = app
        self.head_s = head_s
        self.answer_s = answer_s
        self.logger = _SILENT
        self.left = left
        self._deadline: asyncio.TimerHandle | None = None
        self._timed: object = None  # the request whose answer has a deadline

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Start the connection."""
        super().connection_made(transport)
        self._arm(self.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the connection."""
        self._disarm()
        super().connection_lost(exc)
        self.left()

    def handle_events(self) -> None:
        """Process received data; a request with a complete head gets its deadline."""
        super().handle_events()
        if self.cycle is not None and self.cycle is not self._timed:
            self._timed = self.cycle
            if not self.cycle.response_complete:
                self._arm(self.answer_s)

    def on_response_complete(self) -> None:
        """Set the deadline of the rest of the answer, or of the next request's head."""
        self._arm(self.answer_s if self.flow.write_paused else self.head_s)
        super().on_response_complete()

    def resume_writing(self) -> None:
        """Set the deadline of the next request's head, once the answer is nearly sent."""
        super().resume_writing()
        if self.cycle is not None and self.cycle.response_complete:
            self._arm(self.head_s)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        if not self.transport.is_closing():
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Connection:
    """A connection that is served.

    Args:
        protocol: protocol of the connection.
    """

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._finished = False

    async def serve(self, made: socket.socket) -> None:
        """Start to serve; the connection owns the socket from now on."""
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: self._protocol, made)
        except OSError:  # it has ended
            made.close()
            self._protocol.left()
        if self._finished:
            self.finish()

    def finish(self) -> None:
        """End it after the current answer."""
        self._finished = True
        if self._protocol.transport is not None:
            self._protocol.shutdown()


class GuestServer:
    """Serves connections that the agent accepted. Used in an event loop.

    Args:
        config: uvicorn's settings, see `config`.
        head_s: see `BoundedProtocol`.
        answer_s: the same.
    """

    def __init__(self, config: uvicorn.Config, head_s: float, answer_s: float) -> None:
        self._config = config
        self._head_s = head_s
        self._answer_s = answer_s
        self._starting: set[asyncio.Task[None]] = set()

    def serve(self, made: socket.socket, app: Any, left: Callable[[], None]) -> Connection:
        """Serve a connection.

        Args:
            made: accepted and non-blocking; the connection owns it from now on.
            app: answers its requests.
            left: called once, when the connection has ended.
        """
        protocol = BoundedProtocol(
            self._config, app, left, head_s=self._head_s, answer_s=self._answer_s
        )
        connection = Connection(protocol)
        task = asyncio.create_task(connection.serve(made))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)
        return connection


def config() -> uvicorn.Config:
    """Return uvicorn's settings; imports all modules that they need."""
    made = uvicorn.Config(
        _nothing,  # each connection has its own application
        loop="none",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # uvicorn would trust X-Forwarded-For from 127.0.0.1
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(HEAD_S),
        h11_max_incomplete_event_size=HEADERS,
    )
    made.load()
    return made


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """Ignore all requests."""
