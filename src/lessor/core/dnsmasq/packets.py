"""The packets that probe a dnsmasq, and its answers.

A DNS query for dnsmasq's version shows that its main loop runs; dnsmasq does not log it. A
DHCPINFORM with a reservation's MAC is answered only if dnsmasq has that reservation in memory,
since `--dhcp-ignore=tag:!known` silences all others; it makes no lease and no lease event, and the
answer goes to the sender's address and port. dnsmasq logs it as two lines.

Source: RFC 1035; RFC 2131, 4.4.3; dnsmasq(8), `version.bind`; tried with 2.90.
"""

from __future__ import annotations

import struct

from lessor.net.address import Address

CHAOS, TXT = 3, 16
RESPONSE = 0x8000
BOOTREQUEST, BOOTREPLY, ETHERNET = 1, 2, 1
COOKIE = b"\x63\x82\x53\x63"
TYPE_ACK = b"\x35\x01\x05"
_INFORM = COOKIE + b"\x35\x01\x08\x37\x01\x0c\xff"  # type 8, asks for the host name
_HEADER = struct.Struct(">4BIHH4s4s4s4s16s192x")
_OPTIONS_AT = _HEADER.size + len(COOKIE)


def version_query(number: int) -> bytes:
    """Return a DNS query with this id (16 bits) that dnsmasq answers by itself."""
    name = b"\x07version\x04bind\x00"
    return struct.pack(">6H", number, 0, 1, 0, 0, 0) + name + struct.pack(">2H", TXT, CHAOS)


def is_answer(packet: bytes, number: int) -> bool:
    """Tell whether this is any answer, also a refusal, to the query with that id."""
    if len(packet) < 12:  # noqa: PLR2004 - bytes of a DNS header
        return False
    found, flags = struct.unpack_from(">2H", packet)
    return bool(found == number and flags & RESPONSE)


def inform(mac: str, server: Address, number: int) -> bytes:
    """Return a DHCPINFORM of this MAC from the server's own address.

    Args:
        mac: of a reservation.
        server: the server's address; the answer goes to the sender there.
        number: transaction id, 32 bits.
    """
    none = bytes(4)
    hardware = bytes.fromhex(mac.replace(":", "")).ljust(16, b"\0")
    fixed = (BOOTREQUEST, ETHERNET, 6, 0, number, 0, 0)
    return _HEADER.pack(*fixed, server.packed, none, none, none, hardware) + _INFORM


def is_acknowledged(packet: bytes, number: int) -> bool:
    """Tell whether this is the DHCPACK to the DHCPINFORM with that transaction id."""
    if len(packet) < _OPTIONS_AT + len(TYPE_ACK):
        return False
    operation, found = packet[0], struct.unpack_from(">I", packet, 4)[0]
    kind = packet[_OPTIONS_AT : _OPTIONS_AT + len(TYPE_ACK)]  # dnsmasq puts it first
    return bool(operation == BOOTREPLY and found == number and kind == TYPE_ACK)
