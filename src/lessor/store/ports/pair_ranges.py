"""The address ranges of allowed address pairs on a wire, searched in logarithmic time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

from lessor.net.address import Address
from lessor.net.keys import key_of


@dataclass(frozen=True, slots=True)
class PairRange:
    """Addresses of an allowed address pair that a project gave one of its ports, as keys."""

    port_id: str
    project_id: str
    first: bytes
    last: bytes


def _farther(one: PairRange, other: PairRange) -> PairRange:
    return one if one.last >= other.last else other


class PairRanges:
    """Pairs of other projects, whose addresses a project's ports can't have."""

    def __init__(self, pairs: Iterable[PairRange]) -> None:
        ordered = sorted(pairs, key=lambda one: one.first)
        self._firsts = [one.first for one in ordered]
        self._farthest = list(accumulate(ordered, _farther))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def find(self, address: Address) -> PairRange | None:
        """Return a pair that has an address; None: there is none."""
        key = key_of(address)
        place = bisect_right(self._firsts, key)
        if not place or self._farthest[place - 1].last < key:
            return None
        return self._farthest[place - 1]
