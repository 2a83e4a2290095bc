"""dnsmasq as the DHCP program of a host."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from operator import attrgetter
from pathlib import Path

from lessor.agent.drivers.dhcp import DhcpDriver, Former, KnownLeases, Leases
from lessor.agent.drivers.dnsmasq.driver import DnsmasqDriver
from lessor.agent.drivers.dnsmasq.former import FormerDnsmasqs
from lessor.agent.drivers.dnsmasq.hook import Hook, hook
from lessor.agent.drivers.dnsmasq.status import status
from lessor.agent.drivers.succession import Succession
from lessor.agent.host.run import run
from lessor.agent.leases.inbox import Inbox
from lessor.core.diagnosis.dhcp import DhcpStatus
from lessor.core.state import DhcpServer
from lessor.settings import AgentSettings


class Dnsmasq:
    """Makes the driver of dnsmasq, its hook and the inbox that the hook writes to.

    Args:
        settings: of the agent.
        spool: the folder that takes events from the inbox.
        former: makes what ends servers of another program, given the lease book; None: it has none.
    """

    def __init__(
        self,
        settings: AgentSettings,
        spool: Path,
        former: Callable[[Leases], Former | None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._former = former

    @property
    def inbox(self) -> Inbox:
        """Where the hook adds events."""
        return self.hook.inbox

    @cached_property
    def hook(self) -> Hook:
        """The hook, tried as its user.

        Its folder is not below the agent's own, which other users may not enter.
        """
        settings = self._settings
        return hook(settings.state_dir / "hook", self._spool, settings.dhcpbridge)

    def driver(
        self, leases: Leases, known: KnownLeases | None, label: Callable[[DhcpServer], str]
    ) -> DhcpDriver:
        """Make the driver."""
        driver = self._driver(leases, known, label)
        former = self._former(leases)
        return Succession(driver, former) if former is not None else driver

    def former(self, leases: Leases) -> FormerDnsmasqs | None:
        """Return what ends our servers, where another program serves; None: none is left."""
        driver = self._driver(leases, None, attrgetter("name"))
        if driver.servers():
            return FormerDnsmasqs(driver)
        driver.close()
        return None

    def _driver(
        self, leases: Leases, known: KnownLeases | None, label: Callable[[DhcpServer], str]
    ) -> DnsmasqDriver:
        settings = self._settings
        return DnsmasqDriver(
            run=run,
            root=settings.networks_path,
            leases=leases,
            hook=self.hook,
            release=settings.force_dhcp_release,
            known=known,
            label=label,
            config_file=settings.dnsmasq_config_file,
        )

    def status(self, server: DhcpServer) -> DhcpStatus:
        """Read the status of a server from the host."""
        return status(self._settings.networks_path, server)
