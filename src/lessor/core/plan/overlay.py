"""What a host needs for one overlay network: Neutron's ML2/OVS with VXLAN, one network at a time.

A host takes part when a port is bound to it. VM ports and DHCP ports are ports alike; a DHCP port
of this host means a namespace, a DHCP server and a metadata listener here.

Source: semantics.md B5 to B8, B15 to B17, B20.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, ip_interface, ip_network
from itertools import chain

from lessor.core.openflow import bfd, int_flows, tun_flows
from lessor.core.openflow.facts import NetworkFacts, RemotePort
from lessor.core.plan.network import Inputs, NetworkPlan, OwnPort, PlanCache, title
from lessor.core.plan.reserve import Reserved, Reserver
from lessor.core.plan.rows import follow, row_changes
from lessor.core.state import (
    DhcpDevice,
    DhcpRange,
    DhcpServer,
    HostState,
    MetadataListener,
    Names,
    Namespace,
    OvsBridge,
    OvsPort,
    Reservation,
    Tap,
)
from lessor.core.vmport import (
    PortSecurity,
    allowed,
    hosts_of,
    is_vm,
    is_wired,
    tap_name,
    tap_of,
)
from lessor.model import METADATA_ADDRESS, Network, Port, Scope, Subnet
from lessor.net.address import Address, Block, place, place_of_block
from lessor.settings import AgentSettings

HTTP = 80
LONGEST_NAME = 15  # characters of an interface name (IFNAMSIZ)
Served = tuple[Subnet, Address]  # a subnet, and the address of this host's DHCP server on it


@dataclass(frozen=True, slots=True)
class _PortInputs:
    """What all that is made of one port depends on, besides its row and the tunnels."""

    network: Network
    served: tuple[Subnet, ...]  # by this host's DHCP server
    first_nics: frozenset[str]
    servers: tuple[Address, ...]  # whose DHCP answers VMs may get


def namespace_name(network_id: str) -> str:
    """Name a network's DHCP namespace as Neutron does."""
    return f"qdhcp-{network_id}"


def tunnel_name(remote: Address) -> str:
    """Name a tunnel after its far end: 192.0.2.7 is "vxlan-c0000207" (semantics.md B16).

    An IPv6 address doesn't fit into a name; of that it is a digest, as in Neutron: SHA-1 of the
    address as text, in base 32, cut to what 15 characters leave.
    """
    if isinstance(remote, IPv4Address):
        return f"vxlan-{int(remote):08x}"
    digest = hashlib.sha1(str(remote).encode(), usedforsecurity=False).digest()
    return f"vxlan-{base64.b32encode(digest).decode().lower()}"[:LONGEST_NAME]


