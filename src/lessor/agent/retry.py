"""When a pass is worth another one although nothing happened."""

from __future__ import annotations

from collections.abc import Sequence

from lessor.agent.outcome import Problem

FIRST_S = 1.0  # after a failure; twice as long after each further one in a row
LONGEST_S = 5.0
MAXIMUM_DOUBLINGS = 16


class Retry:
    """Counts the passes in a row in which something failed."""

    def __init__(self) -> None:
        self._failures = 0

    def after(self, problems: Sequence[Problem], longest_s: float) -> float:
        """Return the seconds until another pass may get further, `longest_s` at most.

        What waits for somebody else says itself when, or an event will. What failed is tried again
        soon, then every `LONGEST_S`: a problem that was mended is not said for longer.
        """
        waits = [problem.retry_s for problem in problems if problem.retry_s is not None]
        if all(problem.pending for problem in problems):
            self._failures = 0
        else:
            waits.append(min(LONGEST_S, FIRST_S * 2.0 ** min(self._failures, MAXIMUM_DOUBLINGS)))
            self._failures += 1
        return min([*waits, longest_s])
