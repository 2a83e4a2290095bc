"""Makes a host what it should be: observe, diff, apply, one kind after the other.

Kinds are created in the order given and deleted against it. One that fails holds up no other; what
failed is a difference at the next pass: that is the retry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lessor.agent.drivers import Driver, Recalling
from lessor.core.diff import Changes, diff
from lessor.core.state import HostState
from lessor.errors import Pending

# kinds of which nothing goes unless somebody takes it away
LASTING = frozenset(("bridges", "namespaces", "ovs_bridges", "dhcp_devices", "ovs_ports", "flows"))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of thing: the field of `HostState` it is in, and who takes care of it.

    `deletes` False: what is not desired is left as it is.
    """

    field: str
    driver: Driver[Any]
    deletes: bool = True


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that isn't as it should be. `pending`: it waits for somebody else."""

    kind: str
    key: str
    message: str
    pending: bool
    retry_s: float | None = None


@dataclass(slots=True)
class Outcome:
    """What a pass did."""

    problems: list[Problem] = field(default_factory=list)
    changed: dict[str, Changes[Any]] = field(default_factory=dict)
    put_back: dict[str, Changes[Any]] = field(default_factory=dict)  # somebody else had changed it

    def of(self, kind: str) -> list[Problem]:
        """Return the problems of one kind."""
        return [problem for problem in self.problems if problem.kind == kind]


class Reconciler:
    """Knows the kinds, and which of them may differ from what is desired."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        self._kinds = kinds
        self._settled: dict[str, Mapping[str, Any]] = {}  # what each kind was brought to
        self._reached: dict[str, Mapping[str, Any]] = {}  # the same, also of those under suspicion
        self._actual: dict[str, Mapping[str, Any]] = {}

    def suspect(self, kinds: Sequence[str] = ()) -> None:
        """Look at these kinds (all, if none is named) at the next pass, whatever was desired."""
        for name in kinds or list(self._settled):
            self._settled.pop(name, None)

    def actual(self, kind: str) -> Mapping[str, Any]:
        """Return what the last pass found or left there, by name."""
        return self._actual.get(kind, {})

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
        """Make the host as desired, as far as it can be made."""
        outcome = Outcome()
        doubtful = [k for k in self._kinds if self._doubtful(k, desired)]
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
        self._actual[kind.field] = actual
        if not kind.deletes:
            actual = {key: value for key, value in actual.items() if key in wanted}
        return diff(wanted, actual)

    def _observe(self, kind: Kind, desired: HostState, outcome: Outcome) -> Changes[Any] | None:
        try:
            changes = self._difference(kind, getattr(desired, kind.field))
        except Exception as error:  # noqa: BLE001 - one kind that can't be seen holds up no other
            outcome.problems += _problems(kind.field, error)
            return None
        if changes:
            outcome.changed[kind.field] = changes
        return changes

    def _try(self, kind: Kind, changes: Changes[Any], outcome: Outcome) -> None:
        if not changes:
            return
        try:
            kind.driver.apply(changes)
        except Exception as error:  # noqa: BLE001 - one kind that fails holds up no other
            outcome.problems += _problems(kind.field, error)

    def _settle(self, kind: Kind, desired: HostState, outcome: Outcome) -> None:
        """Remember what was reached; look again next time at a kind that has a problem."""
        wanted = getattr(desired, kind.field)
        if not outcome.of(kind.field):
            if kind.field in outcome.changed and self._reached.get(kind.field) == wanted:
                outcome.put_back[kind.field] = outcome.changed[kind.field]
            self._settled[kind.field] = self._reached[kind.field] = wanted
            self._actual[kind.field] = wanted
            return
        self._settled.pop(kind.field, None)
        self._reached.pop(kind.field, None)
        try:
            self._actual[kind.field] = kind.driver.observe()
        except Exception as error:  # noqa: BLE001 - said like any other
            outcome.problems += _problems(kind.field, error)


def put_back(outcome: Outcome) -> Iterator[tuple[str, list[str]]]:
    """Yield kinds with the names of what a pass put back though nothing else was desired.

    Not what comes and goes by itself: taps with their VMs, what DHCP servers have loaded.
    """
    for kind, changes in outcome.put_back.items():
        every = (*changes.create, *changes.replace, *changes.delete)
        lasting = [value for value in every if getattr(value, "kind", "") != "vif"]
        follows = kind == "flows" and "ovs_ports" in outcome.changed
        if kind in LASTING and lasting and not follows:
            yield kind, [str(getattr(v, "name", "") or getattr(v, "bridge", "")) for v in lasting]


def _problems(kind: str, error: Exception) -> Iterator[Problem]:
    if isinstance(error, ExceptionGroup):
        for inner in error.exceptions:
            yield from _problems(kind, inner)
    elif isinstance(error, Pending):
        yield Problem(kind, error.key, str(error), pending=True, retry_s=error.retry_s)
    else:
        message = str(error) or type(error).__name__
        yield Problem(kind, getattr(error, "key", ""), message, pending=False)
