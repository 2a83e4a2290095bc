"""How long a VM waited for its address: DISCOVER to ACK, as seen on its own wire.

The start of the DHCP client isn't counted. Frames come from `lessor.lab.capture`.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

ETH_P_IP = b"\x08\x00"
DHCP_PORTS = {(68, 67), (67, 68)}
COOKIE_AT = 236  # of the options' magic cookie in a BOOTP message; RFC 2131 section 3
MAGIC_COOKIE = b"\x63\x82\x53\x63"
MESSAGE_TYPE, PAD, END = 53, 0, 255
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)


@dataclass(frozen=True, slots=True)
class DhcpMessage:
    """One DHCP message on the wire: when (seconds), of which type, in which exchange."""

    at: float
    type: int
    xid: int
    mac: str


def dhcp_message(frame: bytes, at: float) -> DhcpMessage | None:
    """Read an Ethernet frame; None if it isn't DHCP.

    Source: RFC 791, RFC 768, RFC 2131 figure 1, RFC 2132 section 9.6.
    """
    if len(frame) < 14 + 20 + 8 or frame[12:14] != ETH_P_IP or frame[14 + 9] != socket.IPPROTO_UDP:
        return None
    udp = frame[14 + (frame[14] & 0x0F) * 4 :]
    bootp = udp[8:]
    if struct.unpack_from("!HH", udp) not in DHCP_PORTS or bootp[COOKIE_AT:][:4] != MAGIC_COOKIE:
        return None
    kind = _option(bootp[COOKIE_AT + 4 :], MESSAGE_TYPE)
    return (
        DhcpMessage(at, kind[0], int.from_bytes(bootp[4:8]), bootp[28:34].hex(":"))
        if kind
        else None
    )


def _option(options: bytes, wanted: int) -> bytes:
    at = 0
    while at + 1 < len(options) and options[at] != END:
        if options[at] == PAD:
            at += 1
            continue
        if options[at] == wanted:
            return options[at + 2 : at + 2 + options[at + 1]]
        at += 2 + options[at + 1]
    return b""


def dora_ms(messages: Iterable[DhcpMessage], mac: str) -> float | None:
    """Return milliseconds from the last DISCOVER before this MAC's first ACK to that ACK.

    An earlier DISCOVER was lost, or came before the port was there. None: no such exchange.
    """
    discovered: dict[int, float] = {}
    for message in messages:
        if message.mac != mac:
            continue
        if message.type == DISCOVER:
            discovered[message.xid] = message.at
        elif message.type == ACK and message.xid in discovered:
            return (message.at - discovered[message.xid]) * 1000
    return None
