"""One module a kind of object on a host: `observe()` reads the actual state, `apply()` changes it.

A driver decides nothing and logs nothing. It knows its own objects by a mark in the kernel or in
OVS, named in the first lines of its module, and reads and changes no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from lessor.core.diff import Changes, Observed

V = TypeVar("V")


class Driver(Protocol[V]):
    """What the loop asks of each kind."""

    def observe(self) -> Observed[V]:
        """Return our objects of this kind, by their key in `HostState`; broken ones `Unsound`."""

    def apply(self, changes: Changes[V]) -> None:
        """Apply every change that can be applied.

        Raises:
            ExceptionGroup: of `Pending` (waits for another program) and other errors, one an
                object that is not in sync; each names the object. All other changes are done.
        """


@runtime_checkable
class Verifying(Protocol):
    """A driver that does not read again what it left on the host, as long as no event came."""

    def verify(self) -> None:
        """Read everything at the next `observe()`. May be called by any thread."""


@runtime_checkable
class Recalling(Protocol):
    """A driver that reads an operator's objects only where they are desired."""

    def recall(self, wanted: Mapping[str, Any]) -> None:
        """Take these as desired and, as far as they are there, as used."""
