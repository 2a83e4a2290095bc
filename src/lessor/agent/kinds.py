"""The drivers of one host, in the order in which kinds are created."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyroute2 import IPRoute

from lessor.agent.drivers import Driver
from lessor.agent.drivers.addresses import AddressDriver
from lessor.agent.drivers.bridges import BridgeDriver
from lessor.agent.drivers.dhcp import HOOK, DhcpDriver
from lessor.agent.drivers.dnsmasq import DnsmasqDriver
from lessor.agent.drivers.rulesets import RulesetDriver
from lessor.agent.drivers.sysctls import SysctlDriver
from lessor.agent.drivers.taps import TapDriver
from lessor.agent.leasebook import LeaseBook
from lessor.agent.reconcile import Kind
from lessor.agent.run import run
from lessor.agent.spool import Spool
from lessor.core.state import MetadataListener
from lessor.settings import AgentSettings

SYSCTLS = ("net.ipv4.ip_forward",)


@dataclass(frozen=True, slots=True)
class Drivers:
    """All drivers of a host, and the one that is also asked for other things."""

    kinds: list[Kind]
    dhcp: DhcpDriver


def make(
    settings: AgentSettings,
    folder: Path,
    *,
    spool: Spool,
    book: LeaseBook,
    metadata: Driver[MetadataListener],
    reachable: Callable[[], bool],
) -> Drivers:
    """Make the drivers. To be called in the thread that will use them.

    Args:
        settings: of the agent.
        folder: the agent's own, for its drivers' records.
        spool: of lease events.
        book: of leases.
        metadata: serves metadata listeners.
        reachable: tells whether the server answers.
    """
    ip = IPRoute()
    announced = settings.send_arp_for_ha_count if settings.send_arp_for_ha else 0
    dhcp = DnsmasqDriver(
        run=run,
        root=settings.networks_path,
        spool=spool,
        leases=book,
        hook=Path(settings.dhcpbridge) if settings.dhcpbridge else HOOK,
        release=settings.force_dhcp_release,
    )
    rulesets = RulesetDriver(
        run,
        folder / "rulesets.json",
        top_regex=settings.iptables_top_regex,
        bottom_regex=settings.iptables_bottom_regex,
    )
    bridges = BridgeDriver(ip, reachable, folder / "bridges.json", settings.flat_mappings)
    kinds = [
        Kind("sysctls", SysctlDriver(SYSCTLS), deletes=False),
        Kind("bridges", bridges),
        Kind("rulesets", rulesets),
        Kind("addresses", AddressDriver(ip, folder / "addresses.json", announced)),
        Kind("dhcp_servers", dhcp),
        Kind("metadata", metadata),
        Kind("taps", TapDriver(ip)),
    ]
    return Drivers(kinds, dhcp)
