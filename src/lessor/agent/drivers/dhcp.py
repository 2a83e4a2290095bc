"""DHCP servers, whichever program does the work. Nothing above this knows which one runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import Protocol

from lessor.agent.drivers import Driver
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpServer
from lessor.errors import LessorError

HOOK = Path(__file__).parents[2] / "dhcpbridge" / "lessor-dhcpbridge"  # the one that we ship


# asks the store for the live leases of these networks, whoever gave them; None: it is away
KnownLeases = Callable[[Sequence[str]], Sequence[LiveLease] | None]


class ServerError(LessorError):
    """A DHCP server is not as wanted; the others are no concern of it.

    Attributes:
        key: its name.
    """

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


class Leases(Protocol):
    """What a driver asks of the lease book."""

    def catch_up(self) -> None:
        """Take all events that were reported until now."""

    def live(self, instance: str) -> Mapping[IPv4Address, LiveLease]:
        """Return a server's live leases, by address."""

    def table(self, instance: str) -> Path:
        """Return the file with the leases that a server starts with."""

    def prepare(self, instance: str) -> None:
        """Write that file, when no server runs."""

    def has_room(self) -> bool:
        """Tell whether further events can be kept."""

    def end(self, instance: str, leases: Iterable[LiveLease]) -> None:
        """End leases that no server holds any more."""

    def seed(self, instance: str, leases: Iterable[LiveLease]) -> None:
        """Take leases that another server gave."""

    def forget(self, instance: str) -> None:
        """Know nothing any more of a server that was removed."""


class DhcpDriver(Driver[DhcpServer], Protocol):
    """Runs DHCP servers, keeps their reservations and ends the leases of those that are gone."""

    def shares(self) -> bool:
        """Tell whether a server is one of several, which is to learn what the others gave."""

    def verify(self) -> None:
        """Compare with the disk, to the last byte, at the next `observe()`."""

    def pidfds(self) -> Mapping[str, int]:
        """Return what becomes readable when a server dies, by its name; open until the next call."""
