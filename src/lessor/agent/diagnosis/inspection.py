"""Runs the checks of a host, and repeats those with findings soon."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from lessor.core.diagnosis.problems import problem_of
from lessor.core.plan.desired import Desired
from lessor.model import Problem

AGAIN_S = 3.0  # until a check that found something is repeated
Check = Callable[[Desired], Iterable[str | Problem]]


class Inspection:
    """The checks of one host. Used in the one thread that drivers are used in.

    Args:
        checks: find what is wrong on the host; those with findings are repeated at every look.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._checks = tuple(checks)
        self._clock = clock
        self._found: dict[Check, list[Problem]] = {}

    def look(self, desired: Desired, *, full: bool) -> None:
        """Run all checks if `full`, else those that found something."""
        again = [check for check in self._checks if self._found.get(check)]
        for check in self._checks if full else again:
            at = self._clock()
            found = [problem_of(one) for one in check(desired)]
            self._found[check] = [replace(one, seen=one.seen or at) for one in found]

    @property
    def again_s(self) -> float | None:
        """Seconds until another look is due; None: nothing stands that a look would change."""
        return AGAIN_S if any(self._found.get(check) for check in self._checks) else None

    def problems(self) -> Iterator[Problem]:
        """Yield what was found at each check's last run."""
        for check in self._checks:
            yield from self._found.get(check, ())
