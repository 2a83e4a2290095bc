"""Waiting for something to become true, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SHORTEST_S, LONGEST_S = 0.01, 0.25  # between two looks


def wait_for(condition: Callable[[], T], timeout_s: float, what: str = "") -> T:
    """Look until `condition()` is true, and return it.

    Raises:
        TimeoutError: `what` (the condition, in words) isn't so after `timeout_s` seconds.
    """
    end = time.monotonic() + timeout_s
    pause = SHORTEST_S
    while not (seen := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what or 'what was waited for'}: not so after {timeout_s:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_S)
    return seen
