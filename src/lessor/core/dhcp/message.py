"""Parse and build DHCPv4 and BOOTP messages, with the Ethernet, IPv4 and UDP around them.

Addresses, MACs, transaction ids and options' values stay bytes: they are compared and sent on, and
nothing else. A malformed frame yields its defect; no frame raises.

Source: RFC 2131; options RFC 2132, split ones RFC 3396; BOOTP RFC 951; checksums RFC 1071.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import NamedTuple

from lessor.core.dhcp.codes import MAX_SIZE, OVERLOAD, REQUESTED, SERVER_ID, SUBNET, TYPE

REQUEST, REPLY = 1, 2  # op
CLIENT_PORT, SERVER_PORT = 68, 67
BROADCAST_FLAG = 0x8000
NO_ADDRESS = bytes(4)
EVERYBODY, EVERY_MAC = b"\xff" * 4, b"\xff" * 6
NO_SNAME, NO_FILE = bytes(64), bytes(128)
COOKIE, NO_COOKIE = b"\x63\x82\x53\x63", bytes(4)
PAD, END = 0, 255
MIN_BOOTP = 300  # octets that clients and relays may insist on (RFC 1542, 2.1)
HEADERS = 28  # of IPv4 and UDP
FIXED = 240  # octets of BOOTP before the options, with the cookie
LONGEST = 255  # octets of an option, in one piece

_BOOTP_AT = 42
_COOKIE_AT = _BOOTP_AT + FIXED - 4
_OPTIONS_AT = _BOOTP_AT + FIXED
_FILE_AT, _SNAME_AT = _BOOTP_AT + 108, _BOOTP_AT + 44
_IPV4 = b"\x08\x00\x45"  # EtherType; version 4, a header without options
_FRAGMENT = 0x3FFF  # more fragments, or an offset
_UDP = 17
_ETHERTYPE, _VERSION, _TTL_UDP = 0x0800, 0x4500, 0x4011  # words of the headers that never change
_SIZES = {REQUESTED: 4, OVERLOAD: 1, TYPE: 1, SERVER_ID: 4, MAX_SIZE: 2, SUBNET: 4}
_FIELDS = struct.Struct(">6s6s14x4s4sHH4x4B4s2sH4s4s4s4s16s64s128s")
_LENGTHS = struct.Struct(">H2xH16xH2s")  # at 16: total, fragment, length of UDP, its checksum
_BOOTP = struct.Struct(">4B4s2sH4s4s4s4s16s64s128s")
_HEADERS = struct.Struct(">6s6sHHH4xHH4s4sHHHH")


class Malformed(Enum):
    """Why a frame is no DHCP or BOOTP message."""

    SHORT = "the frame is shorter than a BOOTP message"
    NOT_UDP = "the frame has no whole IPv4 packet of UDP"
    LENGTH = "the lengths of Ethernet, IPv4 and UDP disagree"
    CHECKSUM = "a checksum is wrong"
    COOKIE = "the cookie is not that of DHCP"
    OPTIONS = "an option runs past the end"
    SIZE = "an option has a wrong size"


class Message(NamedTuple):
    """A DHCP or BOOTP message and its addresses; `options` are whole, by number."""

    target: bytes  # Ethernet
    sender: bytes
    source: bytes  # IPv4
    destination: bytes
    source_port: int
    destination_port: int
    op: int
    htype: int
    hlen: int
    hops: int
    xid: bytes
    secs: bytes
    flags: int
    ciaddr: bytes
    yiaddr: bytes
    siaddr: bytes
    giaddr: bytes
    chaddr: bytes  # 16 octets
    sname: bytes  # 64 octets
    file: bytes  # 128 octets
    options: dict[int, bytes]


def parse(frame: bytes) -> Message | Malformed:
    """Return the message in an Ethernet frame, or why there is none.

    A missing END is tolerated, an all-zero cookie is BOOTP's. The checksum of UDP may be missing
    (0), or only begun, as a guest leaves it to its device.
    """
    if len(frame) < _OPTIONS_AT:
        return Malformed.SHORT
    if frame[12:15] != _IPV4 or frame[23] != _UDP:
        return Malformed.NOT_UDP
    total, fragment, length, checksum = _LENGTHS.unpack_from(frame, 16)
    if fragment & _FRAGMENT:
        return Malformed.NOT_UDP
    end = 34 + length
    if not _OPTIONS_AT <= end <= 14 + total <= len(frame):
        return Malformed.LENGTH
    if not sums_fit(frame, end, checksum):
        return Malformed.CHECKSUM
    options: dict[int, bytes] = {}
    defect = _read_options(frame, end, options)
    return defect or Message._make((*_FIELDS.unpack_from(frame), options))


def build(message: Message) -> bytes:
    """Return the frame of a message: minimum size, END, checksums; its options in their order."""
    bootp = _BOOTP.pack(*message[6:20]) + COOKIE + options_field(message.options)
    return wrap(message, bootp)


def wrap(addresses: Message | Addresses, bootp: bytes) -> bytes:
    """Return a frame with these octets of BOOTP, filled up to the minimum."""
    target, sender, source, destination, source_port, destination_port, *_ = addresses
    payload = bootp.ljust(MIN_BOOTP, b"\0")
    length = 8 + len(payload)
    total = 20 + length
    ends = _sum(source + destination)
    ip_sum = -(_VERSION + _TTL_UDP + total + ends) % 0xFFFF
    ports = source_port + destination_port
    udp_sum = -(ends + _UDP + 2 * length + ports + _sum(payload)) % 0xFFFF
    return (
        _HEADERS.pack(
            target,
            sender,
            _ETHERTYPE,
            _VERSION,
            total,
            _TTL_UDP,
            ip_sum,
            source,
            destination,
            source_port,
            destination_port,
            length,
            udp_sum or 0xFFFF,  # 0 is: there is none (RFC 768)
        )
        + payload
    )


class Addresses(NamedTuple):
    """From where to where a frame goes; the first fields of a `Message`."""

    target: bytes
    sender: bytes
    source: bytes
    destination: bytes
    source_port: int = SERVER_PORT
    destination_port: int = CLIENT_PORT


def option(code: int, value: bytes) -> bytes:
    """Return an option as it is sent, in pieces if it has more than 255 octets (RFC 3396)."""
    if len(value) <= LONGEST:
        return bytes((code, len(value))) + value
    pieces = (value[at : at + LONGEST] for at in range(0, len(value), LONGEST))
    return b"".join(bytes((code, len(piece))) + piece for piece in pieces)


def options_field(options: Mapping[int, bytes]) -> bytes:
    """Return options as they are sent, with END."""
    return b"".join([*(option(*one) for one in options.items()), bytes((END,))])


def split(block: bytes) -> list[bytes]:
    """Return the options of a well-formed block without END; the pieces of one stay together."""
    whole: dict[int, bytes] = {}
    at = 0
    while at < len(block):
        after = at + 2 + block[at + 1]
        whole[block[at]] = whole.get(block[at], b"") + block[at:after]
        at = after
    return list(whole.values())


def _read_options(frame: bytes, end: int, options: dict[int, bytes]) -> Malformed | None:
    """Read all options into `options`; those in file and sname follow the others (RFC 3396)."""
    cookie = frame[_COOKIE_AT:_OPTIONS_AT]
    if cookie != COOKIE:
        return None if cookie == NO_COOKIE else Malformed.COOKIE
    if not _read(frame, _OPTIONS_AT, end, options):
        return Malformed.OPTIONS
    if OVERLOAD in options and not _read_fields(frame, options):
        return Malformed.OPTIONS
    for code, value in options.items():
        if code in _SIZES and len(value) != _SIZES[code]:
            return Malformed.SIZE
    return None


def _read_fields(frame: bytes, options: dict[int, bytes]) -> bool:
    fields = {b"\1": [_FILE_AT], b"\2": [_SNAME_AT], b"\3": [_FILE_AT, _SNAME_AT]}
    sizes = {_FILE_AT: len(NO_FILE), _SNAME_AT: len(NO_SNAME)}
    used: Iterable[int] = fields.get(options[OVERLOAD], ())
    return all(_read(frame, at, at + sizes[at], options) for at in used)


def _read(data: bytes, at: int, end: int, options: dict[int, bytes]) -> bool:
    """Add the options in data[at:end]; a repeated one is continued. False: one runs past `end`."""
    while at < end:
        code = data[at]
        if code == END:
            return True
        at += 1
        if code != PAD:
            if at == end:
                return False
            after = at + 1 + data[at]
            if after > end:
                return False
            value = data[at + 1 : after]
            options[code] = options[code] + value if code in options else value
            at = after
    return True


def sums_fit(frame: bytes, end: int, checksum: bytes) -> bool:
    """Tell whether the checksums of IPv4 and of UDP, which ends at `end`, are right or absent."""
    if _sum(frame[14:34]):
        return False
    if checksum == b"\0\0":
        return True
    rest = _UDP + end - 34  # of the pseudo header: protocol and length
    if (_sum(frame[26:end]) + rest) % 0xFFFF == 0:
        return True
    return (_sum(frame[26:34]) + rest - _sum(checksum)) % 0xFFFF == 0  # begun


def _sum(data: bytes) -> int:
    """Return the sum of 16-bit words modulo 65535: that in one's complement, but for its zero."""
    return int.from_bytes(data + b"\0" if len(data) & 1 else data, "big") % 0xFFFF
