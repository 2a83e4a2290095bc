"""Build the answers of the responder: OFFER, ACK, NAK and BOOTREPLY.

Each is a header, the row's ready options, and what is echoed: the client identifier (RFC 6842), the
subnet selection (RFC 3011) and last the relay's information (RFC 3046).
"""

from __future__ import annotations

import struct

from lessor.core.dhcp.codes import (
    BROADCAST,
    CLIENT_ID,
    LEASE_TIME,
    MAX_SIZE,
    NETMASK,
    ONLY_IPV6,
    PARAMETERS,
    RAPID_COMMIT,
    REASON,
    RELAY,
    SERVER_ID,
    SUBNET,
    T1,
    T2,
    TYPE,
)
from lessor.core.dhcp.message import (
    BROADCAST_FLAG,
    CLIENT_PORT,
    COOKIE,
    END,
    EVERY_MAC,
    EVERYBODY,
    FIXED,
    HEADERS,
    MIN_BOOTP,
    NO_ADDRESS,
    NO_FILE,
    NO_SNAME,
    REPLY,
    SERVER_PORT,
    Addresses,
    Message,
    option,
    split,
    wrap,
)
from lessor.core.dhcp.place import Placed, cut, place
from lessor.core.dhcp.table import Row, Table
from lessor.net.dhcp_options import MTU

ECHOED = (CLIENT_ID, SUBNET, RELAY)  # the relay's is the last (RFC 3046, 2.2)
OFFER, ACK, NAK = (option(TYPE, bytes((kind,))) for kind in (2, 5, 6))
RAPID = option(RAPID_COMMIT, b"")
MIN_DATAGRAM = 576  # octets that every client takes (RFC 2131, 2)
MIN_ROOM = MIN_DATAGRAM - HEADERS - FIXED
VENDOR_FIELD = 64  # octets of BOOTP's options, with the cookie (RFC 951)
TIMES = frozenset({LEASE_TIME, T1, T2})
ALWAYS = frozenset({SERVER_ID, *TIMES, NETMASK, BROADCAST, MTU.number, RAPID_COMMIT})
_ENDED = bytes((END,))
_HEADER = struct.Struct(">4B4s2xH4s4s4s4s16s64s128s4s")


def leased(table: Table, message: Message, row: Row, kind: bytes) -> tuple[bytes, bool]:
    """Return an OFFER or an ACK of the row's address, and whether options had no room.

    Args:
        table: of the interface.
        message: the request.
        row: the client's.
        kind: OFFER, ACK, or `ACK + RAPID`.
    """
    options = message.options
    block = row.block
    if row.asked and ONLY_IPV6 in options.get(PARAMETERS, b""):
        block += row.asked
    known = message.ciaddr == row.address and kind != OFFER
    ciaddr = row.address if known else NO_ADDRESS
    fields = _fields(message, row, kind, block)
    bootp = _header(message, ciaddr, row.address, row.siaddr, fields) + fields.options
    return wrap(_way(table, message, row.server, row.address), bootp), fields.left_out


def informed(table: Table, message: Message, row: Row) -> tuple[bytes, bool]:
    """Return the ACK of an INFORM: no address, no times (RFC 2131, 4.3.5)."""
    block = b"".join(unit for unit in split(row.block) if unit[0] not in TIMES)
    fields = _fields(message, row, ACK, block)
    bootp = _header(message, message.ciaddr, NO_ADDRESS, row.siaddr, fields) + fields.options
    return wrap(_way(table, message, row.server, message.ciaddr), bootp), fields.left_out


def refused(table: Table, message: Message, server: bytes, why: str) -> bytes:
    """Return a NAK: to everybody, through the relay if there is one (RFC 2131, 4.3.2)."""
    field = NAK + option(SERVER_ID, server) + option(REASON, why.encode()) + _tail(message)
    relayed = message.giaddr != NO_ADDRESS
    flags = message.flags | BROADCAST_FLAG if relayed else message.flags
    header = Placed(b"", NO_FILE, NO_SNAME)
    asked = message._replace(flags=flags)
    bootp = _header(asked, NO_ADDRESS, NO_ADDRESS, NO_ADDRESS, header) + field
    everybody = Addresses(EVERY_MAC, table.mac, server, EVERYBODY)
    way = _to_relay(table, message, server) if relayed else everybody
    return wrap(way, bootp)


