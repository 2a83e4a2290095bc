"""From what an agent knows of the cloud to what its host should have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from itertools import chain

from lessor.core.firewall.gateway_iptables import iptables_gateway_ruleset
from lessor.core.firewall.gateway_nft import GatewayOptions, nft_gateway_ruleset
from lessor.core.firewall.guards import Others, guard_ruleset
from lessor.core.firewall.host_guard import host_rulesets
from lessor.core.firewall.no_forward import lans, no_forward
from lessor.core.plan.around import NOTHING, Around, Refusals
from lessor.core.plan.flat import FlatPlanner, Part
from lessor.core.plan.overlay import OverlayPart, OverlayPlanner
from lessor.core.plan.overlay_state import with_overlay
from lessor.core.plan.vlans import local_vlans
from lessor.core.state import (
    Address,
    Bridge,
    DhcpServer,
    Gateway,
    HostState,
    MetadataListener,
    Reservation,
    Ruleset,
    Sysctl,
    VmRange,
)
from lessor.core.vmport import PortSecurity
from lessor.model import METADATA_ADDRESS, Port, Problem, Scope, View
from lessor.settings import AgentSettings

VXLAN = "vxlan"
_GuardsFor = tuple[list[PortSecurity], list[Gateway], tuple[VmRange, ...]]
_GatewaysFor = tuple[list[Gateway], GatewayOptions]


@dataclass(frozen=True, slots=True)
class Desired:
    """What the host should have, and what of the view can't be had here, in words."""

    state: HostState
    parts: tuple[Part, ...] = ()
    overlay: tuple[OverlayPart, ...] = ()
    problems: tuple[Problem, ...] = ()


