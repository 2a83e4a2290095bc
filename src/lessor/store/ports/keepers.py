"""Allowed address pairs of a wire, found by an address in a few steps, however many there are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True, slots=True)
class Held:
    """Addresses of an allowed address pair that a project gave one of its ports."""

    port_id: str
    project_id: str
    first: int
    last: int


def _farther(one: Held, other: Held) -> Held:
    return one if one.last >= other.last else other


class Keepers:
    """The pairs that keep a project's ports from addresses."""

    def __init__(self, pairs: Iterable[Held]) -> None:
        ordered = sorted(pairs, key=lambda one: one.first)
        self._firsts = [one.first for one in ordered]
        self._farthest = list(accumulate(ordered, _farther))

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def holder(self, number: int) -> Held | None:
        """Return a pair that has an address; None: there is none."""
        place = bisect_right(self._firsts, number)
        if not place or self._farthest[place - 1].last < number:
            return None
        return self._farthest[place - 1]
