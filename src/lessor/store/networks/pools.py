"""Rules of a subnet's addresses: what is reserved, what automatic choice may take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from lessor.errors import Conflict, Invalid
from lessor.model import Pool
from lessor.net.address import Address, Block
from lessor.net.keys import address_at, key_of, number_of

MOST_POOLS = 100  # of a subnet: each creation of a port reads them all
LEAST_WITH_BROADCAST = 2  # bits: RFC 3021, a /31 or /32 has neither network nor broadcast address


def host_span(cidr: Block) -> Pool:
    """Return the first and last address that a host may have."""
    if cidr.max_prefixlen - cidr.prefixlen < LEAST_WITH_BROADCAST:
        return Pool(cidr.network_address, cidr.broadcast_address)
    return Pool(cidr.network_address + 1, cidr.broadcast_address - 1)


def default_pools(cidr: Block, taken: Iterable[Address | None]) -> tuple[Pool, ...]:
    """Return all host addresses without the taken ones, in order.

    Source: semantics.md B4.
    """
    span = host_span(cidr)
    pools, first = [], number_of(span.first)
    for address in sorted({number_of(a) for a in taken if a is not None and a in cidr}):
        if first < address <= number_of(span.last) + 1:
            pools.append((first, address - 1))
        first = max(first, address + 1)
    if first <= number_of(span.last):
        pools.append((first, number_of(span.last)))
    return tuple(Pool(address_at(low), address_at(high)) for low, high in pools)


def check_number(pools: Sequence[Pool], present: Sequence[Pool] = ()) -> None:
    """Refuse more pools than a subnet may have; one that has more already may keep as many.

    Raises:
        Invalid: there are too many.
    """
    if len(pools) > max(MOST_POOLS, len(present)):
        raise Invalid(
            f"{len(pools)} allocation pools; the most of a subnet is {MOST_POOLS}: give wider ones",
            type_="InvalidAllocationPool",
        )


def checked_pools(
    cidr: Block,
    pools: Sequence[Pool],
    gateway: Address | None,
    server: Address | None,
) -> tuple[Pool, ...]:
    """Return given pools in order.

    Raises:
        Invalid: one runs backwards, or isn't wholly among the host addresses of `cidr`.
        Conflict: two overlap, or one has the gateway or the DHCP server in it.
    """
    span = host_span(cidr)
    lowest, highest = number_of(span.first), number_of(span.last)
    ordered = tuple(sorted(pools, key=lambda pool: key_of(pool.first)))
    for pool in ordered:
        if number_of(pool.first) > number_of(pool.last):
            raise Invalid(
                f"allocation pool {_shown(pool)} ends before it begins",
                type_="InvalidAllocationPool",
            )
        if number_of(pool.first) < lowest or number_of(pool.last) > highest:
            raise Invalid(
                f"allocation pool {_shown(pool)} is not within the hosts of {cidr}, {_shown(span)}",
                type_="OutOfBoundsAllocationPool",
            )
        _check_outside(pool, gateway, "gateway")
        _check_outside(pool, server, "DHCP server")
    for one, other in pairwise(ordered):
        if number_of(other.first) <= number_of(one.last):
            raise Conflict(
                f"allocation pools {_shown(one)} and {_shown(other)} of {cidr} overlap",
                type_="OverlappingAllocationPools",
            )
    return ordered


def _check_outside(pool: Pool, address: Address | None, what: str) -> None:
    if address is not None and key_of(pool.first) <= key_of(address) <= key_of(pool.last):
        raise Conflict(
            f"{what} {address} lies in the allocation pool {_shown(pool)}; leave it out of the "
            "pools",
            type_="GatewayConflictWithAllocationPools",
        )


def _shown(pool: Pool) -> str:
    return f"{pool.first}-{pool.last}"


def reserved_addresses(
    cidr: Block, gateway: Address | None, server: Address | None
) -> dict[Address, str]:
    """Return the addresses of a subnet that no port can have, each with the reason.

    Source: semantics.md A4 rule 8, D3.1.
    """
    found = {}
    if server is not None:
        found[server] = "dhcp_server"
    if gateway is not None and gateway in cidr:
        found[gateway] = "gateway"
    if cidr.max_prefixlen - cidr.prefixlen >= LEAST_WITH_BROADCAST:
        found |= {cidr.network_address: "network", cidr.broadcast_address: "broadcast"}
    return found


def first_host(cidr: Block, *, without: Address | None = None) -> Address:
    """Return the lowest host address that isn't `without`.

    Raises:
        Conflict: there is no other.
    """
    span = host_span(cidr)
    first = span.first if span.first != without else span.first + 1
    if number_of(first) > number_of(span.last):
        raise Conflict(f"{cidr} has no host address but {without}", type_="IpAddressInUse")
    return first
