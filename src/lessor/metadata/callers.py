"""Who calls: the MAC and the address that a connection's first packet came with.

The kernel keeps that packet (a SYN) with its Ethernet header where it is told to. Nothing that a
guest writes into its request is asked. As long as a caller is connected its address belongs to its
MAC: the neighbour entry is permanent, so no ARP packet leads an answer to another port. Where the
entry is another MAC's by then, nobody is answered.

Source: tcp(7) has neither; linux/tcp.h, net/ipv4/tcp_input.c (tcp_reqsk_record_syn), Linux 5.10.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from lessor.errors import Unavailable
from lessor.metadata.neighbours import Neighbours
from lessor.netns import inside

SAVE_SYN, SAVED_SYN = 27, 28  # TCP_SAVE_SYN, TCP_SAVED_SYN, linux/tcp.h
WITH_ETHERNET = 2  # value of TCP_SAVE_SYN
_SOURCE = slice(6, 12)  # of an Ethernet header
_TYPE, _IPV4 = slice(12, 14), b"\x08\x00"
_ADDRESS = slice(26, 30)  # the source of an IPv4 header after it
_MOST = 14 + 60 + 60  # Ethernet, IPv4 and TCP with all options


@dataclass(frozen=True, slots=True)
class Caller:
    """The other end of a connection. `mac` "": not known."""

    mac: str
    address: IPv4Address


class Callers(Protocol):
    """Tells who calls on one interface."""

    def meet(self, made: socket.socket) -> Caller:
        """Return who made a connection, and hold the caller to its MAC until `part`.

        Raises:
            OSError: the connection has ended.
            Unavailable: it is not sure whose it is.
        """

    def part(self, caller: Caller) -> None:
        """Let go of a caller: its connection has ended, and all that was sent is there."""

    def close(self) -> None:
        """Let go of all."""


@dataclass(slots=True)
class _Held:
    mac: str
    fixed: bool  # by us
    many: int = 0


class EthernetCallers:
    """Callers on one Ethernet interface.

    Entries that an agent which was killed left permanent there are given back first.

    Args:
        interface: its name.
        namespace: where it is; "": here.

    Raises:
        OSError: there is no such interface or namespace.
    """

    def __init__(self, interface: str, namespace: str) -> None:
        with inside(namespace):
            self._interface = socket.if_nametoindex(interface)
            self._neighbours = Neighbours()
        self._held: dict[IPv4Address, _Held] = {}
        for entry in self._neighbours.ours(self._interface):
            self._neighbours.give_back(self._interface, entry.address, entry.mac)

    def meet(self, made: socket.socket) -> Caller:
        """Return who made a connection, and hold the caller to its MAC."""
        first = caller_of(made)
        held = self._held.get(first.address) or self._hold(first.address)
        if first.mac not in {"", held.mac}:  # "": made under a flood, so the entry alone tells
            if not held.many:
                self._let_go(first.address)
            raise Unavailable(f"{first.address} is {held.mac}'s to ARP, and {first.mac} calls")
        held.many += 1
        return Caller(held.mac, first.address)

    def part(self, caller: Caller) -> None:
        """Let go of a caller."""
        held = self._held.get(caller.address)
        if held is not None:
            held.many -= 1
            if held.many <= 0:
                self._let_go(caller.address)

    def close(self) -> None:
        """Let go of all."""
        for address in list(self._held):
            self._let_go(address)
        self._neighbours.close()

    def _hold(self, address: IPv4Address) -> _Held:
        entry = self._neighbours.entry(self._interface, address)
        if entry is None:
            raise Unavailable(f"no MAC is known of {address}")
        if not entry.permanent:  # else it is the operator's
            self._neighbours.fix(self._interface, address, entry.mac)
        held = self._held[address] = _Held(entry.mac, fixed=not entry.permanent)
        return held

    def _let_go(self, address: IPv4Address) -> None:
        held = self._held.pop(address)
        if held.fixed:
            with suppress(OSError):  # the interface has gone
                self._neighbours.give_back(self._interface, address, held.mac)


def keep_first_packets(listening: socket.socket) -> None:
    """Have the kernel keep the SYN of each connection of a socket, where it can."""
    with suppress(OSError):
        listening.setsockopt(socket.IPPROTO_TCP, SAVE_SYN, WITH_ETHERNET)


def caller_of(connection: socket.socket) -> Caller:
    """Return who made a connection.

    The kernel gives the SYN once. It has none of a connection made under a flood (SYN cookies).

    Raises:
        OSError: the connection has ended.
    """
    address = IPv4Address(connection.getpeername()[0])
    try:
        syn = connection.getsockopt(socket.IPPROTO_TCP, SAVED_SYN, _MOST)
    except OSError:  # a kernel that keeps none
        syn = b""
    if syn[_TYPE] != _IPV4 or syn[_ADDRESS] != address.packed:
        return Caller("", address)
    return Caller(syn[_SOURCE].hex(":"), address)
