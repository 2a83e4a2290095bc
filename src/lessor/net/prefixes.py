"""Arithmetic of blocks: what is free between those in use, and what to cut next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lessor.net.address import Block, collapsed, is_within
from lessor.net.keys import BITS, block_at, block_of_size, number_of

Extent = tuple[int, int]  # numbers of the first and the last address: see `keys`


class Claim(NamedTuple):
    """Addresses that somebody has, both ends included."""

    first: int
    last: int
    owner: str


def extent(block: Block) -> Extent:
    """Return the first and last address of a block."""
    return number_of(block.network_address), number_of(block.broadcast_address)


def compacted(blocks: Iterable[Block]) -> tuple[Block, ...]:
    """Return the fewest blocks that have the same addresses, in order, those of IPv4 first."""
    return tuple(collapsed(blocks))


def gaps(whole: Iterable[Extent], taken: Iterable[Extent]) -> Iterator[Extent]:
    """Yield what is left of extents that don't overlap, in order, without the taken ones."""
    used = sorted(taken)
    n = 0
    for first, last in sorted(whole):
        while n < len(used) and used[n][1] < first:
            n += 1
        start, at = first, n
        while at < len(used) and used[at][0] <= last:
            if start < used[at][0]:
                yield start, used[at][0] - 1
            start = max(start, used[at][1] + 1)
            at += 1
        if start <= last:
            yield start, last


def blocks_of(gap: Extent) -> Iterator[Block]:
    """Yield the fewest aligned blocks that make up an extent of one family, in order."""
    start, last = gap
    while start <= last:
        aligned = (start & -start).bit_length() - 1 if start else BITS
        size = min(aligned, (last - start + 1).bit_length() - 1)
        yield block_of_size(start, size)
        start += 1 << size


def clash(claims: Iterable[Claim]) -> tuple[Claim, Claim] | None:
    """Return two claims of different owners that have addresses in common; None: there are none.

    It takes as long as sorting them.
    """
    widest: Claim | None = None
    for claim in sorted(claims):
        if widest is not None and claim.first <= widest.last and claim.owner != widest.owner:
            return widest, claim
        if widest is None or claim.last > widest.last:
            widest = claim
    return None


def cut(whole: Sequence[Extent], taken: Sequence[Extent], prefixlen: int) -> Block | None:
    """Return a free block of a length, from the smallest free block that has it; None: no room.

    The smallest is broken up first, so that room for large blocks lasts as long as it can.
    """
    roomy = (
        block
        for gap in gaps(whole, taken)
        for block in blocks_of(gap)
        if block.prefixlen <= prefixlen
    )
    best = max(roomy, key=lambda block: block.prefixlen, default=None)
    if best is None:
        return None
    return block_at(best.network_address, prefixlen)


def inside(block: Block, prefixes: Iterable[Block]) -> bool:
    """Tell whether a block lies within one of some prefixes."""
    return any(is_within(block, prefix) for prefix in prefixes)
