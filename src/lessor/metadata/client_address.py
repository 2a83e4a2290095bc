"""Identifies callers by the MAC and the address in the first packet of a connection.

The kernel saves that packet (a SYN) with its Ethernet header, by a socket option. Nothing in a
guest's request is used. While a caller is connected, its neighbour entry is permanent, so no ARP
packet redirects an answer to another port. If the entry already has another MAC, the connection is
reset.

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
from lessor.net.address import Address
from lessor.netns import inside

SAVE_SYN, SAVED_SYN = 27, 28  # TCP_SAVE_SYN, TCP_SAVED_SYN, linux/tcp.h
WITH_ETHERNET = 2  # value of TCP_SAVE_SYN
_SOURCE = slice(6, 12)  # of an Ethernet header
_TYPE, _IPV4 = slice(12, 14), b"\x08\x00"
_ADDRESS = slice(26, 30)  # the source of an IPv4 header after it
_MOST = 14 + 60 + 60  # Ethernet, IPv4 and TCP with all options


@dataclass(frozen=True, slots=True)
class Caller:
    """The other end of a connection. `mac` "": unknown."""

    mac: str
    address: Address


class Callers(Protocol):
    """Identifies callers on one interface."""

    def meet(self, made: socket.socket) -> Caller:
        """Return the caller of a connection, and fix the MAC of its address until `part`.

        Raises:
            OSError: the connection has ended.
            Unavailable: the caller can't be identified.
        """

    def part(self, caller: Caller) -> None:
        """Release a caller: its connection has ended, and all sent data is acknowledged."""

    def close(self) -> None:
        """Release all callers."""


@dataclass(slots=True)
class _Held:
    mac: str
    fixed: bool  # by us
    many: int = 0


class EthernetCallers:
    """Callers on one Ethernet interface.

    Permanent entries of an agent that was killed are released first.

    Args:
        interface: name of the interface.
        namespace: its network namespace; "": this one.

    Raises:
        OSError: there is no such interface or namespace.
    """

    def __init__(self, interface: str, namespace: str) -> None:
        with inside(namespace):
            self._interface = socket.if_nametoindex(interface)
            self._neighbours = Neighbours()
        self._held: dict[Address, _Held] = {}
        for entry in self._neighbours.ours(self._interface):
            self._neighbours.give_back(self._interface, entry.address, entry.mac)

    def meet(self, made: socket.socket) -> Caller:
        """Return the caller of a connection, and fix the MAC of its address."""
        first = caller_of(made)
        held = self._held.get(first.address) or self._hold(first.address)
        if first.mac not in {"", held.mac}:  # "": under a SYN flood only the entry has the MAC
            if not held.many:
                self._let_go(first.address)
            raise Unavailable(f"{first.address} has {held.mac} in ARP, but {first.mac} calls")
        held.many += 1
        return Caller(held.mac, first.address)

    def part(self, caller: Caller) -> None:
        """Release a caller."""
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

    def _hold(self, address: Address) -> _Held:
        entry = self._neighbours.entry(self._interface, address)
        if entry is None:
            raise Unavailable(f"the MAC of {address} is unknown")
        if not entry.permanent:  # a permanent one is the operator's
            self._neighbours.fix(self._interface, address, entry.mac)
        held = self._held[address] = _Held(entry.mac, fixed=not entry.permanent)
        return held

    def _let_go(self, address: Address) -> None:
        held = self._held.pop(address)
        if held.fixed:
            with suppress(OSError):  # the interface is deleted
                self._neighbours.give_back(self._interface, address, held.mac)


def keep_first_packets(listening: socket.socket) -> None:
    """Let the kernel save the SYN of each connection of a socket, if it can."""
    with suppress(OSError):
        listening.setsockopt(socket.IPPROTO_TCP, SAVE_SYN, WITH_ETHERNET)


def caller_of(connection: socket.socket) -> Caller:
    """Return the caller of a connection.

    The kernel returns the SYN once. Under a flood (SYN cookies) it has none.

    Raises:
        OSError: the connection has ended.
    """
    address = IPv4Address(connection.getpeername()[0])
    try:
        syn = connection.getsockopt(socket.IPPROTO_TCP, SAVED_SYN, _MOST)
    except OSError:  # this kernel saves no SYN
        syn = b""
    if syn[_TYPE] != _IPV4 or syn[_ADDRESS] != address.packed:
        return Caller("", address)
    return Caller(syn[_SOURCE].hex(":"), address)
