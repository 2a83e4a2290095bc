"""Reads DNS questions and builds answers: header, one question, EDNS(0).

Names are in wire form and lower case: labels after their lengths, a zero octet at the end. A length
is at most 63, below any letter, so `bytes.lower()` changes letters only.

Source: RFC 1035, 4.1 (format), 2.3.4 (sizes); RFC 6891, 6.1 (OPT record), 6.2.5 (sizes).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
INTERNET = 1  # class IN
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
ROOT = b"\0"

PLAIN_SIZE = 512  # octets of a UDP answer without EDNS
UDP_SIZE = 1232  # octets of any UDP answer: no fragment on any path (DNS flag day 2020)
TCP_SIZE = 65535
MAX_NAME = 255
_MAX_LABEL = 63
_POINTER = 0xC0
_OPCODE = 0x7800
_RCODE = 0x000F
_DO = 0x8000
_HEADER = struct.Struct("!6H")
_KIND = struct.Struct("!HH")
_RECORD = struct.Struct("!HHIH")
_TO_QUESTION = struct.pack("!H", 0xC000 | _HEADER.size)  # the name in the question (4.1.4)


class Question(NamedTuple):
    """A message of a client.

    Attributes:
        name: wire form, lower case.
        wire: name, type and class as they were sent; b"": not readable.
        size: maximum octets of a UDP answer.
        rcode: NOERROR, or the error that answers it, whatever the name is.
    """

    id: int
    flags: int
    name: bytes
    kind: int
    cls: int
    wire: bytes
    size: int = PLAIN_SIZE
    edns: bool = False
    dnssec: bool = False
    rcode: int = NOERROR


_Edns = tuple[int, bool, bool, int]  # the last fields of a question
_NO_EDNS: _Edns = (PLAIN_SIZE, False, False, NOERROR)


class Records(NamedTuple):
    """The answer section: data of records of one type, about the name of the question."""

    kind: int = A
    data: tuple[bytes, ...] = ()


NO_RECORDS = Records()


class _MalformedError(Exception):
    """A record or name runs past the end, or is of no known form."""


def read_question(message: bytes) -> Question | None:
    """Read a client's message; None: it is no question, and gets no answer."""
    if len(message) < _HEADER.size:
        return None
    number, flags, questions, answers, authorities, further = _HEADER.unpack_from(message)
    if flags & QR:
        return None
    if flags & _OPCODE or questions != 1 or answers or authorities:
        rcode = NOTIMP if flags & _OPCODE else FORMERR
        return Question(number, flags, ROOT, 0, 0, b"", rcode=rcode)
    try:
        at = _end_of_name(message)
        kind, cls = _KIND.unpack_from(message, at)
        edns = _read_edns(message, at + _KIND.size, further) if further else _NO_EDNS
    except (_MalformedError, IndexError, struct.error):
        return Question(number, flags, ROOT, 0, 0, b"", rcode=FORMERR)
    name, wire = message[_HEADER.size : at].lower(), message[_HEADER.size : at + _KIND.size]
    return Question(number, flags, name, kind, cls, wire, *edns)


def respond(question: Question, rcode: int, records: Records = NO_RECORDS, *, size: int) -> bytes:
    """Return the answer to a question; if it would be larger than `size`, it is cut and says so.

    One with records is authoritative, as dnsmasq's.
    """
    flags = QR | RA | (question.flags & (_OPCODE | RD | CD)) | (rcode & _RCODE)
    opt = _opt(rcode >> 4, dnssec=question.dnssec) if question.edns else b""
    section, count = _fitting(records, size - _HEADER.size - len(question.wire) - len(opt))
    flags |= (AA if records.data else 0) | (TC if count < len(records.data) else 0)
    counts = (1 if question.wire else 0, count, 0, 1 if opt else 0)
    return _HEADER.pack(question.id, flags, *counts) + question.wire + section + opt


