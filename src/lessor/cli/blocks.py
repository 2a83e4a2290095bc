"""Blocks of addresses for new networks, cut as nova-manage does. Pure.

Source: semantics.md A4 (nova/network/manager.py, create_networks).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network

from lessor.errors import Conflict, Invalid

DEFAULT_NETWORK_SIZE = 256


def size_of_each(
    block: IPv4Network, count: int, asked: int | None, most: int = DEFAULT_NETWORK_SIZE
) -> int:
    """Return how many addresses each network gets: as asked, or a share of the block.

    A share larger than `most` (the flag network_size) becomes that.
    """
    return asked if asked is not None else min(max(block.num_addresses // count, 1), most)


def cut(
    block: IPv4Network, count: int, size: int, taken: Iterable[IPv4Network]
) -> list[IPv4Network]:
    """Cut `count` blocks of at least `size` addresses out of `block`, lowest first.

    Blocks that equal, contain or lie in one that is taken are passed over.

    Raises:
        Invalid: a network of that size doesn't fit into the block at all.
        Conflict: there is not enough room left.
    """
    prefix = 32 - max(size - 1, 0).bit_length()
    if prefix < block.prefixlen:
        raise Invalid(f"{size} addresses don't fit into {block}: it has {block.num_addresses}")
    found = list(_free(block, prefix, list(taken), count))
    if len(found) < count:
        raise Conflict(
            f"{block} has room for {len(found)} more networks of {1 << (32 - prefix)} addresses, "
            f"{count} were asked for; give a larger block, fewer or smaller networks",
            type_="CidrConflict",
        )
    return found


def _free(
    block: IPv4Network, prefix: int, taken: list[IPv4Network], count: int
) -> Iterator[IPv4Network]:
    """Yield free blocks; jumps over what is taken, so that a /8 costs what it yields."""
    step = 1 << (32 - prefix)
    at, end = int(block.network_address), int(block.broadcast_address)
    while at <= end and count:
        candidate = IPv4Network((at, prefix))
        clash = next((other for other in taken if other.overlaps(candidate)), None)
        if clash is None:
            yield candidate
            count -= 1
            at += step
        else:
            behind = int(clash.broadcast_address) + 1
            at = max(at + step, -(-behind // step) * step)


def pools(
    cidr: IPv4Network, first: IPv4Address, last: IPv4Address, reserved: Iterable[IPv4Address]
) -> list[dict[str, str]]:
    """Return the allocation pools from `first` to `last` less the reserved addresses.

    The block's own address and its broadcast address are never in a pool.
    """
    least = max(first, cidr.network_address + 1)
    most = min(last, cidr.broadcast_address - 1)
    spans, start = [], int(least)
    for stop in sorted({int(address) for address in reserved if least <= address <= most}):
        spans.append((start, stop - 1))
        start = stop + 1
    spans.append((start, int(most)))
    return [
        {"start": str(IPv4Address(low)), "end": str(IPv4Address(high))}
        for low, high in spans
        if low <= high
    ]
