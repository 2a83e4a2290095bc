"""An HTTP server for guests: uvicorn, with bounds that no guest can break.

A guest may be anybody's machine. It can hold only so many connections, each only for so long, and
nothing it sends makes a line in our log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

CONNECTIONS = 256  # of one listener
CONNECTIONS_OF_ONE = 24  # of one client there
HEADERS = 16 << 10  # bytes of a request's line and headers
BACKLOG = 64
IDLE_S = 5  # between two requests of a connection
ANSWER_S = 40.0  # from one answer (or the connection's start) to the end of the next
GRACE_S = 2  # for requests under way when the listener closes

_SILENT = logging.Logger("lessor.metadata.http", logging.CRITICAL + 1)  # noqa: LOG001 - outside the tree of loggers on purpose: guests must not reach it


class _State(ServerState):
    """What a server's connections share. `ends`: a connection made now came too late."""

    ends = False


class BoundedProtocol(H11Protocol):
    """uvicorn's connection, with a limit on their number and a deadline for each."""

    answer_s: ClassVar[float] = ANSWER_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _SILENT
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's own
        """Take the connection, or reset it if there are too many."""
        super().connection_made(transport)
        host = self.client and self.client[0]
        of_one = sum(_host(connection) == host for connection in self.connections)
        ends = isinstance(self.server_state, _State) and self.server_state.ends
        if ends or len(self.connections) > CONNECTIONS or of_one > CONNECTIONS_OF_ONE:
            transport.abort()
        else:
            self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Give the next request of this connection its time."""
        self._arm()
        super().on_response_complete()

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self.answer_s, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _host(connection: object) -> str | None:
    client: tuple[str, int] | None = getattr(connection, "client", None)
    return client and client[0]


class Server(uvicorn.Server):
    """uvicorn in a loop that isn't its own: it leaves signals alone and sleeps until it is told."""

    def __init__(self, app: Any) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="none",
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # uvicorn would believe X-Forwarded-For from 127.0.0.1
                server_header=False,
                date_header=False,
                backlog=BACKLOG,
                timeout_keep_alive=IDLE_S,
                timeout_graceful_shutdown=GRACE_S,
                h11_max_incomplete_event_size=HEADERS,
            )
        )
        self.server_state: _State = _State()
        self._up = asyncio.Event()
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.servers: list[asyncio.base_events.Server] = []

    async def start(self, listening: socket.socket) -> None:
        """Serve `listening`, which becomes ours; return when it is served."""
        self._listening = listening
        self._task = asyncio.create_task(self.serve(sockets=[listening]))
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait((self._task, up), return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._task.done():
            listening.close()
            self._task.result()  # raises what went wrong

    def is_serving(self) -> bool:
        """Tell whether it was started and still runs."""
        return self._task is not None and not self._task.done()

    async def stop(self) -> None:
        """Take no more connections, let requests under way finish, close all.

        Whatever uvicorn's own end came to, even if it died before: nothing is left open.
        """
        self.server_state.ends = True
        self._stop.set()
        if self._task is not None:
            await asyncio.wait((self._task,))
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        self._listening.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the agent."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, and say so."""
        await super().startup(sockets)
        self._up.set()

    async def main_loop(self) -> None:
        """Wait for the end. uvicorn wakes ten times a second here; we have a server a bridge."""
        await self._stop.wait()