class Planner:
    """Turns views into host states. Work is kept for each network until one of its rows changes."""

    def __init__(
        self, settings: AgentSettings, vlans: Mapping[str, int] | None = None, datapath: str = ""
    ) -> None:
        """Prepare.

        Args:
            settings: of the agent.
            vlans: the local VLANs that networks have on this host, by network id.
            datapath: of OVS bridges here: "system" or "netdev".
        """
        self._settings = settings
        self._vlans = dict(vlans or {})
        self._datapath = datapath or settings.datapath_type or "netdev"
        self._refusals = Refusals(settings)
        self._flat = FlatPlanner(settings)
        self._overlay = OverlayPlanner(settings)
        self._overlay_parts: dict[str, tuple[Scope, int, frozenset[str], OverlayPart]] = {}
        self._mappings = {m.physical_network: m for m in settings.flat_mappings}
        self._parts: dict[str, tuple[Scope, frozenset[str], Part]] = {}
        self._guards: tuple[Ruleset, ...] = ()
        self._guards_for: _GuardsFor | None = None
        self._gateways: tuple[Ruleset, ...] = ()
        self._gateways_for: _GatewaysFor | None = None

    def desired(self, view: View, around: Around = NOTHING) -> Desired:
        """Return what this host should have for `view`.

        Args:
            view: rows that concern it.
            around: what the host has and reaches without us.
        """
        first = self._first_nics(view)
        problems = {key: self._problem(view.scopes[key]) for key in sorted(view.scopes)}
        known = {key: view.scopes[key] for key, problem in problems.items() if not problem}
        judged = {key: self._refusals.fit(key, scope, around) for key, scope in known.items()}
        fit = {key: scope for key, (scope, _) in judged.items()}
        tunnelled = {k: scope for k, scope in fit.items() if scope.network.network_type == VXLAN}
        self._vlans = local_vlans(self._vlans, tunnelled)
        parts = [self._part(k, scope, first) for k, scope in fit.items() if k not in tunnelled]
        overlay = [self._overlay_part(k, scope, first) for k, scope in tunnelled.items()]
        self._parts = {key: kept for key, kept in self._parts.items() if key in fit}
        self._overlay_parts = {k: kept for k, kept in self._overlay_parts.items() if k in fit}
        state = self._join(parts, vteps(view), around)
        if overlay:
            state = with_overlay(state, overlay, self._settings, self._datapath)
        apart = ((key, self._overlay.unreachable(scope)) for key, scope in tunnelled.items())
        said = tuple(
            Problem(text=text, networks=(key,)) for key, text in (*problems.items(), *apart) if text
        )
        refused = chain.from_iterable(found for _, found in judged.values())
        return Desired(state, tuple(parts), tuple(overlay), (*said, *refused))

    @property
    def _local_metadata(self) -> bool:
        host = self._settings.metadata_host
        return host is None or host.is_loopback

    def _problem(self, scope: Scope) -> str:
        network = scope.network
        name = f"network {network.name or network.id}"
        if network.network_type == VXLAN:
            return (
                ""
                if self._settings.local_ip
                else (f"{name} is of type vxlan, and this host has no tunnel address; set local_ip")
            )
        if network.network_type != "flat":
            return f"{name} is of type {network.network_type}, which this agent can't serve"
        if network.physical_network not in self._mappings:
            known = ", ".join(sorted(self._mappings)) or "none"
            return (
                f"{name} is on physical network {network.physical_network}, which has no bridge on "
                f"this host (it has: {known}); set flat_network_bridge or flat_mappings"
            )
        return ""

    def _part(self, key: str, scope: Scope, first: frozenset[str]) -> Part:
        known = self._parts.get(key)
        if known and known[0] is scope and known[1] == first:
            return known[2]
        mapping = self._mappings[scope.network.physical_network or ""]
        part = self._flat.part(scope, mapping, first, known[2] if known else None)
        self._parts[key] = (scope, first, part)
        return part

    def _overlay_part(self, key: str, scope: Scope, first: frozenset[str]) -> OverlayPart:
        vlan = self._vlans[key]
        known = self._overlay_parts.get(key)
        if known and known[0] is scope and known[1:3] == (vlan, first):
            return known[3]
        part = self._overlay.part(scope, vlan, first, known[3] if known else None)
        self._overlay_parts[key] = (scope, vlan, first, part)
        return part

    def _first_nics(self, view: View) -> frozenset[str]:
        """Return the ids of the ports that carry their VM's default route: its oldest port."""
        if not self._settings.use_single_default_gateway:
            return frozenset()
        oldest: dict[str, Port] = {}
        for port in chain.from_iterable(scope.ports.values() for scope in view.scopes.values()):
            known = oldest.get(port.device_id)
            if not known or (port.created_at, port.id) < (known.created_at, known.id):
                oldest[port.device_id or port.id] = port
        return frozenset(port.id for port in oldest.values())

    def _join(self, parts: list[Part], vteps: tuple[IPv4Address, ...], around: Around) -> HostState:
        gateways = [gateway for part in parts for gateway in part.gateways]
        addresses = [address for part in parts for address in part.addresses]
        if gateways and self._local_metadata:
            addresses.append(Address("lo", IPv4Interface((METADATA_ADDRESS, 32))))
        options = replace(
            self._options(parts),
            vteps=vteps,
            no_forward=no_forward(self._settings, around.connected),
            lans=lans(self._settings, around.connected),
        )
        return HostState(
            sysctls=_sysctls(bool(gateways)),
            bridges=_bridges(parts),
            rulesets={rules.name: rules for rules in self._rulesets(parts, gateways, options)},
            addresses={address.key: address for address in addresses},
            dhcp_servers={server.name: server for server in self._dhcp_servers(parts)},
            metadata=self._listeners(parts),
            taps={tap.name: tap for part in parts for tap in part.taps},
        )

    def _options(self, parts: list[Part]) -> GatewayOptions:
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
            bridges=tuple(sorted(_by_bridge(parts))),
            elsewhere=tuple(chain.from_iterable(map(_elsewhere, parts))),
            host_access_cidr=settings.host_access_cidr,
            joined_cidr=settings.joined_cidr,
            vxlan_udp_port=settings.vxlan_udp_port if settings.local_ip else 0,
        )

    def _rulesets(
        self, parts: list[Part], gateways: list[Gateway], options: GatewayOptions
    ) -> Iterator[Ruleset]:
        """Yield all rules; those of gateways stay the same when only a tap comes or goes."""
        guards = [guard for part in parts for guard in part.guards]
        ranges = tuple(chain.from_iterable(part.vm_ranges for part in parts))
        guards_for = (guards, gateways, ranges)
        if guards_for != self._guards_for:
            self._guards = tuple(self._guard_rules(*guards_for))
            self._guards_for = guards_for
        gateways_for = (gateways, options)
        if parts and gateways_for != self._gateways_for:
            self._gateways = (self._gateway_rules(*gateways_for),)
            self._gateways_for = gateways_for
        yield from self._guards
        if parts:
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

    def _dhcp_servers(self, parts: list[Part]) -> Iterator[DhcpServer]:
        for bridge, mine in _by_bridge(part for part in parts if part.ranges).items():
            yield DhcpServer(
                name=bridge,
                interface=bridge,
                ranges=tuple(range_ for part in mine for range_ in part.ranges),
                reservations=_joined([part.reserved.by_address for part in mine]),
                names=tuple(sorted(set(chain.from_iterable(part.names for part in mine)))),
                lease_time=self._settings.dhcp_lease_time,
                upstream_dns=tuple(
                    dict.fromkeys(dns for part in mine for dns in part.upstream_dns)
                ),
                forwarded=self._settings.forward_domains,
            )

    def _listeners(self, parts: list[Part]) -> dict[str, MetadataListener]:
        if not self._local_metadata:
            return {}
        port = self._settings.metadata_port
        return {
            bridge: MetadataListener(bridge, port, tuple(sorted(p.network.id for p in mine)))
            for bridge, mine in _by_bridge(part for part in parts if part.gateways).items()
        }


def vteps(view: View) -> tuple[IPv4Address, ...]:
    """Return the IPv4 VTEPs of all hosts that share an overlay network with this one."""
    ends = {end for scope in view.scopes.values() for end in scope.peers.values()}
    return tuple(sorted(end for end in ends if isinstance(end, IPv4Address)))


def _elsewhere(part: Part) -> Iterator[VmRange]:
    """Yield the subnets that this host is no gateway of."""
    served = {gateway.cidr for gateway in part.gateways}
    yield from (one for one in part.vm_ranges if one.cidr not in served)


def _by_bridge(parts: Iterable[Part]) -> dict[str, list[Part]]:
    found: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        found[part.bridge.name].append(part)
    return found


def _joined(reservations: list[dict[str, Reservation]]) -> dict[str, Reservation]:
    """Return those of all networks of a bridge; of one alone, the same object as long as it is."""
    if len(reservations) == 1:
        return reservations[0]
    return dict(chain.from_iterable(one.items() for one in reservations))


def _bridges(parts: list[Part]) -> dict[str, Bridge]:
    """Join the bridges of all parts; one on which any part is gateway has its checksums made."""
    return {
        name: Bridge(
            name,
            mine[0].bridge.interface,
            tx_checksum=all(part.bridge.tx_checksum for part in mine),
        )
        for name, mine in _by_bridge(parts).items()
    }


def _sysctls(gateway: bool) -> dict[str, Sysctl]:
    name = "net.ipv4.ip_forward"
    return {name: Sysctl(name, "1")} if gateway else {}
