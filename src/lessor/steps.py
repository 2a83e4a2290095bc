"""Runs steps that do not depend on each other: one that fails holds up no other."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lessor.errors import LessorError

Step = Callable[[], object]


def each(steps: Iterable[Step], what: str) -> None:
    """Run all steps, then raise one group of the failures; the next pass retries them.

    Args:
        steps: each raises LessorError, OSError or a group of them.
        what: the things that the steps change, for the group's message.
    """
    failures = [failure for step in steps for failure in tried(step)]
    if failures:
        raise ExceptionGroup(f"{len(failures)} {what} failed", failures)


def tried(step: Step) -> list[Exception]:
    """Run one step; return its failures instead of raising them."""
    try:
        step()
    except ExceptionGroup as group:
        return list(group.exceptions)
    except (LessorError, OSError) as error:
        return [error]
    return []
