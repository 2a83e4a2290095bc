"""What a pass did on a host, by kind and name, and which of it repaired drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lessor.agent.kinds import Done, Kind
from lessor.core.diff import Changes, Unsound


@dataclass(frozen=True, slots=True)
class Problem:
    """An object that is not in sync. `pending`: it waits for another program or for its time."""

    kind: str
    key: str
    message: str
    pending: bool
    retry_s: float | None = None


@dataclass(slots=True)
class Outcome:
    """What a pass did."""

    problems: list[Problem] = field(default_factory=list)
    before: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # things found, by kind
    changes: dict[str, Changes[Any]] = field(default_factory=dict)  # that were tried, by kind
    done: dict[str, Done] = field(default_factory=dict)
    put_back: dict[str, list[str]] = field(default_factory=dict)  # names of repaired drift

    def of(self, kind: str) -> list[Problem]:
        """Return the problems of one kind."""
        return [problem for problem in self.problems if problem.kind == kind]

    def faults(self, kind: str, names: Iterable[str]) -> list[str]:
        """Return what was wrong with objects of a kind that were found broken."""
        found = map(self.before.get(kind, {}).get, names)
        return [one.why for one in found if isinstance(one, Unsound)]

    def note(
        self,
        kind: Kind,
        wanted: Mapping[str, Any],
        after: Mapping[str, Any],
        reached: Mapping[str, Any],
    ) -> None:
        """Note what became of a kind.

        Args:
            kind: it is in `before` and `changes`.
            wanted: its objects as desired.
            after: as they are after the pass.
            reached: as they were brought to before this pass.
        """
        before = self.before[kind.field]
        done = _done(self.changes[kind.field], before, wanted, after)
        if not done.names:
            return
        self.done[kind.field] = done
        if not kind.traits.lasting or self._is_caused(kind):
            return
        changed = [
            name for name in done.created + done.replaced if reached.get(name) == wanted[name]
        ]
        names = [
            name
            for name in changed
            if kind.traits.is_drift(wanted[name], before.get(name), self.done)
        ]
        if names:
            self.put_back[kind.field] = names

    def _is_caused(self, kind: Kind) -> bool:
        """Tell whether a change of ours in this pass may have altered the objects of a kind."""
        ours = self.done.keys() - self.put_back.keys()
        return not kind.traits.altered_by.isdisjoint(ours)


def _done(
    changes: Changes[Any],
    before: Mapping[str, Any],
    wanted: Mapping[str, Any],
    after: Mapping[str, Any],
) -> Done:
    """Return which of the changes are there afterwards. Only what changed is compared."""

    def there(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(name for name in sorted(names) if after.get(name) == wanted[name])

    replaced = {id(value) for value in changes.replace}
    return Done(
        created=there(wanted.keys() - before.keys()) if changes.create else (),
        replaced=there(k for k, v in wanted.items() if id(v) in replaced) if replaced else (),
        deleted=tuple(sorted(before.keys() - wanted.keys() - after.keys())),
    )


def few(names: Mapping[str, Any] | tuple[str, ...] | list[str], most: int = 5) -> list[str]:
    """Return the first names, and how many more there are."""
    return list(_few(list(names), most))


def _few(names: list[str], most: int) -> Iterator[str]:
    yield from names[:most]
    if len(names) > most:
        yield f"and {len(names) - most} more"
