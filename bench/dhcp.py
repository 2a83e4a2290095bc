"""DHCP messages of a client, as frames, and the server's answers.

Like most clients it leaves the broadcast flag alone, so that answers come to its MAC.
Source: RFC 2131 figure 1 and section 4.1, RFC 2132 sections 9.1, 9.6, 9.7, 9.8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

from lessor.lab.demo.dora import ACK, DISCOVER, MAGIC_COOKIE, OFFER, REQUEST, dhcp_message

ASKED = bytes((1, 3, 6, 12, 15, 26, 28, 51, 54, 121))  # what udhcpc and dhclient ask for
EVERYBODY = b"\xff" * 6
TTL = 64

__all__ = ["ACK", "OFFER", "Answer", "answer", "discover", "request"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An OFFER or ACK of a server, with its exchange and address."""

    type: int
    xid: int
    address: IPv4Address


def discover(mac: str, xid: int) -> bytes:
    """Return the frame in which a client asks who has an address for it."""
    return _frame(mac, xid, {53: bytes([DISCOVER]), 55: ASKED})


def request(mac: str, xid: int, offered: IPv4Address, server: IPv4Address) -> bytes:
    """Return the frame in which it takes an offered address."""
    said = {53: bytes([REQUEST]), 50: offered.packed, 54: server.packed, 55: ASKED}
    return _frame(mac, xid, said)


def answer(frame: bytes) -> Answer | None:
    """Read a frame; None if it isn't a DHCP server's."""
    message = dhcp_message(frame, 0)
    if message is None or message.type not in {OFFER, ACK}:
        return None
    bootp = frame[14 + (frame[14] & 0x0F) * 4 + 8 :]
    return Answer(message.type, message.xid, IPv4Address(bootp[16:20]))


def _frame(mac: str, xid: int, options: dict[int, bytes]) -> bytes:
    source = bytes.fromhex(mac.replace(":", ""))
    fixed = struct.pack("!BBBBIHH16x16s192x", 1, 1, 6, 0, xid, 0, 0, source)
    coded = b"".join(bytes([key, len(value)]) + value for key, value in options.items())
    bootp = fixed + MAGIC_COOKIE + coded + b"\xff"
    udp = struct.pack("!HHHH", 68, 67, 8 + len(bootp), 0) + bootp  # checksum 0: there is none
    return EVERYBODY + source + b"\x08\x00" + _ip_header(len(udp)) + udp


def _ip_header(length: int) -> bytes:
    """Return the IPv4 header of a packet from 0.0.0.0 to 255.255.255.255."""
    to = EVERYBODY[:4]
    header = struct.pack("!BBHHHBBH4x4s", 0x45, 0, 20 + length, 0, 0, TTL, 17, 0, to)
    total = sum(struct.unpack("!10H", header))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return header[:10] + struct.pack("!H", checksum) + header[12:]
