"""Neighbour entries of one network namespace: reads them, makes them permanent, releases them.

Ours have protocol 76. No ARP packet changes a permanent entry.

Source: rtnetlink(7), linux/neighbour.h; protocol and requests for one entry: Linux 5.0.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from lessor.net.address import Address

NEW, GET = 28, 30  # RTM_NEWNEIGH, RTM_GETNEIGH
REQUEST, ACKNOWLEDGE, DUMP, REPLACE, CREATE = 0x1, 0x4, 0x300, 0x100, 0x400  # NLM_F_*
ERROR, DONE = 2, 3
USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # reachable, stale, delay, probe, noarp, permanent
STALE, PERMANENT = 0x04, 0x80  # NUD_*
DST, LLADDR, PROTOCOL = 1, 2, 12  # NDA_*
OURS = 76
ANSWER_S = 2.0

_HEAD = struct.Struct("=IHHII")  # nlmsghdr
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg
_ATTRIBUTE = struct.Struct("=HH")
_ERROR = struct.Struct("=i")


@dataclass(frozen=True, slots=True)
class Entry:
    """A neighbour entry. `ours`: made permanent by us."""

    address: Address
    mac: str
    permanent: bool
    ours: bool


class Neighbours:
    """A netlink socket in the present namespace of the thread; the caller closes it."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._socket.settimeout(ANSWER_S)  # the kernel answers at once
        self._sequence = 0

    def close(self) -> None:
        """Close the socket; entries stay."""
        self._socket.close()

    def entry(self, interface: int, address: Address) -> Entry | None:
        """Return the usable entry of an address; None: there is none.

        Args:
            interface: index of the interface.
            address: address of a neighbour there.
        """
        asked = _NEIGHBOUR.pack(socket.AF_INET, interface, 0, 0, 0) + _attribute(
            DST, address.packed
        )
        try:
            found = [one for _, one in self._ask(GET, REQUEST, asked)]
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        return found[0] if found else None

    def ours(self, interface: int) -> list[Entry]:
        """Return our permanent entries of an interface."""
        asked = _NEIGHBOUR.pack(socket.AF_INET, 0, 0, 0, 0)
        found = self._ask(GET, REQUEST | DUMP, asked)
        return [one for index, one in found if index == interface and one.ours]

    def fix(self, interface: int, address: Address, mac: str) -> None:
        """Make a permanent entry of an address with this MAC, until `give_back`."""
        self._put(interface, address, mac, PERMANENT)

    def give_back(self, interface: int, address: Address, mac: str) -> None:
        """Make an entry dynamic again."""
        self._put(interface, address, mac, STALE)

    def _put(self, interface: int, address: Address, mac: str, state: int) -> None:
        body = _NEIGHBOUR.pack(socket.AF_INET, interface, state, 0, 0)
        body += _attribute(DST, address.packed)
        body += _attribute(LLADDR, bytes.fromhex(mac.replace(":", "")))
        body += _attribute(PROTOCOL, bytes([OURS if state == PERMANENT else 0]))
        for _ in self._ask(NEW, REQUEST | ACKNOWLEDGE | REPLACE | CREATE, body):
            pass

    def _ask(self, kind: int, flags: int, body: bytes) -> list[tuple[int, Entry]]:
        self._sequence += 1
        size = _HEAD.size + len(body)
        self._socket.send(_HEAD.pack(size, kind, flags, self._sequence, 0) + body)
        return list(self._answers(single=not flags & DUMP))

    def _answers(self, *, single: bool) -> Iterator[tuple[int, Entry]]:
        while True:
            data, at = self._socket.recv(1 << 16), 0
            while at < len(data):
                length, kind, _, sequence, _ = _HEAD.unpack_from(data, at)
                body = data[at + _HEAD.size : at + length]
                at += _aligned(length)
                if sequence != self._sequence:
                    continue
                if kind == DONE:
                    return
                if kind == ERROR:
                    _raise(body)
                    return
                yield from _entry(body)
                if single:
                    return


def _raise(body: bytes) -> None:
    (code,) = _ERROR.unpack_from(body)
    if code:
        raise OSError(-code, "netlink: neighbour entry")


def _entry(body: bytes) -> Iterator[tuple[int, Entry]]:
    family, index, state, _, _ = _NEIGHBOUR.unpack_from(body)
    told = _attributes(body, _NEIGHBOUR.size)
    if family == socket.AF_INET and state & USABLE and LLADDR in told:
        yield (
            index,
            Entry(
                IPv4Address(told[DST]),
                told[LLADDR].hex(":"),
                permanent=bool(state & PERMANENT),
                ours=bool(state & PERMANENT) and told.get(PROTOCOL) == bytes([OURS]),
            ),
        )


def _attributes(data: bytes, at: int) -> dict[int, bytes]:
    found = {}
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        found[kind] = data[at + _ATTRIBUTE.size : at + length]
        at += max(_aligned(length), _ATTRIBUTE.size)
    return found


def _attribute(kind: int, value: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(size, kind) + value + bytes(_aligned(size) - size)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
