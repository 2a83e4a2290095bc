"""Which flat networks of a host reach each other: none, but within the blocks of joined_cidr."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network
from itertools import product

from lessor.core.state import VmRange

Pair = tuple[IPv4Network, IPv4Network]


def joined_pairs(ranges: Iterable[VmRange], joined: Iterable[IPv4Network]) -> list[Pair]:
    """Return (source, destination) pairs that belong together; no two overlap.

    They are the subnets of one network, and the blocks that an operator joins.
    """
    subnets: dict[str, set[IPv4Network]] = defaultdict(set)
    for one in ranges:
        subnets[one.network_id or str(one.cidr)].add(one.cidr)
    within = [(one, other) for cidrs in subnets.values() for one, other in product(cidrs, cidrs)]
    return _disjoint([*((block, block) for block in joined), *within])


def group(network_id: str, cidrs: Sequence[IPv4Network], joined: Iterable[IPv4Network]) -> str:
    """Name the group of networks that exchange frames: a block that joins them, or one alone."""
    widest_first = sorted(joined, key=lambda block: block.prefixlen)
    around = (b for b in widest_first if cidrs and all(cidr.subnet_of(b) for cidr in cidrs))
    return str(next(around, network_id))


def _disjoint(pairs: Iterable[Pair]) -> list[Pair]:
    """Leave out what overlaps a larger pair: sets of intervals take no overlap.

    That pair has all of it, unless each is the wider one in one place: then less is joined.
    """
    kept: dict[Pair, tuple[int, int, int, int]] = {}
    for pair in sorted(set(pairs), key=_size):
        first, last, to_first, to_last = numbers = (*_ends(pair[0]), *_ends(pair[1]))
        if not any(
            first <= b and a <= last and to_first <= d and c <= to_last
            for a, b, c, d in kept.values()
        ):
            kept[pair] = numbers
    return list(kept)


def _size(pair: Pair) -> tuple[int, Pair]:
    return pair[0].prefixlen + pair[1].prefixlen, pair


def _ends(block: IPv4Network) -> tuple[int, int]:
    return int(block.network_address), int(block.broadcast_address)
