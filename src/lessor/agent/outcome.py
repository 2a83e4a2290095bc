"""What a pass did on a host, by kind and name, and which of it repaired drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lessor.core.diff import Changes

# Kinds whose changes alter things of a kind: after a change of ours, that is no drift.
CAUSES: dict[str, tuple[str, ...]] = {
    "addresses": ("bridges", "dhcp_devices"),
    "dhcp_servers": ("bridges", "namespaces", "dhcp_devices", "addresses"),
    "taps": ("bridges",),
    "dhcp_devices": ("namespaces", "ovs_ports"),
    "ovs_ports": ("ovs_bridges", "taps", "dhcp_devices"),
}
OWN = frozenset(("metadata",))  # listeners of the agent's own process


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that isn't as it should be. `pending`: it waits for somebody else."""

    kind: str
    key: str
    message: str
    pending: bool
    retry_s: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The names of what a pass created, replaced and deleted, and that is so afterwards."""

    created: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.created + self.replaced + self.deleted


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

    def note(
        self,
        kind: str,
        wanted: Mapping[str, Any],
        after: Mapping[str, Any],
        reached: Mapping[str, Any],
    ) -> None:
        """Note what became of a kind.

        Args:
            kind: its name; it is in `before` and `changes`.
            wanted: its things as desired.
            after: as they are after the pass.
            reached: as they were brought to before this pass.
        """
        before = self.before[kind]
        done = _done(self.changes[kind], before, wanted, after)
        if not done.names:
            return
        self.done[kind] = done
        drift = [name for name in done.created + done.replaced if reached.get(name) == wanted[name]]
        names = [name for name in drift if self._is_repair(kind, wanted[name], before.get(name))]
        if names and not self._is_caused(kind):
            self.put_back[kind] = names

    def _is_caused(self, kind: str) -> bool:
        """Tell whether a change of ours in this pass may have altered the things of a kind."""
        if kind == "flows":  # a port that is made again has another number
            return "ovs_ports" in self.done
        return any(one in self.done and one not in self.put_back for one in CAUSES.get(kind, ()))

    def _is_repair(self, kind: str, wanted: Any, before: Any) -> bool:
        """Tell whether somebody else changed a thing.

        Not what comes and goes by itself: taps with their VMs, what DHCP servers have loaded.
        """
        if kind in OWN:
            return False
        if kind == "taps" and before is None:
            return bool(wanted.managed)
        if kind == "ovs_ports" and wanted.kind == "vif":
            return wanted.name not in self.done.get("taps", Done()).created
        if kind == "dhcp_servers" and before is not None:
            return not before.ranges  # so is one that is dead, or of which nothing is sure
        return True


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
