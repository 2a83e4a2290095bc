"""The seam to the DHCP servers of a host: no module above it knows which program serves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from lessor.agent.drivers import Driver
from lessor.agent.leases.inbox import Inbox
from lessor.core.diagnosis.dhcp import DhcpStatus
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpServer
from lessor.errors import LessorError
from lessor.net.address import Address
from lessor.signal import Signal

# returns the live leases of all servers of these networks; None: the store is unreachable
KnownLeases = Callable[[Sequence[str]], Sequence[LiveLease] | None]


class ServerError(LessorError):
    """One DHCP server is not in sync; the others are not concerned.

    Attributes:
        key: its name.
    """

    def __init__(self, message: str, *, key: str) -> None:
        super().__init__(message)
        self.key = key


@dataclass(frozen=True, slots=True)
class Incident:
    """What happened to a DHCP server, for the log."""

    event: str  # a fixed phrase
    server: str  # its name
    label: str  # its networks
    fields: Mapping[str, object]


class Leases(Protocol):
    """What a driver asks of the lease book. A server has a name, and leases by address."""

    def catch_up(self) -> None:
        """Apply all events that were reported until now."""

    def live(self, server: str) -> Mapping[Address, LiveLease]:
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


class Former(Protocol):
    """Servers that another program left on this host. Each is retired once it has a successor."""

    @property
    def program(self) -> str:
        """The name of the program."""

    def servers(self) -> Mapping[str, DhcpServer]:
        """Return those that are left, by name."""

    def retire(self, name: str) -> None:
        """End one; its leases stay in the lease book. Nothing happens if there is none.

        Raises:
            LessorError, OSError: it can't be ended.
        """

    def close(self) -> None:
        """Let go of the program."""


class DhcpProgram(Protocol):
    """A program that serves DHCP: what a host needs of it before and beside its servers."""

    @property
    def inbox(self) -> Inbox:
        """The file that its servers add lease events to."""

    def driver(
        self, leases: Leases, known: KnownLeases | None, label: Callable[[DhcpServer], str]
    ) -> DhcpDriver:
        """Make the driver of its servers.

        Args:
            leases: the lease book of the inbox.
            known: returns the leases of other servers; None: there are none.
            label: names a server's networks, for messages.
        """

    def status(self, server: DhcpServer) -> DhcpStatus:
        """Read the status of a server from the host; no driver is needed. For any thread."""


class DhcpDriver(Driver[DhcpServer], Protocol):
    """Runs DHCP servers, loads their reservations and ends the leases of those that are gone.

    Attributes:
        changed: there is something to observe: a server died, does not answer, answers again,
            or other servers may have given leases. Emitted in the event loop.
        incidents: what happened to a server, for the log. Emitted in any thread.
    """

    changed: Signal[[]]
    incidents: Signal[[Incident]]

    def problems(self) -> Sequence[str]:
        """Return what is wrong with all servers of this host, and what would help."""

    def verify(self) -> None:
        """Compare what is believed with what runs, to the last byte, at the next `observe()`."""

    async def run(self, thread: Executor) -> None:
        """Watch the servers, until cancelled.

        Each is asked again and again whether it answers, by requests that make no lease. One that
        doesn't, or not for the reservations that it should, is started again at the next
        `observe()` and `apply()`.

        Args:
            thread: the one that calls `observe` and `apply`.
        """

    def close(self) -> None:
        """Stop watching; the servers go on."""
