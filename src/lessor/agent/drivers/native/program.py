"""lessor-dhcpd and lessor-dnsd as the DHCP program of a host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from lessor.agent.drivers.dhcp import DhcpDriver, Former, Incident, KnownLeases, Leases
from lessor.agent.drivers.native.driver import NativeDriver
from lessor.agent.drivers.native.former import FormerNative
from lessor.agent.drivers.native.heads import Heads
from lessor.agent.drivers.native.resolver import Resolver
from lessor.agent.drivers.native.responder import Responder
from lessor.agent.drivers.native.status import status
from lessor.agent.leases.inbox import Apart, Inbox, link, writer
from lessor.core.diagnosis.dhcp import DhcpStatus
from lessor.core.dns.resolvers import read_resolvers
from lessor.core.state import DhcpServer
from lessor.daemon.home import Home
from lessor.dhcpd.client import Dhcpd
from lessor.settings import AgentSettings
from lessor.signal import Signal

RESOLV_CONF = Path("/etc/resolv.conf")


class Native:
    """Makes the driver of lessor-dhcpd and lessor-dnsd, and the inbox that events are added to.

    Args:
        settings: of the agent.
        own: the agent's own folder.
        former: makes what ends servers of another program, given the lease book; None: it has none.
    """

    def __init__(
        self,
        settings: AgentSettings,
        own: Path,
        former: Callable[[Leases], Former | None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._own = own
        self._former = former

    @cached_property
    def inbox(self) -> Inbox:
        """Where lessor-dhcpd adds events: the same as for any other program."""
        return inbox_of(self._settings, self._own)

    def driver(
        self,
        leases: Leases,
        known: KnownLeases | None,  # noqa: ARG002 - a reservation counts, whoever gave the lease
        label: Callable[[DhcpServer], str],  # noqa: ARG002 - one process serves all networks
    ) -> DhcpDriver:
        """Make the driver."""
        incidents: Signal[[Incident]] = Signal()
        responder, resolver = self._parts(leases, incidents)
        return NativeDriver(responder, resolver, incidents, self._former(leases))

    def former(self, leases: Leases) -> FormerNative | None:
        """Return what ends our servers, where another program serves; None: none runs."""
        if not Home(self._settings.state_dir / "dhcpd").holder():
            return None
        return FormerNative(*self._parts(leases, Signal()))

    def status(self, server: DhcpServer) -> DhcpStatus:
        """Read the status of a server from the process."""
        return status(self._process(), self._settings.state_dir / "dhcpd", server)

    def _parts(self, leases: Leases, incidents: Signal[[Incident]]) -> tuple[Responder, Resolver]:
        settings = self._settings
        responder = Responder(
            self._process(),
            version("lessor"),
            Heads(self._own / "dhcp"),
            leases,
            release=settings.force_dhcp_release,
            tell=incidents.emit,
        )
        home = Home(settings.state_dir / "dnsd")
        return responder, Resolver(home, version("lessor"), _host_resolvers, incidents.emit)

    def _process(self) -> Dhcpd:
        folder = self._settings.state_dir / "dhcpd"
        return Dhcpd(folder, self.inbox.folder, version("lessor"))


def inbox_of(settings: AgentSettings, own: Path) -> Inbox:
    """Return the inbox of a host, made; in the spool if it can't be beside it."""
    inbox = Inbox(settings.state_dir / "hook", writer().pw_gid)
    try:
        inbox.make()
        link(inbox, own / "spool")
    except Apart:
        inbox = Inbox(own / "spool", writer().pw_gid)
        inbox.make()
    return inbox


def _host_resolvers() -> Sequence[str]:
    with suppress(OSError):
        return read_resolvers(RESOLV_CONF.read_text())
    return ()
