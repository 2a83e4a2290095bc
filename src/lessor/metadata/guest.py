"""The guest process, which reads guests' requests: `python -m lessor.metadata.guest`.

The agent starts it. It has no rights, no token and no secret: the agent accepts connections and
hands them over, and answers the process's questions about a connection, by its number. It ends with
the agent.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from lessor.daemon.rights import Limits, forbid_children, give_up
from lessor.metadata.app import GuestApp
from lessor.metadata.http import Receive, Response, Scope, Send
from lessor.metadata.messages import (
    HANDED,
    OF_AGENT,
    READ_BY_PROCESS,
    Answer,
    AskFacts,
    AskNova,
    Finish,
    Frames,
    KeepPassword,
    Left,
    Note,
    OfAgent,
    OfProcess,
    Ping,
    Pong,
    Question,
    Ready,
    Settings,
)
from lessor.metadata.server import Connection, GuestServer, config
from lessor.model import MetadataFacts
from lessor.wire import decode

# 50 MB, and the user data of guests; it writes no file
LIMITS = Limits(memory=512 << 20, files=4096, file_size=0)
AT_ONCE = 32  # connections accepted before other tasks of the loop run


class Line:
    """The socket for messages: sends questions and matches answers by number.

    Args:
        heard: called with each message of the agent except answers.
    """

    def __init__(self, heard: Callable[[OfAgent], None]) -> None:
        self._heard = heard
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Answer]] = {}
        self._ended = asyncio.Event()
        self.frames = Frames(READ_BY_PROCESS, OF_AGENT, self._hear, lambda _: self._ended.set())

    def say(self, message: OfProcess) -> None:
        """Send a message."""
        self.frames.say(message)

    async def ask(self, question: Callable[[int], Question]) -> Answer:
        """Send a question, and return its answer."""
        number = next(self._numbers)
        asked: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._asked[number] = asked
        try:
            self.say(question(number))
            return await asked
        finally:
            del self._asked[number]

    async def ended(self) -> None:
        """Wait until the agent has ended."""
        await self._ended.wait()

    def _hear(self, message: OfAgent) -> None:
        if not isinstance(message, Answer):
            self._heard(message)
            return
        asked = self._asked.get(message.number)
        if asked is not None and not asked.done():
            asked.set_result(message)


class Asking:
    """Requests to the agent about one connection."""

    def __init__(self, line: Line, connection: int) -> None:
        self._line = line
        self._connection = connection

    async def facts(self, forwarded: str | None) -> MetadataFacts | Response:
        """Return the VM's rows, or an error response for it."""
        told = await self._line.ask(lambda n: AskFacts(self._connection, n, forwarded))
        return told.response or decode(told.facts, MetadataFacts)

    async def keep_password(self, password: str, forwarded: str | None) -> Response:
        """Send a password to the agent."""
        told = await self._line.ask(
            lambda n: KeepPassword(self._connection, n, password, forwarded)
        )
        return _response(told)

    async def nova(
        self,
        method: str,
        target: bytes,
        headers: dict[str, str],
        body: bytes,
        forwarded: str | None,
    ) -> Response:
        """Forward a request to Nova through the agent."""
        told = await self._line.ask(
            lambda n: AskNova(
                self._connection,
                n,
                method,  # type: ignore[arg-type] # `GuestApp` lets no other pass
                target,
                body,
                headers.get("accept"),
                headers.get("content-type"),
                forwarded,
            )
        )
        return _response(told)

    def note(self, event: str, text: str = "") -> None:
        """Send a log event to the agent."""
        self._line.say(Note(self._connection, event, text[:200]))  # type: ignore[arg-type] # as above


class Guests:
    """The connections that the agent hands over.

    Args:
        handing: socket that they arrive on.
        http: uvicorn's configuration.
    """

    def __init__(self, handing: socket.socket, http: uvicorn.Config) -> None:
        self._handing = handing
        self._http = http
        self._open: dict[int, Connection] = {}
        self._app: GuestApp
        self._server: GuestServer
        self.line = Line(self._hear)

    def _hear(self, message: OfAgent) -> None:
        match message:
            case Settings():
                self._begin(message)
            case Ping():
                self.line.say(Pong())
            case Finish(number):
                self._take()  # it may be in the socket
                if number in self._open:
                    self._open[number].finish()

    def _begin(self, settings: Settings) -> None:
        self._app = GuestApp(settings, time.time)
        self._server = GuestServer(self._http, settings.head_s, settings.answer_s)
        asyncio.get_running_loop().add_reader(self._handing, self._take)
        self.line.say(Ready())

    def _take(self) -> None:
        for _ in range(AT_ONCE):
            try:
                data, handed, _, _ = socket.recv_fds(self._handing, HANDED.size, 1)
            except BlockingIOError:
                return
            if not data:
                asyncio.get_running_loop().remove_reader(self._handing)
                return  # the message socket ends, too
            (number,) = HANDED.unpack(data)
            if handed:
                self._serve(number, socket.socket(fileno=handed[0]))
            else:  # no descriptor was free
                self.line.say(Left(number))

    def _serve(self, number: int, made: socket.socket) -> None:
        asking = Asking(self.line, number)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            await self._app.serve(asking, scope, receive, send)

        def left() -> None:
            self._open.pop(number, None)
            self.line.say(Left(number))

        made.setblocking(False)
        self._open[number] = self._server.serve(made, answer, left)


def _response(told: Answer) -> Response:
    if told.response is None:
        raise AssertionError("the agent answers this question with a response")
    return told.response


async def _serve(handing: socket.socket, line: socket.socket, http: uvicorn.Config) -> None:
    # no log lines for requests of guests; errors that end this process are still printed
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    handing.setblocking(False)
    guests = Guests(handing, http)
    await asyncio.get_running_loop().create_connection(lambda: guests.line.frames, sock=line)
    await guests.line.ended()


def main(handing: int, line: int, uid: int, gid: int) -> None:
    """Serve guests until the agent has ended.

    Args:
        handing: descriptor of the socket for connections.
        line: descriptor of the socket for messages.
        uid: user of this process from now on.
        gid: group of that user.
    """
    logging.disable()
    sockets = socket.socket(fileno=handing), socket.socket(fileno=line)
    http = config()
    gc.collect()
    gc.freeze()
    give_up(uid, gid, LIMITS, with_parent=True)
    forbid_children()
    with suppress(KeyboardInterrupt):
        asyncio.run(_serve(*sockets, http))
    os._exit(0)  # the kernel ends the connections; there is nothing else to clean up


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
