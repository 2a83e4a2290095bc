"""From the plans of all networks to what the host should have.

Most things are one network's own, and the states of the plans are united. What networks of a host
have in common is joined here, in a function each: a bridge, its DHCP server and its metadata
listener, what the host does as a gateway, the firewall's rules, the flows of br-int and br-tun.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_interface
from itertools import chain
from typing import TypeVar

from lessor.core.around import Around
from lessor.core.firewall.gateway_iptables import iptables_gateway_ruleset
from lessor.core.firewall.gateway_nft import GatewayOptions, nft_gateway_ruleset
from lessor.core.firewall.host_guard import host_rulesets
from lessor.core.firewall.no_forward import lans, no_forward
from lessor.core.firewall.tap_guard import Others, guard_ruleset
from lessor.core.openflow import int_flows, tun_flows
from lessor.core.openflow.facts import NetworkFacts
from lessor.core.plan.network import NetworkPlan
from lessor.core.state import (
    Bridge,
    DeviceAddress,
    DhcpServer,
    Flows,
    Gateway,
    HostState,
    MetadataListener,
    Reservation,
    Ruleset,
    Sysctl,
    VmRange,
)
from lessor.core.vmport import PortSecurity
from lessor.model import METADATA_ADDRESS
from lessor.net.address import Address
from lessor.settings import AgentSettings

V = TypeVar("V")
_GuardInputs = tuple[list[PortSecurity], list[Gateway], tuple[VmRange, ...]]
_GatewayInputs = tuple[list[Gateway], GatewayOptions]


class Join:
    """Joins plans, for one agent. Rules and flows are kept while what they are made of is equal."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._guards: tuple[Ruleset, ...] = ()
        self._guards_from: _GuardInputs | None = None
        self._gateways: tuple[Ruleset, ...] = ()
        self._gateways_from: _GatewayInputs | None = None
        self._flows: dict[str, Flows] = {}
        self._flows_from: list[NetworkFacts] = []

    def state(
        self, plans: Sequence[NetworkPlan], vteps: tuple[Address, ...], around: Around
    ) -> HostState:
        """Return what the host should have.

        Args:
            plans: of all its networks.
            vteps: IPv4 tunnel ends of the hosts that share an overlay network with this one.
            around: what the host has and reaches without us.
        """
        state = united([plan.state for plan in plans])
        gateways = [gateway for plan in plans for gateway in plan.gateways]
        rules = self._rulesets(plans, state, gateways, self._options(plans, state, vteps, around))
        return replace(
            state,
            sysctls=_sysctls(forwards=bool(gateways)),
            rulesets={ruleset.name: ruleset for ruleset in rules},
            addresses=state.addresses | _metadata_address(state.metadata.values()),
            flows=self._all_flows([plan.facts for plan in plans if plan.facts]),
        )

    # --- rules

    def _options(
        self,
        plans: Sequence[NetworkPlan],
        state: HostState,
        vteps: tuple[Address, ...],
        around: Around,
    ) -> GatewayOptions:
        settings = self._settings
        return GatewayOptions(
            public_interface=settings.public_interface,
            routing_source_ip=settings.routing_source_ip or settings.my_ip,
            dmz_cidr=settings.dmz_cidr,
            force_snat_range=settings.force_snat_range,
            forward_bridge_interface=settings.forward_bridge_interface,
            metadata_host=settings.metadata_host,
            metadata_port=settings.metadata_port,
            iptables_drop_action=settings.iptables_drop_action,
            bridges=tuple(sorted(state.bridges)),
            elsewhere=tuple(chain.from_iterable(map(_elsewhere, plans))),
            host_access_cidr=settings.host_access_cidr,
            no_forward=no_forward(settings, around.connected),
            joined_cidr=settings.joined_cidr,
            lans=lans(settings, around.connected),
            vteps=vteps,
            vxlan_udp_port=settings.vxlan_udp_port if settings.local_ip else 0,
        )

    def _rulesets(
        self,
        plans: Sequence[NetworkPlan],
        state: HostState,
        gateways: list[Gateway],
        options: GatewayOptions,
    ) -> Iterator[Ruleset]:
        """Yield all rules; those of gateways stay the same when only a tap comes or goes."""
        guards = [one for plan in plans for one in plan.guards if one.bridge in state.bridges]
        ranges = tuple(chain.from_iterable(plan.vm_ranges for plan in plans))
        guards_from = (guards, gateways, ranges)
        if guards_from != self._guards_from:
            self._guards = tuple(self._guard_rules(*guards_from))
            self._guards_from = guards_from
        yield from self._guards
        if not state.bridges:
            return
        gateways_from = (gateways, options)
        if gateways_from != self._gateways_from:
            self._gateways = (self._gateway_rules(*gateways_from),)
            self._gateways_from = gateways_from
        yield from self._gateways

    def _guard_rules(
        self, guards: list[PortSecurity], gateways: list[Gateway], ranges: tuple[VmRange, ...]
    ) -> Iterator[Ruleset]:
        """Yield what protects the bridges of flat networks, also before and after there are any.

        What a hypervisor plugs into one that no network is on is no port of ours.
        """
        settings = self._settings
        if not settings.flat_mappings:
            return
        wires = {m.interface for m in settings.flat_mappings if m.interface}
        wires.update(settings.flat_bridge_ports)
        others = Others(
            lifted=settings.force_snat_range,
            wires=wires,
            ranges=ranges,
            joined=settings.joined_cidr,
            base_mac=settings.base_mac,
        )
        yield guard_ruleset(guards, gateways, others)
        yield from host_rulesets([mapping.bridge for mapping in settings.flat_mappings])

    def _gateway_rules(self, gateways: list[Gateway], options: GatewayOptions) -> Ruleset:
        if self._settings.gateway_firewall == "iptables":
            return iptables_gateway_ruleset(gateways, options)
        return nft_gateway_ruleset(gateways, options)

    # --- flows

    def _all_flows(self, facts: list[NetworkFacts]) -> dict[str, Flows]:
        """Return the flows of br-int and br-tun; none of a host without overlay networks."""
        if facts != self._flows_from:
            inner, outer = self._settings.integration_bridge, self._settings.tunnel_bridge
            made = {inner: int_flows.int_flows(facts), outer: tun_flows.tun_flows(facts)}
            self._flows = {name: Flows(name, lines) for name, lines in made.items() if facts}
            self._flows_from = facts
        return self._flows