def booted(table: Table, message: Message, row: Row) -> bytes:
    """Return a BOOTREPLY: the options of a subnet and of a boot, as many as BOOTP has room for."""
    units = [unit for unit in split(row.block) if unit[0] not in TIMES | {SERVER_ID}]
    header = Placed(b"", row.file, row.sname)
    known = message.ciaddr == row.address
    ciaddr = row.address if known else NO_ADDRESS
    bootp = _header(message, ciaddr, row.address, row.siaddr, header)
    field = cut(units, VENDOR_FIELD - len(COOKIE))
    return wrap(_way(table, message, row.server, row.address), bootp + field)


def _header(message: Message, ciaddr: bytes, yiaddr: bytes, siaddr: bytes, fields: Placed) -> bytes:
    return _HEADER.pack(
        REPLY,
        message.htype,
        message.hlen,
        0,
        message.xid,
        message.flags,
        ciaddr,
        yiaddr,
        siaddr,
        message.giaddr,
        message.chaddr,
        fields.sname,
        fields.file,
        COOKIE,
    )


def _fields(message: Message, row: Row, kind: bytes, block: bytes) -> Placed:
    """Return the options with all that the row has, or those asked for where that is too much."""
    tail = _tail(message)
    field = kind + block + tail
    if len(field) <= MIN_ROOM and row.mtu >= MIN_DATAGRAM:
        return Placed(field, row.file, row.sname)
    room = _room(message, row, len(tail))
    if len(field) <= room:
        return Placed(field, row.file, row.sname)
    header = Placed(kind, row.file, row.sname)
    return place(_asked(block, message.options.get(PARAMETERS, b"")), tail, room, header)


def _room(message: Message, row: Row, tail: int) -> int:
    """Return the octets of the options field that the client takes in one packet.

    What is echoed always has room: it came in one packet, too.
    """
    size = int.from_bytes(message.options.get(MAX_SIZE, b""), "big")
    datagram = min(max(size, MIN_DATAGRAM), max(row.mtu, HEADERS + MIN_BOOTP))
    return max(datagram - HEADERS - FIXED, tail + MIN_BOOTP - FIXED)


def _asked(block: bytes, parameters: bytes) -> list[bytes]:
    """Return the options that a client asks for, in its order, behind those it always gets.

    Without a list it asks for all (RFC 2132, 9.8).
    """
    units = {unit[0]: unit for unit in split(block)}
    if not parameters:
        return list(units.values())
    order = dict.fromkeys([*(code for code in units if code in ALWAYS), *parameters])
    return [units[code] for code in order if code in units]


def _tail(message: Message) -> bytes:
    options = message.options
    tail = b""
    for code in ECHOED:
        if code in options:
            tail += option(code, options[code])
    return tail + _ENDED


def _way(table: Table, message: Message, server: bytes, address: bytes) -> Addresses:
    """Return from where to where an answer goes (RFC 2131, 4.1)."""
    if message.giaddr != NO_ADDRESS:
        return _to_relay(table, message, server)
    if message.ciaddr == address:
        return Addresses(message.sender, table.mac, server, address)
    if message.flags & BROADCAST_FLAG:
        return Addresses(EVERY_MAC, table.mac, server, EVERYBODY)
    return Addresses(message.chaddr[:6], table.mac, server, address, SERVER_PORT, CLIENT_PORT)


def _to_relay(table: Table, message: Message, server: bytes) -> Addresses:
    ports = (SERVER_PORT, SERVER_PORT)
    return Addresses(message.sender, table.mac, server, message.giaddr, *ports)
