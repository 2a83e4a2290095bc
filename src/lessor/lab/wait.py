"""Waiting for something to become true, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lessor.errors import Unavailable

T = TypeVar("T")

SHORTEST_S, LONGEST_S = 0.01, 0.25  # between two looks


class StillNot(Unavailable, TimeoutError):
    """What was waited for has not come; a command says so like any other refusal."""


def wait_for(condition: Callable[[], T], timeout_s: float, what: str = "") -> T:
    """Look until `condition()` is true, and return it.

    Raises:
        StillNot: (a TimeoutError) the condition, described by `what`, is false after `timeout_s`.
    """
    end = time.monotonic() + timeout_s
    pause = SHORTEST_S
    while not (seen := condition()):
        if time.monotonic() > end:
            raise StillNot(f"{what or 'what was waited for'}: not so after {timeout_s:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_S)
    return seen
