"""Divides a block of addresses into new networks, as nova-manage does. Pure.

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
    """Return the number of addresses of each network: `asked`, or an equal share of the block.

    A share is limited to `most` (the flag network_size).
    """
    return asked if asked is not None else min(max(block.num_addresses // count, 1), most)


def cut(
    block: IPv4Network, count: int, size: int, taken: Iterable[IPv4Network]
) -> list[IPv4Network]:
    """Return `count` free blocks of at least `size` addresses within `block`, lowest first.

    Blocks that overlap one in `taken` are skipped.

    Raises:
        Invalid: the block is smaller than one network.
        Conflict: the block has too few free blocks.
    """
    prefix = 32 - max(size - 1, 0).bit_length()
    if prefix < block.prefixlen:
        raise Invalid(f"{size} addresses don't fit into {block}: it has {block.num_addresses}")
    found = list(_free(block, prefix, list(taken), count))
    if len(found) < count:
        raise Conflict(
            f"{block} has room for {len(found)} more networks of {1 << (32 - prefix)} addresses, "
            f"{count} are needed; give a larger block, fewer or smaller networks",
            type_="CidrConflict",
        )
    return found


def _free(
    block: IPv4Network, prefix: int, taken: list[IPv4Network], count: int
) -> Iterator[IPv4Network]:
    """Yield free blocks; jumps over taken ones, so the cost of a /8 is that of its results."""
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
    """Return the allocation pools from `first` to `last` without the reserved addresses.

    The network and broadcast addresses of the block are never in a pool.
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
