"""The drivers of one host, in the order in which kinds are created."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from lessor.agent.drivers import Driver
from lessor.agent.drivers.addresses import AddressDriver
from lessor.agent.drivers.bridges import BridgeDriver
from lessor.agent.drivers.dhcp import DhcpDriver, KnownLeases
from lessor.agent.drivers.dnsmasq.driver import DnsmasqDriver
from lessor.agent.drivers.dnsmasq.hook import Hook
from lessor.agent.drivers.rulesets import RulesetDriver
from lessor.agent.drivers.sysctls import SysctlDriver
from lessor.agent.drivers.taps import TapDriver
from lessor.agent.host.netlink import Devices
from lessor.agent.host.nft import Nft
from lessor.agent.host.run import run
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.overlay import OVS_KINDS, Overlay
from lessor.agent.reconcile import Kind
from lessor.core.state import DhcpServer, HostState, MetadataListener
from lessor.settings import AgentSettings

SYSCTLS = ("net.ipv4.ip_forward",)


@dataclass(frozen=True, slots=True)
class Drivers:
    """All drivers of a host, and those that are also asked for other things."""

    kinds: list[Kind]
    dhcp: DhcpDriver
    rulesets: RulesetDriver
    bridges: BridgeDriver
    nft: Nft | None = None
    overlay: Overlay | None = None

    def verify(self) -> None:
        """Have what is believed of files, processes, rules and flows compared at the next look."""
        self.dhcp.verify()
        self.rulesets.verify()
        if self.overlay:
            self.overlay.verify()
        self.bridges.verify()

    def close(self) -> None:
        """Give up connections; what was made goes on."""
        if self.overlay:
            self.overlay.close()
        if self.nft:
            self.nft.close()
        self.dhcp.close()


def make(
    settings: AgentSettings,
    folder: Path,
    *,
    hook: Hook,
    book: LeaseBook,
    metadata: Driver[MetadataListener],
    reachable: Callable[[], bool],
    known_leases: KnownLeases | None = None,
    label: Callable[[DhcpServer], str] = attrgetter("name"),
) -> Drivers:
    """Make the drivers. To be called in the thread that will use them.

    Args:
        settings: of the agent.
        folder: the agent's own, for its drivers' records.
        hook: what dnsmasq calls, and as whom.
        book: of leases.
        metadata: serves metadata listeners.
        reachable: tells whether the server answers.
        known_leases: asks the server for the live leases of networks.
        label: names the networks of a DHCP server, for messages.
    """
    ip = IPRoute()
    announced = settings.send_arp_for_ha_count if settings.send_arp_for_ha else 0
    dhcp = DnsmasqDriver(
        run=run,
        root=settings.networks_path,
        leases=book,
        hook=hook,
        release=settings.force_dhcp_release,
        known=known_leases,
        label=label,
        config_file=settings.dnsmasq_config_file,
    )
    nft = _nft()
    rulesets = RulesetDriver(
        nft or run,
        folder / "rulesets.json",
        top_regex=settings.iptables_top_regex,
        bottom_regex=settings.iptables_bottom_regex,
        generation=nft.generation if nft else str,
    )
    devices = Devices()
    bridges = BridgeDriver(
        ip, reachable, folder / "bridges.json", settings.flat_mappings, devices=devices
    )
    overlay = Overlay(settings, folder) if settings.local_ip else None
    drivers: dict[str, Driver[Any]] = {
        "sysctls": SysctlDriver(SYSCTLS),
        "bridges": bridges,
        "rulesets": rulesets,
        "addresses": AddressDriver(ip, folder / "addresses.json", announced, devices=devices),
        "dhcp_servers": dhcp,
        "metadata": metadata,
        "taps": TapDriver(ip, devices=devices, guarded=rulesets.guards),
        **(overlay.drivers if overlay else {}),
    }
    order = [one.name for one in fields(HostState) if one.name in drivers]
    kinds = [_kind(name, drivers[name], settings, overlay) for name in order]
    return Drivers(kinds, dhcp, rulesets, bridges, nft, overlay)


def _kind(name: str, driver: Driver[Any], settings: AgentSettings, overlay: Overlay | None) -> Kind:
    if overlay and name in OVS_KINDS:
        place = settings.integration_bridge
        return Kind(name, driver, obstacles=overlay.alive.obstacles, place=place)
    return Kind(name, driver, deletes=name != "sysctls")


def _nft() -> Nft | None:
    """Return nft as a library; None where only the program is: that is slower, and does."""
    try:
        return Nft()
    except OSError:
        return None
