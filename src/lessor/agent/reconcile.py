"""Brings a host to its desired state: observe, diff, apply, one kind after the other.

Kinds are created in the order given and deleted in reverse. One that fails holds up no other; what
failed is a difference at the next pass: that is the retry.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from lessor.agent.drivers import Recalling, Verifying
from lessor.agent.kinds import Event, Kind
from lessor.agent.outcome import Outcome, Problem
from lessor.core.diff import Changes, Unsound, diff
from lessor.core.state import HostState
from lessor.errors import Pending


class Reconciler:
    """The kinds, and which of them may differ from the desired state."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        self._settled: dict[str, Mapping[str, Any]] = {}  # what each kind was brought to
        self._reached: dict[str, Mapping[str, Any]] = {}  # things that were as desired once
        self._actual: dict[str, Mapping[str, Any]] = {}

    def suspect(self, events: Collection[Event] = ()) -> None:
        """Observe the kinds that these events wake (no event: all kinds) at the next pass."""
        for kind in self._kinds:
            if not events or kind.traits.woken_by.intersection(events):
                self._settled.pop(kind.field, None)

    def verify(self) -> None:
        """Have drivers read everything at their next look."""
        for kind in self._kinds:
            if isinstance(kind.driver, Verifying):
                kind.driver.verify()

    def actual(self, kind: str) -> Mapping[str, Any]:
        """Return the objects of a kind as of the last pass, by name."""
        return self._actual.get(kind, {})

    def faults(self, kind: str) -> list[str]:
        """Return what was wrong with objects of a kind at the last look, by their names."""
        actual = self.actual(kind)
        return [one.why for _, one in sorted(actual.items()) if isinstance(one, Unsound)]

    def plan(self, desired: HostState) -> dict[str, Changes[Any]]:
        """Return what a pass would do, and do nothing. Every kind is observed."""
        plans = {}
        for kind in self._kinds:
            if isinstance(kind.driver, Recalling):
                kind.driver.recall(getattr(desired, kind.field))
            changes = self._difference(kind, getattr(desired, kind.field))
            if changes:
                plans[kind.field] = changes
        return plans

    def apply(self, desired: HostState) -> Outcome:
        """Bring the host to the desired state, as far as possible."""
        outcome = Outcome()
        doubtful = [
            k
            for k in self._kinds
            if not _stopped(k, desired, outcome) and self._doubtful(k, desired)
        ]
        deletions: list[tuple[Kind, Changes[Any]]] = []
        for kind in doubtful:
            changes = self._observe(kind, desired, outcome)
            if changes is None:
                continue
            self._try(kind, Changes(create=changes.create, replace=changes.replace), outcome)
            deletions.append((kind, Changes(delete=changes.delete)))
        for kind, changes in reversed(deletions):
            self._try(kind, changes, outcome)
        for kind in doubtful:
            self._settle(kind, desired, outcome)
        return outcome

    def _doubtful(self, kind: Kind, desired: HostState) -> bool:
        wanted: Mapping[str, Any] = getattr(desired, kind.field)
        return self._settled.get(kind.field) != wanted

    def _difference(self, kind: Kind, wanted: Mapping[str, Any]) -> Changes[Any]:
        actual = kind.driver.observe()
        if not kind.traits.deletes:
            actual = {key: value for key, value in actual.items() if key in wanted}
        self._actual[kind.field] = actual
        return diff(wanted, actual)

    def _observe(self, kind: Kind, desired: HostState, outcome: Outcome) -> Changes[Any] | None:
        try:
            changes = self._difference(kind, getattr(desired, kind.field))
        except Exception as error:  # noqa: BLE001 - one kind that can't be seen holds up no other
            outcome.problems += _problems(kind.field, error)
            return None
        if changes:
            outcome.before[kind.field] = self._actual[kind.field]
            outcome.changes[kind.field] = changes
        return changes

    def _try(self, kind: Kind, changes: Changes[Any], outcome: Outcome) -> None:
        if not changes:
            return
        try:
            kind.driver.apply(changes)
        except Exception as error:  # noqa: BLE001 - one kind that fails holds up no other
            outcome.problems += _problems(kind.field, error)

    def _settle(self, kind: Kind, desired: HostState, outcome: Outcome) -> None:
        """Remember the state; observe a kind that has a problem again at the next pass."""
        wanted = getattr(desired, kind.field)
        if not outcome.of(kind.field):
            self._settled[kind.field] = self._actual[kind.field] = wanted
        else:
            self._settled.pop(kind.field, None)
            try:
                self._actual[kind.field] = kind.driver.observe()
            except Exception as error:  # noqa: BLE001 - reported like any other
                outcome.problems += _problems(kind.field, error)
                return
        self._note(kind, wanted, outcome)

    def _note(self, kind: Kind, wanted: Mapping[str, Any], outcome: Outcome) -> None:
        """Remember which objects are in sync, and note what was done for it."""
        after = self._actual[kind.field]
        if kind.field in outcome.changes:
            outcome.note(kind, wanted, after, self._reached.get(kind.field, {}))
        if after is wanted:
            self._reached[kind.field] = wanted
            return
        there = {name: one for name, one in wanted.items() if after.get(name) == one}
        self._reached[kind.field] = there


def _stopped(kind: Kind, desired: HostState, outcome: Outcome) -> bool:
    """Return whether a kind can't be observed; report why, once, if an object of it is desired."""
    obstacles = tuple(kind.obstacles())
    if getattr(desired, kind.field):
        reported = {problem.message for problem in outcome.problems}
        outcome.problems += [
            Problem(kind.field, kind.place, why, pending=False)
            for why in obstacles
            if why not in reported
        ]
    return bool(obstacles)


def _problems(kind: str, error: Exception) -> Iterator[Problem]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _problems(kind, inner)
    elif isinstance(error, Pending):
        yield Problem(kind, error.key, str(error), pending=True, retry_s=error.retry_s)
    else:
        message = str(error) or type(error).__name__
        yield Problem(kind, getattr(error, "key", ""), message, pending=False)
