"""Facts about processes and their sockets, from /proc: state, end, waiting packets, port holders.

Source: proc(5); pidfd_open(2) and linux/pidfd.h (PIDFD_GET_INFO, exit status since Linux 6.15).
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
UDP, TCP = "udp", "tcp"
STATES = {
    "T": "stopped",
    "t": "stopped by a debugger",
    "D": "waits for a disk",
    "S": "sleeps",
    "R": "runs",
}
# _IOWR(0xFF, 11, struct pidfd_info) with the 64 bytes of its first version
_GET_INFO, _INFO_EXIT = 0xC040FF0B, 1 << 3
_INFO = struct.Struct("=QQ11Ii")


@dataclass(frozen=True, slots=True)
class Activity:
    """What a process does: its state letter, the CPU ticks it has used, and how it ended (Z)."""

    state: str
    ticks: int
    status: int  # as waitpid(2) gives it; of a zombie

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it (SIGSTOP, debugger)."""
        return self.state in {"T", "t"}

    def __str__(self) -> str:
        return f"state {self.state}, {STATES.get(self.state, 'unknown')}"


def activity(pid: int) -> Activity | None:
    """Return what a process does; None: there is none with that id."""
    try:
        content = _start_of(f"{PROC}/{pid}/stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = content.rpartition(b")")[2].split()
    return Activity(fields[0].decode(), int(fields[11]) + int(fields[12]), int(fields[-1]))


def _start_of(path: str) -> bytes:
    """Read a file of one short line; pathlib takes four times as long, and this is read often."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, 1024)
    finally:
        os.close(file)


def how_it_ended(pid: int, pidfd: int) -> str:
    """Return signal or exit status of a process that ended; "" where the kernel doesn't tell."""
    status = _status(pid, pidfd)
    if status is None:
        return ""
    if os.WIFSIGNALED(status):
        return f"signal {signal.Signals(os.WTERMSIG(status)).name}"
    return f"exit status {os.WEXITSTATUS(status)}"


def _status(pid: int, pidfd: int) -> int | None:
    seen = activity(pid)
    if seen and seen.state == "Z":
        return seen.status
    info = bytearray(_INFO.pack(_INFO_EXIT, *(0,) * 13))
    with suppress(OSError):
        fcntl.ioctl(pidfd, _GET_INFO, info)
        mask, *_, status = _INFO.unpack(info)
        if mask & _INFO_EXIT:
            return int(status)
    return None


def waiting(pid: int, ports: frozenset[int] = frozenset((53, 67))) -> int:
    """Return how many bytes wait in the UDP sockets of a process, on these local ports."""
    own = set(_sockets(pid))
    rows = _rows(PROC / str(pid) / "net" / UDP)
    return sum(queue for port, queue, inode in rows if port in ports and inode in own)


def holders(port: int, kind: str = UDP) -> str:
    """Return which processes have a port in this thread's network namespace, "" if none is found.

    A socket bound to one device holds the port on that device only: all holders are named.
    """
    rows = _rows(PROC / "thread-self" / "net" / kind)
    inodes = {inode for found, _, inode in rows if found == port and inode}
    named = [
        f"{_program(pid)} (pid {pid})" for pid in _pids() if not inodes.isdisjoint(_sockets(pid))
    ]
    return ", ".join(named)


def _rows(table: Path) -> Iterator[tuple[int, int, int]]:
    """Yield (local port, bytes received and not read, inode) of each socket."""
    with suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            yield port, int(fields[4].rpartition(":")[2], 16), int(fields[9])


def _sockets(pid: int) -> Iterator[int]:
    """Yield the inodes of the sockets that a process has open."""
    folder = PROC / str(pid) / "fd"
    with suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208 - names only: there may be thousands
            with suppress(OSError):
                target = os.readlink(folder / name)  # noqa: PTH115 - "socket:[1]" is no path
                if target.startswith("socket:["):
                    yield int(target[8:-1])


def _pids() -> list[int]:
    return sorted(int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208 - as above


def _program(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return "a program that ended"
