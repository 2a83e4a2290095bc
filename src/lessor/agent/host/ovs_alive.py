"""Asks the daemons of Open vSwitch twice a second whether they answer.

A daemon that hangs makes each program that asks it hang too. Whoever needs one looks here first:
while it does not answer nothing of Open vSwitch is touched, so that nothing else waits for it.

ovs-vswitchd is asked for its version over its control socket (ovs-appctl(8)), ovsdb-server for an
echo (RFC 7047, 4.1.11). The kernel accepts a connection in the place of a process that is stopped:
that tells a daemon that hangs from one that does not run.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from lessor.core.diagnosis.daemons import hangs, not_running
from lessor.signal import Signal

EVERY_S = 0.5  # between questions: a pass that has begun waits for an answer meanwhile
LIMIT_S = 2.0  # for an answer: a busy ovs-vswitchd takes up to a second
RETRY_S = 0.5  # between looks for one that does not run
DATABASE, SWITCH = "ovsdb-server", "ovs-vswitchd"
ECHO = b'{"id":"lessor","method":"echo","params":[]}'
VERSION = b'{"id":0,"method":"version","params":[]}'
_ANSWER = 1 << 16
_CREDENTIALS = struct.Struct("=3i")  # pid, uid, gid; unix(7)


class Pulse:
    """Whether one daemon answers.

    Args:
        name: of the program.
        sockets: returns where it may be asked; there may be sockets of one that was killed.
        request: that it answers with anything.
        others: returns further sockets of it: if one of them listens, it runs.

    Attributes:
        obstacle: why it can't be used; "": it answers, or nothing is known yet.
        changed: `obstacle` changed; emitted in the event loop.
    """

    def __init__(
        self,
        name: str,
        sockets: Callable[[], Iterable[Path]],
        request: bytes,
        others: Callable[[], Iterable[Path]] = tuple,
    ) -> None:
        self._name = name
        self._sockets = sockets
        self._request = request
        self._others = others
        self.obstacle = ""
        self.changed: Signal[[]] = Signal()

    def suspect(self, why: str) -> None:
        """Say that it did not answer; true until it does. May be called by any thread."""
        self.obstacle = self.obstacle or why

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            opened = await _first(self._sockets())
            if opened is None:
                await self._absent()
                continue
            with opened, suppress(OSError):
                await self._ask(opened)

    async def _absent(self) -> None:
        elsewhere = await _first(self._others())
        if elsewhere:  # it has no control socket, or another one
            elsewhere.close()
        self._say("" if elsewhere else not_running(self._name))
        await asyncio.sleep(EVERY_S if elsewhere else RETRY_S)

    async def _ask(self, opened: socket.socket) -> None:
        """Ask again and again, until the other end closes."""
        loop = asyncio.get_running_loop()
        while True:
            await loop.sock_sendall(opened, self._request)
            answer = loop.create_task(loop.sock_recv(opened, _ANSWER))
            try:
                if not (await asyncio.wait({answer}, timeout=LIMIT_S))[0]:
                    pid = pid_of(opened)
                    self._say(hangs(self._name, pid, state_of(pid)))
                if not await answer:
                    return
            finally:
                answer.cancel()
            self._say("")
            await asyncio.sleep(EVERY_S)

    def _say(self, obstacle: str) -> None:
        if obstacle != self.obstacle:
            self.obstacle = obstacle
            self.changed.emit()


class OvsAlive:
    """Whether both daemons answer.

    Args:
        database: the socket of ovsdb-server; None: it is asked over the network, and not here.
        folder: of the sockets of ovs-vswitchd.
        bridges: whose sockets are there, too.
    """

    def __init__(self, database: Path | None, folder: Path, bridges: Iterable[str]) -> None:
        switches = [folder / f"{bridge}.mgmt" for bridge in bridges]
        self.switch = Pulse(
            SWITCH, lambda: folder.glob(f"{SWITCH}.*.ctl"), VERSION, lambda: switches
        )
        self.database = Pulse(DATABASE, lambda: [database] if database else [], ECHO)
        self._pulses = (self.database, self.switch) if database else (self.switch,)

    def obstacles(self) -> tuple[str, ...]:
        """Return why Open vSwitch can't be used, a text for each daemon; (): it can."""
        return tuple(pulse.obstacle for pulse in self._pulses if pulse.obstacle)

    async def run(self, changed: Callable[[], None]) -> None:
        """Ask until cancelled; call `changed` when `obstacles` changed."""
        async with asyncio.TaskGroup() as tasks:
            for pulse in self._pulses:
                pulse.changed.subscribe(changed)
                tasks.create_task(pulse.run())


def database_obstacle(place: Path) -> str:
    """Ask ovsdb-server once, and wait; return as `Pulse.obstacle`."""
    return _asked(DATABASE, [place], ECHO)


def switch_obstacle(folder: Path) -> str:
    """Ask ovs-vswitchd once, and wait; return as `Pulse.obstacle`."""
    return _asked(SWITCH, folder.glob(f"{SWITCH}.*.ctl"), VERSION, folder.glob("*.mgmt"))


def _asked(name: str, places: Iterable[Path], request: bytes, others: Iterable[Path] = ()) -> str:
    for place in places:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(LIMIT_S)
            with suppress(OSError):
                asked.connect(str(place))
                asked.sendall(request)
                try:
                    asked.recv(_ANSWER)
                except TimeoutError:
                    pid = pid_of(asked)
                    return hangs(name, pid, state_of(pid))
                return ""
    return "" if any(map(_is_open, others)) else not_running(name)


def _is_open(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(LIMIT_S)
        return tried.connect_ex(str(place)) == 0


def pid_of(opened: socket.socket) -> int:
    """Return the process that listened where this socket is connected to; 0: not one of ours."""
    credentials = opened.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(credentials)[0]
    return pid


def state_of(pid: int) -> str:
    """Return the state of a process as proc(5) has it ("T": stopped); "": there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


async def _first(places: Iterable[Path]) -> socket.socket | None:
    """Connect to the first socket with a listener."""
    for place in places:
        made = socket.socket(socket.AF_UNIX)
        made.setblocking(False)
        try:
            async with asyncio.timeout(LIMIT_S):
                await asyncio.get_running_loop().sock_connect(made, str(place))
        except (OSError, TimeoutError):
            made.close()
            continue
        except BaseException:
            made.close()
            raise
        return made
    return None