def ask_upstream(question: Question, number: int) -> bytes:
    """Return the same question for another server, with an id of its own.

    Options of the client's OPT record stay behind: cookies are between two neighbours (RFC 7873),
    and a client's subnet (RFC 7871) is for this server only.
    """
    opt = _opt(0, dnssec=question.dnssec) if question.edns else b""
    flags = question.flags & (RD | AD | CD)
    return _HEADER.pack(number, flags, 1, 0, 0, 1 if opt else 0) + question.wire + opt


class Reply(NamedTuple):
    """What is read of an upstream server's message. `wire`: its question, lower case."""

    id: int
    rcode: int
    truncated: bool
    wire: bytes


def read_reply(message: bytes) -> Reply | None:
    """Read header and question of an upstream server's message; None: it is no answer."""
    if len(message) < _HEADER.size:
        return None
    number, flags, questions, *_ = _HEADER.unpack_from(message)
    if not flags & QR or flags & _OPCODE or questions > 1:
        return None
    try:
        end = _end_of_name(message) + _KIND.size if questions else _HEADER.size
    except (_MalformedError, IndexError):
        return None
    wire = message[_HEADER.size : end].lower()
    return Reply(number, flags & _RCODE, bool(flags & TC), wire)


def pass_on(reply: bytes, question: Question, size: int) -> bytes:
    """Return an upstream server's answer as the client gets it.

    Nobody here has checked its signatures. One that is too large for the client is cut down to its
    question.
    """
    _, flags, *counts = _HEADER.unpack_from(reply)
    flags = flags & ~AD | RA
    if len(reply) <= size:
        return _HEADER.pack(question.id, flags, *counts) + reply[_HEADER.size :]
    opt = _opt(0, dnssec=question.dnssec) if question.edns else b""
    head = _HEADER.pack(question.id, flags | TC, 1, 0, 0, 1 if opt else 0)
    return head + question.wire + opt


def _fitting(records: Records, room: int) -> tuple[bytes, int]:
    """Return as many records as there is room for, and their number. The TTL is 0, as dnsmasq's."""
    section = bytearray()
    for count, data in enumerate(records.data):
        record = _TO_QUESTION + _RECORD.pack(records.kind, INTERNET, 0, len(data)) + data
        if len(section) + len(record) > room:
            return bytes(section), count
        section += record
    return bytes(section), len(records.data)


def _opt(rcode: int, *, dnssec: bool) -> bytes:
    flags = rcode << 24 | (_DO if dnssec else 0)
    return ROOT + _RECORD.pack(OPT, UDP_SIZE, flags, 0)


def _end_of_name(message: bytes) -> int:
    """Return where the name of the question ends. It is the first name: it can't point to one."""
    at = _HEADER.size
    while length := message[at]:
        if length > _MAX_LABEL:
            raise _MalformedError
        at += length + 1
    if at + 1 - _HEADER.size > MAX_NAME:
        raise _MalformedError
    return at + 1


def _read_edns(message: bytes, at: int, count: int) -> _Edns:
    """Read the OPT record among the additional ones; a second one is an error (RFC 6891, 6.1.1)."""
    edns = _NO_EDNS
    for _ in range(count):
        start, at = at, _after_name(message, at)
        kind, size, flags, length = _RECORD.unpack_from(message, at)
        at += _RECORD.size + length
        if at > len(message):
            raise _MalformedError
        if kind != OPT:
            continue
        if edns is not _NO_EDNS or message[start]:
            raise _MalformedError
        rcode = BADVERS if flags >> 16 & 0xFF else NOERROR
        edns = (min(max(size, PLAIN_SIZE), UDP_SIZE), True, bool(flags & _DO), rcode)
    return edns


def _after_name(message: bytes, at: int) -> int:
    while length := message[at]:
        if length >= _POINTER:
            return at + 2
        if length > _MAX_LABEL:
            raise _MalformedError
        at += length + 1
    return at + 1
