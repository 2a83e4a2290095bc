"""What one DHCP server's DNS answers by itself: its zone, as plain values.

A `Zone` has what concerns all names of a server; the names are elsewhere (`Names`), so that one of
them comes and goes at the same cost among 10 and among 65,000.

Source: dnsmasq(8) as core/dnsmasq/command.py calls it: --local, --rev-server, --domain-needed,
--localise-queries, --no-resolv; semantics.md A8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple, Protocol

import msgspec

from lessor.core.dns.message import MAX_NAME, ROOT
from lessor.core.state import DhcpServer, Reservation
from lessor.net.address import Address, Block, read_address
from lessor.net.labels import is_domain, is_label


class Entry(NamedTuple):
    """An address and its name."""

    name: bytes  # wire form, lower case
    address: bytes  # 4 or 16 octets


class Names(Protocol):
    """The names of one server. A name without a domain is the host's in each domain."""

    def addresses(self, name: bytes, within: Span, limit: int) -> Sequence[bytes]:
        """Return at most `limit` addresses of a name (wire form, lower case), in order."""

    def has(self, name: bytes) -> bool:
        """Return whether a name has any address."""

    def name_of(self, address: bytes) -> bytes | None:
        """Return the first name of an address."""


class Span(NamedTuple):
    """Addresses of one family, from the first to the last."""

    first: bytes
    last: bytes


EVERY = {4: Span(bytes(4), b"\xff" * 4), 16: Span(bytes(16), b"\xff" * 16)}  # by octets


class Range(NamedTuple):
    """A subnet: the address that its clients ask, and the bits that they have in common."""

    server: bytes
    length: int  # octets of an address
    bits: int
    prefix: int

    @property
    def span(self) -> Span:
        """Its addresses."""
        return _span(self)

    def has(self, address: bytes) -> bool:
        """Return whether an address is one of the subnet's."""
        if len(address) != self.length:
            return False
        return int.from_bytes(address) >> (8 * self.length - self.bits) == self.prefix

    def has_all(self, length: int, bits: int, prefix: int) -> bool:
        """Return whether all addresses that begin with these bits are the subnet's."""
        return (
            length == self.length
            and bits >= self.bits
            and prefix >> (bits - self.bits) == self.prefix
        )


@lru_cache(maxsize=4096)  # each question asks for it
def _span(of: Range) -> Span:
    free = 8 * of.length - of.bits
    first = of.prefix << free
    return Span(first.to_bytes(of.length), (first | (1 << free) - 1).to_bytes(of.length))


class Zone(msgspec.Struct, frozen=True, array_like=True):
    """Settings of one server's DNS.

    Attributes:
        local: domains whose unknown names are not asked upstream.
        domains: all domains of its subnets.
        localise: a client gets the addresses in its own subnet, if the name has one there.
        upstream: name servers, in order.
        follows_host: without `upstream`, those of the host's resolv.conf are asked.
    """

    ranges: tuple[Range, ...]
    local: tuple[bytes, ...]
    domains: tuple[bytes, ...]
    localise: bool
    upstream: tuple[str, ...]
    follows_host: bool

    def range_of(self, client: bytes) -> Range | None:
        """Return the subnet that an address is in; None: it is in none."""
        return next((one for one in self.ranges if one.has(client)), None)

    def is_local(self, name: bytes) -> bool:
        """Return whether a name (lower case) is in a domain that is never asked upstream."""
        return any(suffix in self.local for suffix in suffixes(name))

    def is_above(self, name: bytes) -> bool:
        """Return whether a name is a domain of the server's, or one that has such a domain."""
        return any(one.endswith(name) and name in suffixes(one) for one in self.domains)


def zone_of(server: DhcpServer) -> Zone:
    """Return the zone of a DHCP server."""
    forwarded = {domain.lower() for domain in server.forwarded}
    domains = dict.fromkeys(r.domain.lower() for r in server.ranges if is_domain(r.domain))
    return Zone(
        ranges=tuple(dict.fromkeys(_range(r.server, r.cidr) for r in server.ranges)),
        local=tuple(wire_name(domain) for domain in domains if domain not in forwarded),
        domains=tuple(map(wire_name, domains)),
        localise=not server.namespace,
        upstream=tuple(one for one in server.upstream_dns if is_address(one)),
        follows_host=not server.namespace and not server.upstream_dns,
    )


def entries(server: DhcpServer) -> Iterator[Entry]:
    """Yield all names of a server."""
    for reservation in server.reservations.values():
        yield from reserved(reservation)
    for address, name in server.names:
        yield from _entry(address, *name.split(".", 1))


def reserved(reservation: Reservation) -> Iterator[Entry]:
    """Yield the name of a reservation; there is none if it can't stand in DNS."""
    return _entry(reservation.address, reservation.hostname, reservation.domain)


def wire_name(name: str) -> bytes:
    """Return the wire form of a name that `is_label` or `is_domain` has passed."""
    return b"".join(bytes((len(one),)) + one.encode() for one in name.split(".")) + ROOT


def first_label(name: bytes) -> bytes:
    """Return the first label of a name with its length octet."""
    return name[: name[0] + 1]


def has_dot(name: bytes) -> bool:
    """Return whether a name has more than one label."""
    return len(name) > len(first_label(name)) + len(ROOT)


def suffixes(name: bytes) -> Iterator[bytes]:
    """Yield a name and all domains that it is in, without the root."""
    while name[0]:
        yield name
        name = name[name[0] + 1 :]


def _entry(address: Address, host: str, domain: str = "") -> Iterator[Entry]:
    if is_label(host):
        full = f"{host}.{domain}".lower()
        name = wire_name(full if is_domain(full) else host)
        if len(name) <= MAX_NAME:
            yield Entry(name, address.packed)


def is_address(text: str) -> bool:
    """Return whether an upstream server is given by its address alone."""
    try:
        read_address(text)
    except ValueError:
        return False
    return True


def _range(server: Address, block: Block) -> Range:
    length, bits = block.max_prefixlen // 8, block.prefixlen
    prefix = int(block.network_address) >> (block.max_prefixlen - bits)
    return Range(server.packed, length, bits, prefix)