class OverlayPlanner:
    """Plans overlay networks, for one agent.

    Args:
        settings: of the agent.
        datapath: of OVS bridges here: "system" or "netdev".
    """

    def __init__(self, settings: AgentSettings, datapath: str) -> None:
        self._settings = settings
        self._reserver = Reserver(settings)
        inner, outer = settings.integration_bridge, settings.tunnel_bridge
        self._bridges = {name: OvsBridge(name, datapath) for name in (inner, outer)}
        self._patches = {port.name: port for port in _patches(inner, outer)}

    def obstacle(self, network: Network) -> str:
        """Return why a network cannot be provided on this host; "": it can."""
        if self._settings.local_ip:
            return ""
        return (
            f"{title(network)} is of type {network.network_type}, and this host has no tunnel "
            "address; set local_ip"
        )

    def plan(self, scope: Scope, inputs: Inputs, before: NetworkPlan | None) -> NetworkPlan:
        """Return what this host needs for the network of `scope`."""
        cache = self._cache(scope, inputs, before.cache if before else PlanCache())
        mine = self._mine(cache.servers)
        problems = tuple(self._unreachable(scope))
        if mine is None and not cache.taps:
            # no tunnel leads here yet, so none may lead away: it would be missed
            return NetworkPlan(
                network=scope.network,
                state=HostState(ovs_bridges=self._bridges, ovs_ports=self._patches),
                facts=_facts(scope.network, inputs.vlan, PlanCache(), None),
                problems=problems,
            )
        facts = _facts(scope.network, inputs.vlan, cache, mine)
        state = self._state(scope, cache, mine, inputs.vlan)
        return NetworkPlan(
            network=scope.network,
            rows=scope.ports,
            state=state,
            reserved=cache.reserved if state.dhcp_servers else Reserved(),
            own_ports=tuple(OwnPort(mine.id, name) for name in state.dhcp_devices if mine),
            guards=facts.vms,
            facts=facts,
            problems=problems,
            cache=cache,
        )

    def _mine(self, servers: Mapping[str, Port]) -> Port | None:
        """Return the port of this host's DHCP server."""
        here = (port for port in servers.values() if port.binding_host == self._settings.host)
        return min(here, key=lambda port: port.id, default=None)

    # --- what depends on single ports

    def _cache(self, scope: Scope, inputs: Inputs, before: PlanCache) -> PlanCache:
        changes = far = row_changes(before.rows, scope.ports)
        servers = follow(before.servers, changes, lambda p: None if is_vm(p) else p)
        mine = self._mine(servers)
        made_with = _PortInputs(
            scope.network,
            tuple(subnet for subnet, _ in _served(scope, mine)),
            inputs.first_nics,
            tuple(
                sorted(
                    (ip.address for port in servers.values() for ip in port.fixed_ips), key=place
                )
            ),
        )
        tunnels = {host: tunnel_name(end) for host, end in self._remotes(scope).items()}
        if made_with != before.made_with:
            changes = row_changes(before.rows, scope.ports, anew=True)
        if tunnels != before.tunnels:
            far = row_changes(before.rows, scope.ports, anew=True)
        served = {subnet.id: subnet for subnet in made_with.served}
        return PlanCache(
            made_with=made_with,
            rows=scope.ports,
            servers=servers,
            taps=follow(before.taps, changes, lambda p: self._tap(p, scope.network)),
            guards=follow(before.guards, changes, lambda p: self._guard(p, made_with.servers)),
            reserved=before.reserved.after(changes, lambda p: self._reserve(p, made_with, served)),
            names=follow(before.names, changes, lambda p: self._names(p, scope.network, served)),
            remotes=follow(before.remotes, far, lambda p: _remote(p, tunnels)),
            tunnels=tunnels,
        )

    def _tap(self, port: Port, network: Network) -> Tap | None:
        if not is_wired(port, self._settings.host):
            return None
        return tap_of(port, network, "", self._settings.host)

    def _guard(self, port: Port, servers: tuple[Address, ...]) -> PortSecurity | None:
        if not is_wired(port, self._settings.host):
            return None
        macs, sources = allowed(port)
        return PortSecurity(
            tap=tap_name(port.id),
            bridge=self._settings.integration_bridge,
            mac=port.mac_address,
            macs=macs,
            sources=sources,
            dhcp_servers=servers,
        )

    def _reserve(
        self, port: Port, made_with: _PortInputs, served: Mapping[str, Subnet]
    ) -> Reservation | None:
        if not served or not is_vm(port):
            return None
        return self._reserver.reservation(port, made_with.network, served, made_with.first_nics)

    def _names(self, port: Port, network: Network, served: Mapping[str, Subnet]) -> Names | None:
        if not served or not is_vm(port):
            return None
        return self._reserver.further_names(port, network, served)

    # --- what the host has

    def _state(self, scope: Scope, cache: PlanCache, mine: Port | None, vlan: int) -> HostState:
        taps = {tap.name: tap for tap in cache.taps.values()}
        vifs = (
            self._ovs_port(tap.name, "vif", cache.rows[port_id], vlan)
            for port_id, tap in cache.taps.items()
        )
        ports = {port.name: port for port in chain(vifs, self._tunnels(scope))}
        if mine is None:
            return HostState(ovs_bridges=self._bridges, taps=taps, ovs_ports=self._patches | ports)
        served = _served(scope, mine)
        device = _device(scope.network, mine, served)
        outer, up = device.outer, scope.network.admin_state_up and bool(served)
        ports[outer] = self._ovs_port(outer, "dhcp", mine, vlan)
        server = self._server(scope, device, served, cache)
        listener = MetadataListener(device.name, HTTP, (scope.network.id,), device.namespace)
        return HostState(
            namespaces={device.namespace: Namespace(device.namespace)},
            ovs_bridges=self._bridges,
            dhcp_devices={device.name: device},
            dhcp_servers={server.name: server} if up else {},
            metadata={listener.interface: listener} if up else {},
            taps=taps,
            ovs_ports=self._patches | ports,
        )

    def _ovs_port(self, name: str, kind: str, port: Port, vlan: int) -> OvsPort:
        return OvsPort(
            name=name,
            bridge=self._settings.integration_bridge,
            kind=kind,
            port_id=port.id,
            mac=port.mac_address,
            network_id=port.network_id,
            vlan=vlan,
        )

    def _tunnels(self, scope: Scope) -> Iterator[OvsPort]:
        for remote in self._remotes(scope).values():
            yield OvsPort(
                name=tunnel_name(remote),
                bridge=self._settings.tunnel_bridge,
                kind="vxlan",
                options=(
                    ("df_default", "true"),
                    *self._udp_port(),
                    ("egress_pkt_mark", "0"),
                    ("in_key", "flow"),
                    ("local_ip", str(self._settings.local_ip)),
                    ("out_key", "flow"),
                    ("remote_ip", str(remote)),
                ),
                bfd=bfd.SETTINGS,
            )

    def _udp_port(self) -> Iterator[tuple[str, str]]:
        if self._settings.vxlan_udp_port != 4789:  # noqa: PLR2004 - VXLAN's own (RFC 7348)
            yield ("dst_port", str(self._settings.vxlan_udp_port))

    def _remotes(self, scope: Scope) -> dict[str, Address]:
        """Return the tunnel ends of the other hosts, by host name.

        A tunnel has both ends in one IP version: others cannot be reached (`_unreachable`).
        """
        own = self._settings.local_ip
        return {
            host: ip
            for host, ip in sorted(scope.peers.items())
            if own is not None and ip != own and ip.version == own.version
        }

    def _unreachable(self, scope: Scope) -> Iterator[str]:
        """Say which hosts of a network no tunnel leads to from here."""
        own = self._settings.local_ip
        others = [
            host
            for host, ip in sorted(scope.peers.items())
            if own is not None and ip.version != own.version
        ]
        if own is None or not others:
            return
        yield (
            f"{title(scope.network)}: no tunnel leads to {', '.join(others)}, whose local_ip is "
            f"not of IPv{own.version} as this host's {own}; give all hosts a local_ip of one IP "
            "version"
        )

    def _server(
        self, scope: Scope, device: DhcpDevice, served: list[Served], cache: PlanCache
    ) -> DhcpServer:
        servers = cache.servers
        return DhcpServer(
            name=scope.network.id,
            interface=device.name,
            ranges=tuple(self._range(scope, subnet, own, servers) for subnet, own in served),
            reservations=cache.reserved.by_address,
            names=tuple(sorted(set(chain.from_iterable(cache.names.values())))),
            lease_time=self._settings.dhcp_lease_time,
            upstream_dns=self._reserver.upstream(subnet for subnet, _ in served),
            forwarded=self._settings.forward_domains,
            namespace=device.namespace,
            peers=len(servers) > 1,
        )

    def _range(
        self, scope: Scope, subnet: Subnet, server: Address, servers: Mapping[str, Port]
    ) -> DhcpRange:
        return DhcpRange(
            subnet_id=subnet.id,
            network_id=scope.network.id,
            cidr=subnet.cidr,
            server=server,
            start=subnet.cidr.network_address,
            router=subnet.gateway_ip,
            mtu=scope.network.mtu,
            dns=() if self._settings.use_network_dns_servers else _dns(subnet, servers.values()),
            routes=tuple(_routes(scope, subnet, server)),
            domain=self._reserver.domain(scope.network),
        )


