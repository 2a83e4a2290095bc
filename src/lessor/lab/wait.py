"""Waits for a condition, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lessor.errors import Unavailable

T = TypeVar("T")

SHORTEST_S, LONGEST_S = 0.01, 0.25  # between two checks


class StillNot(Unavailable, TimeoutError):
    """The condition is still false; commands report it like any other error."""


def wait_for(condition: Callable[[], T], timeout_s: float, what: str = "") -> T:
    """Call `condition` until its result is true, and return the result.

    Raises:
        StillNot: (a TimeoutError) the condition, described by `what`, is false after `timeout_s`.
    """
    end = time.monotonic() + timeout_s
    pause = SHORTEST_S
    while not (seen := condition()):
        if time.monotonic() > end:
            raise StillNot(f"{what or 'the condition'}: not so after {timeout_s:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_S)
    return seen
