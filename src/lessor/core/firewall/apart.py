"""Which flat networks of a host reach each other: none, but within the blocks of joined_cidr."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import product

from lessor.core.state import VmRange
from lessor.net.address import Block, is_within, place_of_block

Pair = tuple[Block, Block]


def joined_pairs(ranges: Iterable[VmRange], joined: Iterable[Block]) -> list[Pair]:
    """Return (source, destination) pairs that belong together; no two overlap.

    They are the subnets of one network, and the blocks that an operator joins.
    """
    subnets: dict[str, set[Block]] = defaultdict(set)
    for one in ranges:
        subnets[one.network_id or str(one.cidr)].add(one.cidr)
    within = [
        (one, other)
        for cidrs in subnets.values()
        for one, other in product(cidrs, cidrs)
        if one.version == other.version
    ]
    return _disjoint([*((block, block) for block in joined), *within])


def group(network_id: str, cidrs: Sequence[Block], joined: Iterable[Block]) -> str:
    """Name the group of networks that exchange frames: a block that joins them, or one alone."""
    widest_first = sorted(joined, key=lambda block: block.prefixlen)
    around = (b for b in widest_first if cidrs and all(is_within(cidr, b) for cidr in cidrs))
    return str(next(around, network_id))


def _disjoint(pairs: Iterable[Pair]) -> list[Pair]:
    """Leave out what overlaps a larger pair: sets of intervals take no overlap.

    That pair has all of it, unless each is the wider one in one place: then less is joined.
    """
    kept: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)  # by family
    found = []
    for pair in sorted(set(pairs), key=_size):
        first, last, to_first, to_last = numbers = (*_ends(pair[0]), *_ends(pair[1]))
        others = kept[pair[0].version]
        if not any(
            first <= b and a <= last and to_first <= d and c <= to_last for a, b, c, d in others
        ):
            others.append(numbers)
            found.append(pair)
    return found


def _size(pair: Pair) -> tuple[object, ...]:
    return pair[0].prefixlen + pair[1].prefixlen, *map(place_of_block, pair)


def _ends(block: Block) -> tuple[int, int]:
    return int(block.network_address), int(block.broadcast_address)
