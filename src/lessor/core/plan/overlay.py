"""What a host needs for one overlay network: Neutron's ML2/OVS with VXLAN, one network at a time.

A host takes part when a port is bound to it. VM ports and DHCP ports are ports alike; a DHCP port
of this host means a namespace, a DHCP server and a metadata listener here.

Source: semantics.md B5 to B8, B15 to B17, B20.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from lessor.core.diagnosis.tunnels import BFD
from lessor.core.openflow.facts import NetworkFacts, RemotePort
from lessor.core.plan.reserve import Reserved, Reserver
from lessor.core.plan.rows import row_changes
from lessor.core.state import (
    DhcpDevice,
    DhcpRange,
    DhcpServer,
    MetadataListener,
    Namespace,
    OvsPort,
    Reservation,
    Tap,
)
from lessor.core.vmport import PortSecurity, allowed, hosts_of, is_vm, tap_name, tap_of
from lessor.model import METADATA_ADDRESS, Network, Port, Scope, Subnet, TunnelEnd
from lessor.settings import AgentSettings

HTTP = 80
LONGEST_NAME = 15  # characters of an interface name (IFNAMSIZ)


@dataclass(frozen=True, slots=True)
class Ground:
    """What the reservations of a network depend on, besides the rows of its ports."""

    network: Network
    served: tuple[Subnet, ...]
    first_nics: frozenset[str]


@dataclass(frozen=True, slots=True)
class OverlayPart:
    """What one network asks of this host."""

    network_id: str
    name: str
    facts: NetworkFacts
    taps: tuple[Tap, ...] = ()
    ports: tuple[OvsPort, ...] = ()
    tunnels: tuple[OvsPort, ...] = ()
    namespace: Namespace | None = None
    device: DhcpDevice | None = None
    server: DhcpServer | None = None
    listener: MetadataListener | None = None
    own_ports: tuple[tuple[str, str], ...] = ()  # DHCP ports here: port id, device
    rows: dict[str, Port] = field(default_factory=dict)
    reserved: Reserved = field(default_factory=Reserved)
    ground: Ground | None = None


def namespace_name(network_id: str) -> str:
    """Name a network's DHCP namespace as Neutron does."""
    return f"qdhcp-{network_id}"


def tunnel_name(remote: TunnelEnd) -> str:
    """Name a tunnel after its far end: 192.0.2.7 is "vxlan-c0000207" (semantics.md B16).

    An IPv6 address doesn't fit into a name; of that it is a digest, as in Neutron: SHA-1 of the
    address as text, in base 32, cut to what 15 characters leave.
    """
    if isinstance(remote, IPv4Address):
        return f"vxlan-{int(remote):08x}"
    digest = hashlib.sha1(str(remote).encode(), usedforsecurity=False).digest()
    return f"vxlan-{base64.b32encode(digest).decode().lower()}"[:LONGEST_NAME]


