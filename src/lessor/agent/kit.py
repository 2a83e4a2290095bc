"""Makes the drivers of a host, its planner, and what lease events go through."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from pyroute2 import IPRoute

from lessor.agent.around import Surroundings
from lessor.agent.drivers import Driver
from lessor.agent.drivers.addresses import AddressDriver
from lessor.agent.drivers.bridges import BridgeDriver
from lessor.agent.drivers.dhcp import DhcpDriver, DhcpProgram, KnownLeases
from lessor.agent.drivers.dnsmasq.program import Dnsmasq
from lessor.agent.drivers.native.program import Native
from lessor.agent.drivers.rulesets import RulesetDriver
from lessor.agent.drivers.sysctls import SysctlDriver
from lessor.agent.drivers.taps import TapDriver
from lessor.agent.host.netlink import Devices
from lessor.agent.host.nft import Nft
from lessor.agent.host.run import run
from lessor.agent.kinds import Kind, kinds
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.served_blocks import ServedBlocks
from lessor.agent.leases.spool import Spool
from lessor.agent.overlay import Overlay
from lessor.agent.planner import HostPlanner
from lessor.agent.server.client import Client
from lessor.core.state import DhcpServer, MetadataListener
from lessor.net.address import Address
from lessor.settings import AgentSettings
from lessor.tls import trust

SYSCTLS = ("net.ipv4.ip_forward",)


class Server(Protocol):
    """What drivers and the planner ask of the server. May be called by any thread."""

    @property
    def addresses(self) -> Iterable[Address]:
        """Return the addresses at which servers have answered."""

    @property
    def known_leases(self) -> KnownLeases | None:
        """Return what gives the live leases of networks; None: it is not to be asked."""

    def reachable(self) -> bool:
        """Return whether a server answers now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """What lease events go through on this host."""

    program: DhcpProgram  # that reports them
    spool: Spool
    book: LeaseBook
    blocks: ServedBlocks  # the network of an address


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """The parts of an agent that touch the host, for the thread that made them."""

    leases: Leases
    kinds: list[Kind]
    dhcp: DhcpDriver
    overlay: Overlay | None  # None: `local_ip` is not set
    planner: HostPlanner
    nft: Nft | None

    def close(self) -> None:
        """Close connections; the objects on the host stay."""
        if self.overlay:
            self.overlay.close()
        if self.nft:
            self.nft.close()
        self.dhcp.close()


def folder(settings: AgentSettings) -> Path:
    """Return the folder of an agent's own state."""
    return settings.state_dir / "agent"


def connection(settings: AgentSettings) -> Client:
    """Return the client of the servers."""
    urls, token = settings.server_url, settings.token_file
    if not any(url.startswith("https:") for url in urls):
        return Client(urls, token)
    files = (settings.server_cafile, settings.server_certfile, settings.server_keyfile)
    return Client(urls, token, trust(*files, insecure=settings.server_insecure))


def dhcp_program(settings: AgentSettings) -> DhcpProgram:
    """Return the program that serves DHCP on this host."""
    own = folder(settings)
    if settings.dhcp_driver == "native":
        return Native(settings, own, Dnsmasq(settings, own / "spool").former)
    return Dnsmasq(settings, own / "spool", Native(settings, own).former)


def lease_parts(settings: AgentSettings) -> Leases:
    """Make what lease events go through."""
    own = folder(settings)
    program = dhcp_program(settings)
    spool = Spool(own / "spool", program.inbox)
    return Leases(
        program=program,
        spool=spool,
        book=LeaseBook(own / "leases", spool),
        blocks=ServedBlocks(own / "blocks.json"),
    )


def agent_kit(
    settings: AgentSettings,
    leases: Leases,
    server: Server,
    metadata: Driver[MetadataListener] | None,
    label: Callable[[DhcpServer], str] = attrgetter("name"),
) -> Kit:
    """Make all drivers, and the planner. To be called in the thread that will use them.

    Args:
        settings: of the agent.
        leases: where DHCP servers report to.
        server: the client of the server.
        metadata: serves metadata listeners in this process; None: there are none in it.
        label: names the networks of a DHCP server, for messages.
    """
    own = folder(settings)
    dhcp = leases.program.driver(leases.book, server.known_leases, label)
    nft = _nft()
    overlay = Overlay(settings, own) if settings.local_ip else None
    drivers: dict[str, Driver[Any]] = {
        **_flat_drivers(settings, own, server, nft),
        "dhcp_servers": dhcp,
        **({"metadata": metadata} if metadata else {}),
        **(overlay.drivers if overlay else {}),
    }
    return Kit(
        leases=leases,
        kinds=kinds(
            drivers, overlay.alive.obstacles if overlay else tuple, settings.integration_bridge
        ),
        dhcp=dhcp,
        overlay=overlay,
        planner=HostPlanner(settings, overlay, Surroundings(settings, lambda: server.addresses)),
        nft=nft,
    )


def _flat_drivers(
    settings: AgentSettings, own: Path, server: Server, nft: Nft | None
) -> dict[str, Driver[Any]]:
    """Return the drivers of what flat networks need, which overlay networks partly share."""
    ip, devices = IPRoute(), Devices()
    announced = settings.send_arp_for_ha_count if settings.send_arp_for_ha else 0
    rulesets = RulesetDriver(
        nft or run,
        own / "rulesets.json",
        top_regex=settings.iptables_top_regex,
        bottom_regex=settings.iptables_bottom_regex,
        generation=nft.generation if nft else str,
    )
    return {
        "sysctls": SysctlDriver(SYSCTLS),
        "bridges": BridgeDriver(
            ip, server.reachable, own / "bridges.json", settings.flat_mappings, devices=devices
        ),
        "rulesets": rulesets,
        "addresses": AddressDriver(ip, own / "addresses.json", announced, devices=devices),
        "taps": TapDriver(ip, devices=devices, guarded=rulesets.guards),
    }


def _nft() -> Nft | None:
    """Return nft as a library; None: there is only the program, which is slower."""
    try:
        return Nft()
    except OSError:
        return None
