"""The sockets of one server, made in its namespace by a process that may enter it.

They say by themselves what each is for, so they can be passed in any order: listening sockets are
bound to port 53, the others ask upstream servers. Those are used again and again: a process without
rights can make none in another namespace. `disconnect` takes a socket's port from it, so that the
kernel chooses another at random for its next question.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

from lessor.core.dns.zone import Zone
from lessor.netns import inside

PORT = 53
BACKLOG = 64
UPSTREAM_UDP = 2  # of each family; one is used until it is old, while the other's answers come
UPSTREAM_TCP = 4
_IP_FREEBIND, _IPV6_FREEBIND, _IP_RECVERR, _IPV6_RECVERR = 15, 78, 11, 25
_UNSPECIFIED = bytes(16)  # a socket address of the family AF_UNSPEC

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets of one server, by what they are for; those of upstream by family."""

    udp: list[socket.socket] = field(default_factory=list)
    tcp: list[socket.socket] = field(default_factory=list)
    ask_udp: list[socket.socket] = field(default_factory=list)
    ask_tcp: list[socket.socket] = field(default_factory=list)

    def __iter__(self) -> Iterator[socket.socket]:
        for group in (self.udp, self.tcp, self.ask_udp, self.ask_tcp):
            yield from group


def open_sockets(namespace: str, zone: Zone) -> list[socket.socket]:
    """Make the sockets of a server. Its addresses need not be there yet.

    Raises:
        OSError: the namespace is not there, or another program has port 53.
    """
    made: list[socket.socket] = []
    try:
        with inside(namespace):
            for address in dict.fromkeys(one.server for one in zone.ranges):
                made.append(_listening(address, socket.SOCK_DGRAM))
                made.append(_listening(address, socket.SOCK_STREAM))
            made += _all_asking(zone)
    except OSError:
        for one in made:
            one.close()
        raise
    return made


def open_asking(namespace: str, zone: Zone) -> list[socket.socket]:
    """Make the sockets that ask a server's upstream servers.

    Raises:
        OSError: the namespace is not there, or no descriptor is free.
    """
    with inside(namespace):
        return _all_asking(zone)


def families(zone: Zone) -> list[int]:
    """Return the families that upstream servers may have; [] if none is asked."""
    if zone.follows_host:
        return [socket.AF_INET, socket.AF_INET6] if socket.has_ipv6 else [socket.AF_INET]
    versions = {ip_address(one).version for one in zone.upstream}
    return [
        family
        for version, family in ((4, socket.AF_INET), (6, socket.AF_INET6))
        if version in versions
    ]


def sort(sockets: Iterable[socket.socket]) -> Sockets:
    """Tell what each socket is for."""
    sorted_ = Sockets()
    for one in sockets:
        one.setblocking(False)
        if one.type == socket.SOCK_DGRAM:
            (sorted_.udp if one.getsockname()[1] == PORT else sorted_.ask_udp).append(one)
        elif one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            sorted_.tcp.append(one)
        else:
            sorted_.ask_tcp.append(one)
    return sorted_


def packed(address: str) -> bytes:
    """Return an address as octets; the interface of a link-local one is left out."""
    address = address.partition("%")[0]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address)


def disconnect(sock: socket.socket) -> None:
    """End a socket's connection, if it has one, and take its port from it.

    Source: connect(2), AF_UNSPEC.
    """
    if _libc.connect(sock.fileno(), _UNSPECIFIED, len(_UNSPECIFIED)):
        number = ctypes.get_errno()
        raise OSError(number, f"connect: {os.strerror(number)}")


def _listening(address: bytes, kind: int) -> socket.socket:
    family = socket.AF_INET if len(address) == 4 else socket.AF_INET6  # noqa: PLR2004 - octets
    sock = socket.socket(family, kind)
    try:
        if family == socket.AF_INET:
            sock.setsockopt(socket.SOL_IP, _IP_FREEBIND, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_FREEBIND, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        text = socket.inet_ntop(family, address)
        try:
            sock.bind((text, PORT))
        except OSError as error:
            raise OSError(error.errno, f"{text} port {PORT}: {error.strerror}") from error
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def _all_asking(zone: Zone) -> list[socket.socket]:
    made: list[socket.socket] = []
    for family in families(zone):
        made += [_asking(family, socket.SOCK_DGRAM) for _ in range(UPSTREAM_UDP)]
        made += [_asking(family, socket.SOCK_STREAM) for _ in range(UPSTREAM_TCP)]
    return made


def _asking(family: int, kind: int) -> socket.socket:
    sock = socket.socket(family, kind)
    with suppress(OSError):  # without it a server that is not there is noticed by its silence only
        sock.setsockopt(socket.SOL_IP, _IP_RECVERR, 1)
    if family == socket.AF_INET6:
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    return sock
