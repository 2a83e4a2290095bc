"""When to make another pass although no event came."""

from __future__ import annotations

from collections.abc import Sequence

from lessor.agent.outcome import Problem

FIRST_S = 1.0  # after a failure; twice as long after each further one in a row
MAX_S = 5.0
MAX_DOUBLINGS = 16


class Retry:
    """Counts the passes in a row in which something failed."""

    def __init__(self) -> None:
        self._failures = 0

    def after(self, problems: Sequence[Problem], longest_s: float) -> float:
        """Return the seconds until another pass may get further, `longest_s` at most.

        A pending object names its time, or waits for an event. A failure is tried again soon, then
        every `MAX_S`, which is also how long a solved problem may still be reported.
        """
        waits = [problem.retry_s for problem in problems if problem.retry_s is not None]
        if all(problem.pending for problem in problems):
            self._failures = 0
        else:
            waits.append(min(MAX_S, FIRST_S * 2.0 ** min(self._failures, MAX_DOUBLINGS)))
            self._failures += 1
        return min([*waits, longest_s])
