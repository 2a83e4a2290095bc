"""Which IPv4 addresses have a given text as a part of their own: without writing each of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

_OCTETS = tuple(str(number) for number in range(256))


@dataclass(frozen=True, slots=True)
class Matches:
    """Addresses, as their four bytes.

    Attributes:
        ranges: first and last of those that follow one another, in order.
        single: others.
    """

    ranges: list[tuple[bytes, bytes]] = field(default_factory=list)
    single: list[bytes] = field(default_factory=list)


def having(parts: Iterable[str], blocks: Iterable[bytes]) -> Matches:
    """Return the addresses in blocks whose text contains one of these parts.

    Args:
        parts: of an address as it is written, as "0.1" of 10.0.1.2.
        blocks: in order; each is the first three bytes of its addresses.
    """
    wanted = [(part, _last_octets(part)) for part in dict.fromkeys(parts)]
    found = Matches()
    for block in blocks:
        head = ".".join(map(str, block)) + "."
        if any(part in head for part, _ in wanted):
            _append(found.ranges, block)
            continue
        octets = {
            octet
            for _, ends in wanted
            for end, having_it in ends
            if head.endswith(end)
            for octet in having_it
        }
        found.single.extend(block + bytes((octet,)) for octet in sorted(octets))
    return found


def _last_octets(part: str) -> list[tuple[str, list[int]]]:
    """Return the ways in which a part can reach into the last octet.

    Each is what the text before that octet ends with, and which octets go on as the part does.
    """
    end, dot, rest = part.rpartition(".")
    if dot:
        return [(end + dot, [n for n, text in enumerate(_OCTETS) if text.startswith(rest)])]
    return [("", [n for n, text in enumerate(_OCTETS) if part in text])]


def _append(ranges: list[tuple[bytes, bytes]], block: bytes) -> None:
    """Add a block to ranges, to the last one if it follows on it."""
    first, last = block + b"\x00", block + b"\xff"
    if ranges and int.from_bytes(ranges[-1][1]) + 1 == int.from_bytes(first):
        first = ranges.pop()[0]
    ranges.append((first, last))
