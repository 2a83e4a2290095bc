"""One run of the guest process: its start, its questions, its end.

It is executed, not only forked, so it has no memory of the agent. Its messages are checked; a run
that hangs or violates the protocol is ended.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from lessor.daemon.rights import User, unprivileged
from lessor.errors import Invalid, Unavailable
from lessor.metadata.backend import Backend, Visitor
from lessor.metadata.messages import (
    HANDED,
    OF_PROCESS,
    READ_BY_AGENT,
    Finish,
    Frames,
    Left,
    Note,
    OfProcess,
    Ping,
    Pong,
    Question,
    Ready,
    Settings,
)

USERS = ("lessor-metadata", "nobody")  # of the process; the first existing one is used
PASSED = ("LANG", "PATH", "PYTHONPATH")  # environment variables of the process
START_S = 30.0
UNANSWERED = 2  # pings, after which it hangs
END_S = 2.0
_PIPE = 64 << 10  # bytes in a pipe
_SHOWN = 300


class Visit(Visitor, Protocol):
    """A connection that the process serves. `kept`: the agent's descriptor of it."""

    @property
    def kept(self) -> socket.socket:
        """Return the agent's descriptor."""

    def left(self) -> None:
        """Called when the process has closed its descriptor."""

    def lost(self) -> None:
        """Called when the process has ended."""


@dataclass(slots=True)
class _Served:
    visit: Visit
    asks: bool = False


class Run:
    """One run. It accepts connections from its start; they wait until it is ready.

    Args:
        program: the Python module to run.
        backend: answers its questions.

    Raises:
        OSError: it can't be started.
    """

    def __init__(self, program: str, backend: Backend) -> None:
        self._backend = backend
        self._user = unprivileged(USERS)
        self._served: dict[int, _Served] = {}
        self._numbers: dict[Visit, int] = {}
        self._next = itertools.count(1)
        self._answering: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[str] | None = None
        self._unanswered = 0
        self._is_ready = asyncio.Event()
        self._ready: Callable[[User], None] = _ignore
        self._heard_last: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._frames = Frames(READ_BY_AGENT, OF_PROCESS, self._take, self._stop)
        self._opening: asyncio.Task[Any] | None = None
        self._handing, handed = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._line, line = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._process = self._execute(program, handed, line)
        except OSError:
            self._handing.close()
            self._line.close()
            raise
        finally:
            handed.close()
            line.close()
        self._handing.setblocking(False)
        self._pidfd = os.pidfd_open(self._process.pid)

    def _execute(
        self, program: str, handed: socket.socket, line: socket.socket
    ) -> subprocess.Popen[bytes]:
        numbers = (handed.fileno(), line.fileno(), self._user.uid, self._user.gid)
        return subprocess.Popen(
            (sys.executable, "-P", "-m", program, *map(str, numbers)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=numbers[:2],
            env={name: os.environ[name] for name in PASSED if name in os.environ},
            cwd="/",
            start_new_session=True,  # ^C of a terminal goes to the agent only
        )

    @property
    def pid(self) -> int:
        """The pid."""
        return self._process.pid

    def hand_over(self, visit: Visit) -> None:
        """Pass a connection to the process.

        Raises:
            Unavailable: it accepts none now.
        """
        number = next(self._next)
        try:
            socket.send_fds(self._handing, [HANDED.pack(number)], [visit.kept.fileno()])
        except OSError as error:  # its queue is full, or it has just ended
            raise Unavailable(f"the guest process accepts no connection: {error}") from error
        self._served[number] = _Served(visit)
        self._numbers[visit] = number

    def finish(self, visit: Visit) -> None:
        """Let it end a connection after the current answer."""
        if visit in self._numbers:
            self._frames.say(Finish(self._numbers[visit]))

    def forget(self, visit: Visit) -> None:
        """Answer no more questions about a connection."""
        number = self._numbers.pop(visit, None)
        if number is not None:
            del self._served[number]

    async def serve(self, settings: Settings, ping_s: float, ready: Callable[[User], None]) -> str:
        """Serve until it ends, or has to be ended; return the reason."""
        loop = asyncio.get_running_loop()
        opening = loop.create_connection(lambda: self._frames, sock=self._line)
        self._ready = ready
        self._opening = asyncio.create_task(opening)
        await asyncio.shield(self._opening)
        self._frames.say(settings)
        watch = asyncio.create_task(self._watch(ping_s))
        try:
            why = await self._heard_last
        finally:
            watch.cancel()
        return why + await self.end(grace_s=0 if why else END_S)

    async def end(self, grace_s: float = END_S) -> str:
        """End it within `grace_s`; return its last output if it ended by itself."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(grace_s))
        return await asyncio.shield(self._ending)

    async def _end(self, grace_s: float) -> str:
        self._handing.close()
        if self._opening is not None:
            await self._opening
        self._frames.hang_up()
        self._line.close()
        for task in self._answering:
            task.cancel()
        for served in list(self._served.values()):
            served.visit.lost()
        by_itself = await self._has_ended(grace_s)
        if not by_itself:
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            await self._has_ended(END_S)
        os.close(self._pidfd)
        reason = _last_words(self._process)
        return reason if by_itself else ""

    def _stop(self, why: str) -> None:
        if not self._heard_last.done():
            self._heard_last.set_result(why)

    async def _watch(self, ping_s: float) -> None:
        """Ping it until it doesn't answer."""
        try:
            async with asyncio.timeout(START_S):
                await self._is_ready.wait()
        except TimeoutError:
            self._stop(f"it was not ready after {START_S:g} s")
            return
        while self._unanswered < UNANSWERED:
            self._unanswered += 1
            self._frames.say(Ping())
            await asyncio.sleep(ping_s)
        self._stop(f"it hangs: no answer for {UNANSWERED * ping_s:g} s")

    def _take(self, message: OfProcess) -> None:
        match message:
            case Ready():
                self._is_ready.set()
                self._ready(self._user)
            case Pong():
                self._unanswered = 0
            case Left(number):
                if number in self._served:
                    self._served[number].visit.left()
            case Note(number, event, text):
                if number in self._served:
                    self._backend.note(self._served[number].visit, event, text)
            case _:
                self._ask(message)

    def _ask(self, question: Question) -> None:
        served = self._served.get(question.connection)
        if served is None:  # it has just been reset
            return
        if served.asks:
            raise Invalid("two questions about one connection at once")
        served.asks = True
        task = asyncio.create_task(self._answer(served, question))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, served: _Served, question: Question) -> None:
        answer = await self._backend.answer(served.visit, question)
        served.asks = False
        self._frames.say(answer)

    async def _has_ended(self, within_s: float) -> bool:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        loop.add_reader(self._pidfd, ended.set)
        try:
            async with asyncio.timeout(within_s):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._pidfd)
        return True


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """Return how a process ended: its status and the last line of its output."""
    assert process.stderr is not None
    with process.stderr as pipe:
        os.set_blocking(pipe.fileno(), False)
        lines = (pipe.read(_PIPE) or b"").decode(errors="replace").split("\n")
    last = next((line for line in reversed(lines) if line.strip()), "")
    status = process.wait(END_S)
    how = f"signal {-status}" if status < 0 else f"exit status {status}"
    return f"{how}: {last[:_SHOWN]}" if last else how


def _ignore(_: User) -> None:
    """Do nothing."""
