"""Answers a question from a server's zone and names, or leaves it to an upstream server.

What dnsmasq 2.90 answers to the same question with our command line, and where this differs on
purpose: docs/design/dns.md. tests/dnsd/test_like_dnsmasq.py asks both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lessor.core.dns.message import (
    AAAA,
    ANY,
    INTERNET,
    NO_RECORDS,
    NOERROR,
    NXDOMAIN,
    PTR,
    REFUSED,
    ROOT,
    A,
    Question,
    Records,
)
from lessor.core.dns.zone import EVERY, Names, Range, Zone, has_dot

_REVERSE = {  # octets of an address, bits of a label, radix, by the domain of reversed addresses
    b"\x07in-addr\x04arpa\0": (4, 8, 10),
    b"\x03ip6\x04arpa\0": (16, 4, 16),
}
_OCTETS = {A: 4, AAAA: 16, ANY: 4}
_RECORD = 16  # octets of the shortest record
MAX_RECORDS = (
    500  # of an answer, over TCP: no name of many costs others more than half a millisecond
)


class Answer(NamedTuple):
    """The answer to a question."""

    rcode: int
    records: Records = NO_RECORDS


class Reversed(NamedTuple):
    """The addresses that a name below in-addr.arpa or ip6.arpa is about, by their first bits."""

    length: int
    bits: int
    prefix: int
    exact: bool  # it is the name of an address, or of a block, not one below that

    @property
    def address(self) -> bytes | None:
        """The address, if it is about one."""
        whole = self.exact and self.bits == 8 * self.length
        return self.prefix.to_bytes(self.length) if whole else None


def answer(zone: Zone, names: Names, question: Question, at: Range, size: int) -> Answer | None:
    """Return the answer to a question; None: an upstream server has it.

    Args:
        zone: of the server.
        names: of the server.
        question: a readable one.
        at: the subnet of the address that was asked.
        size: octets that the answer may have.
    """
    if question.cls != INTERNET:
        return Answer(REFUSED)
    if (about := read_reverse(question.name)) is not None:
        return _reverse(zone, names, question, about)
    return _forward(zone, names, question, at, size)


def read_reverse(name: bytes) -> Reversed | None:
    """Read a name below in-addr.arpa or ip6.arpa; None: it is none."""
    for domain, (length, bits, radix) in _REVERSE.items():
        if name.endswith(domain) and name != domain:
            labels = _labels(name[: -len(domain)])
            return _read_labels(labels, length, bits, radix)
    return None


def _reverse(zone: Zone, names: Names, question: Question, about: Reversed) -> Answer | None:
    if not any(one.has_all(about.length, about.bits, about.prefix) for one in zone.ranges):
        return None
    name = names.name_of(about.address) if about.address else None
    if name is None:
        return Answer(NXDOMAIN)
    if question.kind in (PTR, ANY):
        return Answer(NOERROR, Records(PTR, (name,)))
    return Answer(NOERROR)


def _forward(zone: Zone, names: Names, question: Question, at: Range, size: int) -> Answer | None:
    name = question.name
    if name == ROOT:
        return None
    found = _addresses(zone, names, question, at, min(size // _RECORD + 1, MAX_RECORDS))
    if found:
        return Answer(NOERROR, Records(A if len(found[0]) == _OCTETS[A] else AAAA, found))
    is_local = zone.is_local(name)
    if not is_local and has_dot(name):
        return None
    if zone.is_above(name) or names.has(name):
        return Answer(NOERROR)
    # without a dot it may be a top-level domain, which has NS, SOA and DS (com), but no address
    return Answer(NXDOMAIN) if is_local or question.kind in _OCTETS else None


def _addresses(
    zone: Zone, names: Names, question: Question, at: Range, limit: int
) -> tuple[bytes, ...]:
    """Return the addresses that answer a question, each time another one first."""
    octets = _OCTETS.get(question.kind)
    if octets is None:
        return ()
    found: Sequence[bytes] = ()
    if zone.localise and at.length == octets:
        found = names.addresses(question.name, at.span, limit)
    found = found or names.addresses(question.name, EVERY[octets], limit)
    first = question.id % len(found) if found else 0  # a client chooses its ids at random
    return (*found[first:], *found[:first])


def _labels(part: bytes) -> list[bytes]:
    labels = []
    while part:
        labels.append(part[1 : part[0] + 1])
        part = part[part[0] + 1 :]
    return labels


def _read_labels(labels: list[bytes], length: int, bits: int, radix: int) -> Reversed:
    """Read the labels of an address, the last one first, as far as they are its."""
    parts = 8 * length // bits
    prefix = read = 0
    for label in reversed(labels[-parts:]):
        value = _number(label, radix)
        if value is None or value >> bits:
            break
        prefix = prefix << bits | value
        read += 1
    return Reversed(length, bits * read, prefix, read == len(labels))


def _number(label: bytes, radix: int) -> int | None:
    try:
        return int(label, radix) if label.isalnum() else None
    except ValueError:
        return None