def _dns(subnet: Subnet, servers: Iterable[Port]) -> tuple[Address, ...]:
    """Return name servers as given; none given and several DHCP servers: all of them (B8)."""
    addresses = sorted(
        ip.address for port in servers for ip in port.fixed_ips if ip.subnet_id == subnet.id
    )
    return subnet.dns_nameservers or (tuple(addresses) if len(addresses) > 1 else ())


def _patches(inner: str, outer: str) -> tuple[OvsPort, OvsPort]:
    """Return the pair of ports that joins br-int and br-tun (B15.1)."""
    to_tun, to_int = int_flows.PATCH, tun_flows.PATCH
    return (
        OvsPort(to_tun, inner, "patch", options=(("peer", to_int),)),
        OvsPort(to_int, outer, "patch", options=(("peer", to_tun),)),
    )


def _device(network: Network, mine: Port, served: Iterable[Served]) -> DhcpDevice:
    addresses = [ip_interface((own, subnet.cidr.prefixlen)) for subnet, own in served]
    gateways = (subnet.gateway_ip for subnet, _ in served)
    return DhcpDevice(
        name=tap_name(mine.id)[:14],
        outer=outer_name(mine.id),
        namespace=namespace_name(network.id),
        mac=mine.mac_address,
        mtu=network.mtu,
        addresses=(*addresses, ip_interface(METADATA_ADDRESS)),
        gateway=next((gateway for gateway in gateways if gateway is not None), None),
    )