def united(states: Iterable[HostState]) -> HostState:
    """Return what is in any of the states; what several have of one name is joined.

    Rules, flows and kernel settings are left out: no network has them for itself.
    """
    known = tuple(states)
    return HostState(
        bridges=_joined([state.bridges for state in known], joined_bridge),
        namespaces=_all([state.namespaces for state in known]),
        ovs_bridges=_all([state.ovs_bridges for state in known]),
        dhcp_devices=_all([state.dhcp_devices for state in known]),
        addresses=_all([state.addresses for state in known]),
        dhcp_servers=_joined([state.dhcp_servers for state in known], joined_server),
        metadata=_joined([state.metadata for state in known], joined_listener),
        taps=_all([state.taps for state in known]),
        ovs_ports=_all([state.ovs_ports for state in known]),
    )


def _all(parts: Iterable[dict[str, V]]) -> dict[str, V]:
    """Return what is in any of them; what several have is the same in each."""
    found: dict[str, V] = {}
    for part in parts:
        found |= part
    return found


def _joined(parts: Iterable[dict[str, V]], join: Callable[[Sequence[V]], V]) -> dict[str, V]:
    """Return what is in any of them; of one alone, the same object."""
    found: dict[str, list[V]] = defaultdict(list)
    for part in parts:
        for key, value in part.items():
            found[key].append(value)
    return {key: join(some) if len(some) > 1 else some[0] for key, some in found.items()}


def joined_bridge(bridges: Sequence[Bridge]) -> Bridge:
    """Return a bridge of several networks; where one is gateway, checksums are made for all."""
    return replace(bridges[0], tx_checksum=all(bridge.tx_checksum for bridge in bridges))


def joined_server(servers: Sequence[DhcpServer]) -> DhcpServer:
    """Return the one DHCP server of several networks on a bridge."""
    reservations: dict[str, Reservation] = {}
    for server in servers:
        reservations |= server.reservations
    return replace(
        servers[0],
        ranges=tuple(chain.from_iterable(server.ranges for server in servers)),
        reservations=reservations,
        names=tuple(sorted(set(chain.from_iterable(server.names for server in servers)))),
        upstream_dns=tuple(dict.fromkeys(dns for one in servers for dns in one.upstream_dns)),
    )


def joined_listener(listeners: Sequence[MetadataListener]) -> MetadataListener:
    """Return the one metadata listener of several networks on a bridge."""
    networks = chain.from_iterable(listener.networks for listener in listeners)
    return replace(listeners[0], networks=tuple(sorted(networks)))


def _metadata_address(listeners: Iterable[MetadataListener]) -> dict[str, DeviceAddress]:
    """Return the address that listeners outside of namespaces answer at, on lo, by its key."""
    if all(listener.namespace for listener in listeners):
        return {}
    address = DeviceAddress("lo", ip_interface(METADATA_ADDRESS))
    return {address.key: address}


def _sysctls(*, forwards: bool) -> dict[str, Sysctl]:
    name = "net.ipv4.ip_forward"
    return {name: Sysctl(name, "1")} if forwards else {}


def _elsewhere(plan: NetworkPlan) -> Iterator[VmRange]:
    """Yield the subnets that this host is no gateway of."""
    served = {gateway.cidr for gateway in plan.gateways}
    yield from (one for one in plan.vm_ranges if one.cidr not in served)
