"""What differs between what should be and what is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class Unsound(Generic[V]):
    """A broken object. It equals no desired value, so `diff` replaces it."""

    value: V  # as read from the host
    why: str  # what is wrong with it


Observed = Mapping[str, V | Unsound[V]]  # actual objects, by name


def as_read(found: V | Unsound[V]) -> V:
    """Return an object as it was read from the host, sound or not."""
    return found.value if isinstance(found, Unsound) else found


@dataclass(frozen=True, slots=True)
class Changes(Generic[V]):
    """What to do, each in key order. `replace` has the new values, `delete` the present ones."""

    create: tuple[V, ...] = ()
    replace: tuple[V, ...] = ()
    delete: tuple[V, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.create or self.replace or self.delete)


def diff(desired: Mapping[str, V], actual: Observed[V]) -> Changes[V]:
    """Return what turns `actual` into `desired`, both by name. Equal values are left alone."""
    return Changes(
        create=tuple(desired[key] for key in sorted(desired.keys() - actual.keys())),
        replace=tuple(
            desired[key]
            for key in sorted(desired.keys() & actual.keys())
            if desired[key] != actual[key]
        ),
        delete=tuple(as_read(actual[key]) for key in sorted(actual.keys() - desired.keys())),
    )
