"""One module a kind of thing on a host: `observe()` says what is there, `apply()` changes it.

A driver decides nothing and logs nothing. It knows its own by a mark that the kernel keeps, named
in the first lines of its module, and never lists or touches anything without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, runtime_checkable

from lessor.core.diff import Changes, Observed

V = TypeVar("V")


class Driver(Protocol[V]):
    """What the loop asks of each kind."""

    def observe(self) -> Observed[V]:
        """Return our objects of this kind, by the key `HostState` uses; broken ones as `Unsound`."""

    def apply(self, changes: Changes[V]) -> None:
        """Make every change that can be made.

        Raises:
            ExceptionGroup: of `Pending` (waits for somebody else) and other errors, one a thing
                that is not as it should be; each names the thing. All others were done.
        """


@runtime_checkable
class Verifying(Protocol):
    """A driver that believes what it left on the host until somebody may have changed it."""

    def verify(self) -> None:
        """Compare with the host at the next `observe()`, whatever is believed. For any thread."""


@runtime_checkable
class Recalling(Protocol):
    """A driver that knows some things only since it was asked for them: an operator's own."""

    def recall(self, wanted: Mapping[str, Any]) -> None:
        """Take these as asked for and found there, as far as they are there."""
