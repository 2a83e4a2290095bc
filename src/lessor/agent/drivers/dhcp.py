"""DHCP servers, whichever program does the work. Nothing above this knows which one runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol

from lessor.agent.drivers import Driver
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpServer
from lessor.errors import LessorError

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


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that happened to a DHCP server, for the log.

    `event` is a fixed phrase; `label` names the server's networks.
    """

    event: str
    server: str
    label: str
    fields: Mapping[str, object]


class Leases(Protocol):
    """What a driver asks of the lease book. A server has a name, and leases by address."""

    def catch_up(self) -> None:
        """Apply all events that were reported until now."""

    def live(self, server: str) -> Mapping[IPv4Address, LiveLease]:
        """Return a server's live leases: the same object until one changes."""

    def overran(self) -> bool:
        """Tell whether events were lost since the last call."""

    def has_room(self) -> bool:
        """Tell whether further events can be stored."""

    def end(self, server: str, leases: Iterable[LiveLease]) -> None:
        """End leases that the server no longer holds."""

    def end_expired(self, server: str) -> None:
        """End what expired while no server ran."""

    def seed(self, server: str, leases: Iterable[LiveLease]) -> None:
        """Take leases of another server, before this one starts."""

    def forget(self, server: str) -> None:
        """Forget a server that was removed."""


class DhcpDriver(Driver[DhcpServer], Protocol):
    """Runs DHCP servers, keeps their reservations and ends the leases of those that are gone."""

    def shares(self) -> bool:
        """Tell whether a server is one of several, which is to learn what the others gave."""

    def write_names(self) -> bool:
        """Have DNS know the names of reservations that are new since the last call.

        Returns:
            whether there is something to observe: a name that can't be made known, or can again.
        """

    def verify(self) -> None:
        """Compare with the disk, to the last byte, at the next `observe()`."""

    def pidfds(self) -> Mapping[int, str]:
        """Return what becomes readable when a process of a server ends, with the server's name.

        The descriptors are open until the next call.
        """

    async def probe(self, changed: Callable[[], None]) -> None:
        """Ask all servers, again and again, whether they answer; until cancelled.

        Requests make no lease. What doesn't answer, or for other reservations than it should, is
        started again at the next `observe()` and `apply()`.

        Args:
            changed: called when there is something to observe.
        """

    def report(self, tell: Callable[[Incident], None], label: Callable[[DhcpServer], str]) -> None:
        """Have incidents told from now on.

        Args:
            tell: takes them, in any thread.
            label: names a server's networks for messages.
        """

    def close(self) -> None:
        """Give up what it watches; the servers go on."""
