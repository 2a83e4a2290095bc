"""A short way for the requests that nearly all are: it answers as `answer` does, or not at all.

Plain is a broadcast DISCOVER, or a REQUEST of the client's own address, of a client that is known
by its MAC and has one reservation: without relay, overload, rapid commit and subnet selection, and
with an answer that is short enough for any client.
"""

from __future__ import annotations

import struct

from lessor.core.dhcp.codes import (
    CLIENT_ID,
    MAX_SIZE,
    OVERLOAD,
    RAPID_COMMIT,
    RELAY,
    REQUESTED,
    SERVER_ID,
    SUBNET,
    TYPE,
)
from lessor.core.dhcp.leases import Action, Event, Leases
from lessor.core.dhcp.message import (
    BROADCAST_FLAG,
    COOKIE,
    END,
    EVERY_MAC,
    EVERYBODY,
    NO_ADDRESS,
    PAD,
    SERVER_PORT,
    Addresses,
    sums_fit,
    wrap,
)
from lessor.core.dhcp.reply import ACK, MIN_DATAGRAM, MIN_ROOM, OFFER
from lessor.core.dhcp.responder import Outcome
from lessor.core.dhcp.table import INFINITE, Row, Table

# What must be so in Ethernet and IPv4, the addresses, UDP, and BOOTP up to the client's MAC
_FIELDS = struct.Struct(">6x6s3sxH2xHxB6x4s2xHH2s4s4s2x2s4s8x4s6s")
_IPV4, _UDP, _FRAGMENT = b"\x08\x00\x45", 17, 0x3FFF
_CLIENT, _REPLY = b"\1\1\6\0", b"\2\1\6\0"  # op, htype, hlen, hops
_CHADDR, _COOKIE, _OPTIONS_AT = slice(70, 86), slice(278, 282), 282
_DISCOVER, _REQUEST = b"\1", b"\3"
_BROADCAST = BROADCAST_FLAG.to_bytes(2, "big")
_FLAGS = (b"\0\0", _BROADCAST)
_NOT_PLAIN = frozenset({OVERLOAD, RAPID_COMMIT, RELAY, SUBNET})
_SIZED = ((REQUESTED, 4), (SERVER_ID, 4), (MAX_SIZE, 2))
_ENDED, _NO_SECS = bytes((END,)), bytes(2)


def answer_plain(table: Table, leases: Leases, frame: bytes, now: float) -> Outcome | None:
    """Return what follows from a plain request, as `answer` would; None: that has to tell.

    Args:
        table: of the interface.
        leases: as they are; the caller records the events of the outcome.
        frame: from its Ethernet header on.
        now: seconds since 1970.
    """
    if len(frame) < _OPTIONS_AT:
        return None
    (
        sender,
        version,
        total,
        fragment,
        protocol,
        destination,
        port,
        length,
        checksum,
        head,
        xid,
        flags,
        ciaddr,
        giaddr,
        client,
    ) = _FIELDS.unpack_from(frame)
    end = 34 + length
    rows = table.by_mac.get(sender)
    if not (
        rows is not None
        and len(rows) == 1
        and head == _CLIENT
        and client == sender
        and destination == EVERYBODY
        and ciaddr == giaddr == NO_ADDRESS
        and flags in _FLAGS
        and port == SERVER_PORT
        and version == _IPV4
        and protocol == _UDP
        and not fragment & _FRAGMENT
        and frame[_COOKIE] == COOKIE
        and _OPTIONS_AT <= end <= 14 + total <= len(frame)
        and sums_fit(frame, end, checksum)
    ):
        return None
    options = _options(frame, end)
    if options is None:
        return None
    (row,) = rows
    identity = options.get(CLIENT_ID)
    kind = _kind(table, row, options)
    echo = b"" if identity is None else bytes((CLIENT_ID, len(identity))) + identity
    field = kind + row.block + echo + _ENDED
    if (
        not kind
        or len(field) > MIN_ROOM
        or row.mtu < MIN_DATAGRAM
        or row.asked
        or (leases.declined and leases.quarantined(row.address, now))
        or (table.by_client and (identity or b"") in table.by_client)
    ):
        return None
    header = (_REPLY, xid, _NO_SECS, flags, NO_ADDRESS, row.address, row.siaddr, NO_ADDRESS)
    bootp = b"".join((*header, frame[_CHADDR], row.sname, row.file, COOKIE, field))
    if flags == _BROADCAST:
        way = Addresses(EVERY_MAC, table.mac, row.server, EVERYBODY)
    else:
        way = Addresses(sender, table.mac, row.server, row.address)
    answers = (wrap(way, bootp),)
    if kind is OFFER:
        return Outcome(answers)
    action = Action.RENEWED if leases.holds(row.address, sender, now) else Action.GRANTED
    until = None if row.lease_time == INFINITE else now + row.lease_time
    return Outcome(answers, 0.0, (Event(action, row.address, sender, identity or b"", until, now),))


def _kind(table: Table, row: Row, options: dict[int, bytes]) -> bytes:
    """Return the type of the answer; b"": it is not plain."""
    kind = options.get(TYPE)
    if kind == _DISCOVER:
        return OFFER
    ours = options.get(SERVER_ID, row.server) in table.servers
    return ACK if kind == _REQUEST and ours and options.get(REQUESTED) == row.address else b""


def _options(frame: bytes, end: int) -> dict[int, bytes] | None:
    """Return the options; None: one is not plain, or they are malformed."""
    options: dict[int, bytes] = {}
    at = _OPTIONS_AT
    while at < end:
        code = frame[at]
        if code == END:
            break
        if code == PAD:
            at += 1
            continue
        value = at + 2
        if value > end:
            return None
        at = value + frame[value - 1]
        if at > end or code in options or code in _NOT_PLAIN:
            return None
        options[code] = frame[value:at]
    for code, size in _SIZED:
        if code in options and len(options[code]) != size:
            return None
    return options
