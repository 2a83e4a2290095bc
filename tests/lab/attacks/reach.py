"""Connections and datagrams: what answers in a namespace, and who gets there."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from lessor.lab.netns import in_netns
from lessor.lab.vm import NIC

ANSWER_S = 1.5  # a SYN that was lost is sent again after 1 s
SERVICE = 22


@dataclass(frozen=True, slots=True)
class Door:
    """An address and port that somebody tries; a link-local one by the VM's NIC."""

    address: str
    port: int = SERVICE
    source: str = ""

    def __str__(self) -> str:
        return f"{self.source or 'its own'} -> {self.address} port {self.port}"


def opened(netns: Path, doors: Sequence[Door], timeout_s: float = ANSWER_S) -> list[Door]:
    """Try all at once; return those that took a connection."""
    with selectors.DefaultSelector() as waiting, ExitStack() as stack:
        for door in doors:
            made = in_netns(netns, lambda door=door: _connecting(door))  # type: ignore[misc]
            if made is not None:
                stack.callback(made.close)
                waiting.register(made, selectors.EVENT_WRITE, door)
        found, end = [], time.monotonic() + timeout_s
        while waiting.get_map() and time.monotonic() < end:
            for key, _ in waiting.select(max(0, end - time.monotonic())):
                assert isinstance(key.fileobj, socket.socket)
                if not key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    found.append(key.data)
                waiting.unregister(key.fileobj)
        return found


def _connecting(door: Door) -> socket.socket | None:
    """Return a socket that has sent its SYN; None: there is no way there."""
    version = ip_address(door.address).version
    made = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6)
    made.setblocking(False)
    try:
        if door.source:
            made.bind((door.source, 0))
        scope = (0, socket.if_nametoindex(NIC)) if version == 6 else ()
        status = made.connect_ex((door.address, door.port, *scope))
    except OSError:
        status = errno.EADDRNOTAVAIL
    if status not in {0, errno.EINPROGRESS}:
        made.close()
        return None
    return made


@dataclass
class Services:
    """Listens in namespaces in the place of sshd, and for datagrams."""

    listeners: list[socket.socket] = field(default_factory=list)
    datagrams: dict[str, socket.socket] = field(default_factory=dict)

    def open(self, name: str, netns: Path) -> None:
        self.listeners.append(in_netns(netns, _listener))
        self.datagrams[name] = in_netns(netns, _receiver)

    def received(self, mark: bytes) -> list[str]:
        """Return who has received a datagram with the mark since the last look."""
        return [name for name, one in self.datagrams.items() if mark in _read(one)]

    def close(self) -> None:
        for one in (*self.listeners, *self.datagrams.values()):
            one.close()


@contextmanager
def services(places: dict[str, Path]) -> Iterator[Services]:
    made = Services()
    try:
        for name, netns in places.items():
            made.open(name, netns)
        yield made
    finally:
        made.close()


def _listener() -> socket.socket:
    return socket.create_server(
        ("::", SERVICE), family=socket.AF_INET6, dualstack_ipv6=True, backlog=256
    )


def _receiver() -> socket.socket:
    made = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    made.bind(("::", SERVICE))
    made.setblocking(False)
    return made


def _read(receiver: socket.socket) -> bytes:
    content = []
    while True:
        try:
            content.append(receiver.recv(2048))
        except BlockingIOError:
            return b"".join(content)
