"""Which IPv4 addresses have a given text as a part of their own: without writing each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

BLOCK = 256  # addresses that differ in their last octet only
_OCTETS = tuple(str(number) for number in range(BLOCK))


@dataclass(frozen=True, slots=True)
class Matches:
    """Addresses, as numbers.

    Attributes:
        ranges: first and last of those that follow one another, in order.
        single: others.
    """

    ranges: list[tuple[int, int]] = field(default_factory=list)
    single: list[int] = field(default_factory=list)


def having(parts: Iterable[str], blocks: Iterable[int]) -> Matches:
    """Return the addresses in blocks whose text contains one of these parts.

    Args:
        parts: of an address as it is written, as "0.1" of 10.0.1.2.
        blocks: in order; each is the number of its addresses without their last octet.
    """
    wanted = [(part, _last_octets(part)) for part in dict.fromkeys(parts)]
    found = Matches()
    for block in blocks:
        head = ".".join(str(block >> shift & 255) for shift in (16, 8, 0)) + "."
        if any(part in head for part, _ in wanted):
            _append(found.ranges, block * BLOCK)
            continue
        octets = {
            octet
            for _, ends in wanted
            for end, having_it in ends
            if head.endswith(end)
            for octet in having_it
        }
        found.single.extend(block * BLOCK + octet for octet in sorted(octets))
    return found


def _last_octets(part: str) -> list[tuple[str, list[int]]]:
    """Return the ways in which a part can reach into the last octet.

    Each is what the text before that octet ends with, and which octets go on as the part does.
    """
    end, dot, rest = part.rpartition(".")
    if dot:
        return [(end + dot, [n for n, text in enumerate(_OCTETS) if text.startswith(rest)])]
    return [("", [n for n, text in enumerate(_OCTETS) if part in text])]


def _append(ranges: list[tuple[int, int]], first: int) -> None:
    if ranges and ranges[-1][1] + 1 == first:
        ranges[-1] = (ranges[-1][0], first + BLOCK - 1)
    else:
        ranges.append((first, first + BLOCK - 1))
