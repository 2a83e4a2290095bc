"""One agent at a time in a network namespace, and how to find it.

An agent listens at an abstract Unix socket (unix(7)): such a name belongs to the network namespace
and ends with the process, so it is a lock without a file. A client that connects gets one JSON
value: which agent that is and how old its view is.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from lessor.errors import Conflict, Invalid
from lessor.wire import decode, encode

NAME = "\0lessor-agent"
ANSWER_S = 2.0  # an agent that hangs is known by its pid only
MAX_BYTES = 1 << 16
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: SO_PEERCRED, unix(7)


@dataclass(frozen=True, slots=True)
class Presence:
    """An agent that runs in this network namespace. Times: seconds since 1970."""

    pid: int = 0
    host: str = ""
    state_dir: str = ""  # "": it didn't say, it hangs
    epoch: str = ""
    revision: int = 0
    answered_at: float = 0.0  # when the server's last answer came; 0: none in this run
    in_sync: bool = False
    problem: str = ""


def claim() -> socket.socket | None:
    """Take the name for this process; None: a program of another user has it.

    Raises:
        Conflict: another agent runs in this network namespace.
    """
    taken = socket.socket(socket.AF_UNIX)
    try:
        taken.bind(NAME)
    except OSError:
        taken.close()
        other = find()
        if other is None:
            return None
        where = f"state folder {other.state_dir}" if other.state_dir else "it does not answer"
        raise Conflict(
            f"another agent runs on this host: pid {other.pid}, {where}; stop it first "
            "(systemctl stop lessor-agent)"
        ) from None
    taken.listen()
    return taken


def find() -> Presence | None:
    """Return the agent that runs in this network namespace; None: there is none."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(ANSWER_S)
        try:
            asking.connect(NAME)
        except OSError:
            return None
        raw = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(raw)
        if uid != 0:  # any user may listen there; agents are root
            return None
        found = Presence()
        with contextlib.suppress(OSError, Invalid):
            found = decode(_all(asking), Presence)
        return replace(found, pid=pid)


def _all(asking: socket.socket) -> bytes:
    received = b""
    while len(received) < MAX_BYTES and (part := asking.recv(MAX_BYTES)):
        received += part
    return received


async def answer(taken: socket.socket, present: Callable[[], Presence]) -> None:
    """Answer all clients, until cancelled."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(present()))
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(tell, sock=taken)
    async with server:
        await server.serve_forever()