class OverlayPlanner:
    """Makes the parts of overlay networks, for one agent that has a local_ip."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._reserver = Reserver(settings)

    def part(
        self,
        scope: Scope,
        vlan: int,
        first_nics: frozenset[str],
        before: OverlayPart | None = None,
    ) -> OverlayPart:
        """Return what this host needs for the network of `scope`.

        Args:
            scope: all rows of the network, and the tunnel ends of its hosts.
            vlan: its local VLAN here.
            first_nics: ids of the ports that carry their VM's default route.
            before: what the host needed before: reservations of ports whose rows are the same are
                kept.
        """
        here = [p for p in scope.ports.values() if self._settings.host in hosts_of(p)]
        vms = [port for port in here if is_vm(port)]
        mine = next((port for port in here if not is_vm(port)), None)
        if not here:  # no tunnel leads here yet, so none may lead away: it would be missed
            facts = NetworkFacts(vni=scope.network.segmentation_id or 0, vlan=vlan)
            return OverlayPart(scope.network.id, _name(scope), facts)
        part = OverlayPart(
            network_id=scope.network.id,
            name=_name(scope),
            facts=self._facts(scope, vlan, vms, mine),
            taps=tuple(tap_of(port, scope.network, "", self._settings.host) for port in vms),
            ports=tuple(self._vif(port, vlan) for port in vms),
            tunnels=tuple(self._tunnels(scope)),
            rows=scope.ports,
        )
        if mine is None:
            return part
        ground = Ground(scope.network, tuple(s for s, _ in _served(scope, mine)), first_nics)
        part = replace(part, reserved=self._reserved(scope, ground, before), ground=ground)
        return self._with_dhcp(part, scope, mine, vlan)

    # --- the ports

    def _vif(self, port: Port, vlan: int) -> OvsPort:
        return self._ovs_port(tap_name(port.id), "vif", port, vlan)

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
                bfd=BFD,
            )

    def _udp_port(self) -> Iterator[tuple[str, str]]:
        if self._settings.vxlan_udp_port != 4789:  # noqa: PLR2004 - VXLAN's own (RFC 7348)
            yield ("dst_port", str(self._settings.vxlan_udp_port))

    def _remotes(self, scope: Scope) -> dict[str, TunnelEnd]:
        """Return the tunnel ends of the other hosts, by host name.

        A tunnel has both ends in one IP version: others can't be reached (`unreachable`).
        """
        own = self._settings.local_ip
        return {
            host: ip
            for host, ip in sorted(scope.peers.items())
            if own is not None and ip != own and ip.version == own.version
        }

    def unreachable(self, scope: Scope) -> str:
        """Say which hosts of a network no tunnel leads to from here; "": there are none."""
        own = self._settings.local_ip
        others = [
            host
            for host, ip in sorted(scope.peers.items())
            if own is not None and ip.version != own.version
        ]
        if own is None or not others:
            return ""
        return (
            f"network {scope.network.name or scope.network.id}: no tunnel leads to "
            f"{', '.join(others)}, whose local_ip is not of IPv{own.version} as this host's {own}; "
            "give all hosts a local_ip of one IP version"
        )

    # --- what the flows are made from

    def _facts(self, scope: Scope, vlan: int, vms: list[Port], mine: Port | None) -> NetworkFacts:
        remotes = {host: tunnel_name(ip) for host, ip in self._remotes(scope).items()}
        others = [p for p in scope.ports.values() if any(host in remotes for host in hosts_of(p))]
        dhcp_hosts = {p.binding_host for p in others if not is_vm(p)}
        return NetworkFacts(
            vni=scope.network.segmentation_id or 0,
            vlan=vlan,
            vms=tuple(self._security(port) for port in _by_id(vms)),
            dhcp_here=outer_name(mine.id) if mine else "",
            dhcp_mac=mine.mac_address if mine else "",
            dhcp_tunnels=tuple(sorted(remotes[host] for host in dhcp_hosts if host)),
            tunnels=tuple(sorted(set(remotes.values()))),
            remotes=tuple(
                RemotePort(
                    port.mac_address,
                    tuple(ip.address for ip in port.fixed_ips),
                    tuple(remotes[host] for host in hosts_of(port) if host in remotes),
                )
                for port in _by_id(others)
            ),
        )

    def _security(self, port: Port) -> PortSecurity:
        bridge, (macs, sources) = self._settings.integration_bridge, allowed(port)
        return PortSecurity(tap_name(port.id), bridge, port.mac_address, macs, sources)

    # --- DHCP and metadata

    def _with_dhcp(self, part: OverlayPart, scope: Scope, mine: Port, vlan: int) -> OverlayPart:
        network = scope.network
        served = _served(scope, mine)
        name, namespace = tap_name(mine.id)[:14], namespace_name(network.id)
        addresses = tuple(IPv4Interface((a, s.cidr.prefixlen)) for s, a in served)
        gateway = next((s.gateway_ip for s, _ in served if s.gateway_ip is not None), None)
        device = DhcpDevice(
            name=name,
            outer=outer_name(mine.id),
            namespace=namespace,
            mac=mine.mac_address,
            mtu=network.mtu,
            addresses=(*addresses, IPv4Interface((METADATA_ADDRESS, 32))),
            gateway=gateway,
        )
        up = network.admin_state_up and bool(served)
        return replace(
            part,
            ports=(*part.ports, self._ovs_port(device.outer, "dhcp", mine, vlan)),
            namespace=Namespace(namespace),
            device=device,
            server=self._server(scope, device, served, part.reserved) if up else None,
            listener=MetadataListener(name, HTTP, (network.id,), namespace) if up else None,
            own_ports=((mine.id, device.name),),
        )

    def _reserved(self, scope: Scope, ground: Ground, before: OverlayPart | None) -> Reserved:
        """Return the reservations of all VMs."""
        served = {subnet.id: subnet for subnet in ground.served}

        def reservation(port: Port) -> Reservation | None:
            if not is_vm(port):
                return None
            return self._reserver.reservation(port, ground.network, served, ground.first_nics)

        known, rows = (before.reserved, before.rows) if before else (Reserved(), {})
        anew = before is None or before.ground != ground
        return known.after(row_changes(rows, scope.ports, anew=anew), reservation)

    def _server(
        self,
        scope: Scope,
        device: DhcpDevice,
        served: list[tuple[Subnet, IPv4Address]],
        reserved: Reserved,
    ) -> DhcpServer:
        return DhcpServer(
            name=scope.network.id,
            interface=device.name,
            ranges=tuple(self._range(scope, subnet, address) for subnet, address in served),
            reservations=reserved.by_address,
            names=tuple(self._further_names(scope, {s.id: s for s, _ in served})),
            lease_time=self._settings.dhcp_lease_time,
            upstream_dns=self._reserver.upstream(subnet for subnet, _ in served),
            forwarded=self._settings.forward_domains,
            namespace=device.namespace,
            peers=sum(not is_vm(port) for port in scope.ports.values()) != 1,
        )

    def _further_names(
        self, scope: Scope, served: dict[str, Subnet]
    ) -> Iterator[tuple[IPv4Address, str]]:
        for port in scope.ports.values():
            if len(port.fixed_ips) > 1 and is_vm(port):
                yield from self._reserver.further_names(port, scope.network, served) or ()

    def _range(self, scope: Scope, subnet: Subnet, server: IPv4Address) -> DhcpRange:
        return DhcpRange(
            subnet_id=subnet.id,
            network_id=scope.network.id,
            cidr=subnet.cidr,
            server=server,
            start=subnet.cidr.network_address,
            router=subnet.gateway_ip,
            mtu=scope.network.mtu,
            dns=() if self._settings.use_network_dns_servers else self._dns(scope, subnet),
            routes=tuple(_routes(scope, subnet, server)),
            domain=self._reserver.domain(scope.network),
        )

    def _dns(self, scope: Scope, subnet: Subnet) -> tuple[IPv4Address, ...]:
        """Name servers as given; none given and several DHCP servers: all of them (B8)."""
        servers = sorted(
            ip.address
            for port in scope.ports.values()
            if not is_vm(port)
            for ip in port.fixed_ips
            if ip.subnet_id == subnet.id
        )
        return subnet.dns_nameservers or (tuple(servers) if len(servers) > 1 else ())


def _name(scope: Scope) -> str:
    return scope.network.name or scope.network.id


def outer_name(port_id: str) -> str:
    """Name the host's end of a DHCP port's veth."""
    return f"o{tap_name(port_id)}"[:LONGEST_NAME]


def _routes(
    scope: Scope, subnet: Subnet, server: IPv4Address
) -> Iterator[tuple[IPv4Network, IPv4Address]]:
    """Yield neighbour subnets as on-link, host routes, and the way to the metadata service (B8)."""
    for other in sorted(scope.subnets.values(), key=lambda one: one.cidr):
        if other.id != subnet.id:
            yield other.cidr, IPv4Address(0)
    yield from ((route.destination, route.nexthop) for route in subnet.host_routes)
    yield IPv4Network(METADATA_ADDRESS), server


def _served(scope: Scope, mine: Port) -> list[tuple[Subnet, IPv4Address]]:
    """Return the subnets that this host's DHCP server serves, with its address on each."""
    subnets = ((scope.subnets.get(ip.subnet_id), ip.address) for ip in mine.fixed_ips)
    return [(subnet, address) for subnet, address in subnets if subnet and subnet.enable_dhcp]


def _by_id(ports: list[Port]) -> list[Port]:
    return sorted(ports, key=lambda port: port.id)