def _facts(network: Network, vlan: int, cache: PlanCache, mine: Port | None) -> NetworkFacts:
    tunnels = cache.tunnels
    dhcp_hosts = {port.binding_host for port in cache.servers.values()}
    return NetworkFacts(
        vni=network.segmentation_id or 0,
        vlan=vlan,
        vms=tuple(cache.guards[key] for key in sorted(cache.guards)),
        dhcp_here=outer_name(mine.id) if mine else "",
        dhcp_mac=mine.mac_address if mine else "",
        dhcp_tunnels=tuple(sorted(tunnels[host] for host in dhcp_hosts if host in tunnels)),
        tunnels=tuple(sorted(set(tunnels.values()))),
        remotes=tuple(cache.remotes[key] for key in sorted(cache.remotes)),
    )


def _remote(port: Port, tunnels: Mapping[str, str]) -> RemotePort | None:
    """Return a port on another host; None: no tunnel leads to it."""
    ways = tuple(tunnels[host] for host in hosts_of(port) if host in tunnels)
    if not ways:
        return None
    return RemotePort(port.mac_address, tuple(ip.address for ip in port.fixed_ips), ways)


def outer_name(port_id: str) -> str:
    """Name the host's end of a DHCP port's veth."""
    return f"o{tap_name(port_id)}"[:LONGEST_NAME]


def _routes(scope: Scope, subnet: Subnet, server: Address) -> Iterator[tuple[Block, Address]]:
    """Yield neighbour subnets as on-link, host routes, and the way to the metadata service (B8)."""
    for other in sorted(scope.subnets.values(), key=lambda one: place_of_block(one.cidr)):
        if other.id != subnet.id:
            yield other.cidr, IPv4Address(0)
    yield from ((route.destination, route.nexthop) for route in subnet.host_routes)
    yield ip_network(METADATA_ADDRESS), server


def _served(scope: Scope, mine: Port | None) -> list[Served]:
    """Return the subnets that this host's DHCP server serves, with its address on each."""
    own = mine.fixed_ips if mine else ()
    subnets = ((scope.subnets.get(ip.subnet_id), ip.address) for ip in own)
    return [(subnet, address) for subnet, address in subnets if subnet and subnet.enable_dhcp]
