"""Manages network namespaces.

Ours are those named "qdhcp-...", as Neutron names them. No other is looked at.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from lessor.agent.host.run import Run
from lessor.core.diff import Changes, Unsound
from lessor.core.state import Namespace
from lessor.errors import CommandError, LessorError
from lessor.netns import FOLDER, inside
from lessor.steps import Step, each

PREFIX = "qdhcp-"
SYSCTLS = {  # its addresses and routes are what we give it (LP 1627902)
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    # A path's MTU is believed of TCP alone, which proves that it is about a flow: by ICMP that any
    # VM can make up, answers to others would be cut to 552 bytes (ip-sysctl.rst, kernel 3.14).
    "net/ipv4/ip_no_pmtu_disc": "3",
}
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1  # linux/sockios.h, linux/if.h
_IFREQ = struct.Struct("16sH22x")


class NamespaceDriver:
    """Makes and removes namespaces.

    Args:
        run: runs ip.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    def observe(self) -> dict[str, Namespace | Unsound[Namespace]]:
        """Return our namespaces, by name."""
        return {name: _shown(name) for name in names()}

    def apply(self, changes: Changes[Namespace]) -> None:
        """Apply every change; raise one group of the failures."""
        wanted = [one.name for one in changes.create + changes.replace]
        broken = [name for name in wanted if (FOLDER / name).exists() and not _is_real(name)]
        gone = [one.name for one in changes.delete]
        steps: list[Step] = [
            lambda: self._all("del", broken + gone),
            lambda: self._all("add", [name for name in wanted if not (FOLDER / name).exists()]),
            *(partial(_set_up, name) for name in wanted),
        ]
        each(steps, "namespaces")

    def _all(self, order: str, targets: Iterable[str]) -> None:
        """Do it for all with one process; if that fails, for each by itself."""
        lines = "".join(f"netns {order} {name}\n" for name in targets)
        try:
            if lines:
                self._run("ip", "-batch", "-", stdin=lines)
        except CommandError:
            left = [name for name in targets if (FOLDER / name).exists() == (order == "del")]
            each([partial(self._run, "ip", "netns", order, name) for name in left], "namespaces")


def names() -> list[str]:
    """Return the names of all namespaces of ours."""
    with contextlib.suppress(FileNotFoundError):
        return sorted(file.name for file in FOLDER.iterdir() if file.name.startswith(PREFIX))
    return []


def _is_real(name: str) -> bool:
    """Tell whether there is a namespace behind the name: after a crash it may be an empty file."""
    try:
        with inside(name):
            return True
    except OSError:
        return False


def _shown(name: str) -> Namespace | Unsound[Namespace]:
    found = Namespace(name)
    return found if _is_ready(name) else Unsound(found, f"namespace {name} is not set up")


def _is_ready(name: str) -> bool:
    try:
        with inside(name):
            return bool(_lo() & IFF_UP) and all(
                not file.exists() or file.read_text().strip() == value
                for file, value in _settings()
            )
    except OSError:
        return False


def _set_up(name: str) -> None:
    try:
        with inside(name):
            for file, value in _settings():
                if file.exists():  # else a kernel without IPv6
                    file.write_text(value)
            _lo(up=True)
    except OSError as error:
        raise LessorError(f"namespace {name}: {error}") from error


def _settings() -> list[tuple[Path, str]]:
    return [(Path("/proc/sys", name), value) for name, value in SYSCTLS.items()]


def _lo(*, up: bool = False) -> int:
    """Return the flags of lo of this thread's namespace, once it is up if so asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
        asked = _IFREQ.pack(b"lo", 0)
        flags: int = _IFREQ.unpack(fcntl.ioctl(control, SIOCGIFFLAGS, asked))[1]
        if up and not flags & IFF_UP:
            fcntl.ioctl(control, SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | IFF_UP))
    return flags
