"""What a host needs for one flat network: nova-network's FlatDHCP, one network at a time.

A host plays parts in a network: it *hosts ports* (their taps are here) and it may be *gateway*
(single-host: the network's host; multi_host: every host that has a port).

Source: semantics.md A6, A8, A11, A12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_interface
from itertools import chain

from lessor.core.firewall.apart import group
from lessor.core.plan.network import Inputs, NetworkPlan, OwnPort, PlanCache, title
from lessor.core.plan.reserve import Reserver
from lessor.core.plan.rows import RowChanges, follow, row_changes
from lessor.core.state import (
    Bridge,
    DeviceAddress,
    DhcpRange,
    DhcpServer,
    Gateway,
    HostState,
    MetadataListener,
    Names,
    Reservation,
    Tap,
    VmRange,
)
from lessor.core.vmport import (
    PortSecurity,
    allowed,
    is_vm,
    is_wired,
    tap_name,
    tap_of,
)
from lessor.model import FixedIp, Network, Port, Scope, Subnet
from lessor.net.address import Address, place
from lessor.settings import AgentSettings, FlatMapping

Served = tuple[Subnet, Address]  # a subnet, and this host's address on it


@dataclass(frozen=True, slots=True)
class _PortInputs:
    """What all that is made of one port depends on, besides its row."""

    network: Network
    subnets: tuple[Subnet, ...]
    mapping: FlatMapping
    first_nics: frozenset[str]
    here: tuple[Served, ...]  # on which this host is gateway or DHCP server
    servers: tuple[Address, ...]  # whose DHCP answers VMs may get
    group: str  # of networks that exchange frames


class FlatPlanner:
    """Plans flat networks, for one agent."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._reserver = Reserver(settings)
        self._mappings = {m.physical_network: m for m in settings.flat_mappings}

    def obstacle(self, network: Network) -> str:
        """Return why a network cannot be provided on this host; "": it can."""
        if network.physical_network in self._mappings:
            return ""
        known = ", ".join(sorted(self._mappings)) or "none"
        return (
            f"{title(network)} is on physical network {network.physical_network}, which has no "
            f"bridge on this host (it has: {known}); set flat_network_bridge or flat_mappings"
        )

    def plan(self, scope: Scope, inputs: Inputs, before: NetworkPlan | None) -> NetworkPlan:
        """Return what this host needs for the network of `scope`."""
        known = before.cache if before else PlanCache()
        changes = row_changes(known.rows, scope.ports)
        vms = follow(known.vms, changes, lambda p: p if is_vm(p) and self._is_here(p) else None)
        servers = follow(known.servers, changes, lambda p: None if is_vm(p) else p)
        own = [port for port in servers.values() if self._is_here(port)]
        made_with = self._port_inputs(scope, inputs, vms, own)
        if made_with != known.made_with:
            changes = row_changes(known.rows, scope.ports, anew=True)
        cache = self._cache(known, changes, made_with, (scope.ports, vms, servers))
        bridge = made_with.mapping.bridge
        return NetworkPlan(
            network=scope.network,
            rows=scope.ports,
            state=self._state(cache, made_with),
            reserved=cache.reserved,
            own_ports=tuple(_own_ports(own, bridge, made_with.here)),
            guards=tuple(cache.guards.values()),
            gateways=tuple(_gateway(made_with, s, a, cache.outside) for s, a in made_with.here),
            vm_ranges=tuple(_vm_range(bridge, s, cache.outside) for s in made_with.subnets),
            cache=cache,
        )

    # --- what depends on single ports

    def _port_inputs(
        self, scope: Scope, inputs: Inputs, vms: Mapping[str, Port], own: Iterable[Port]
    ) -> _PortInputs:
        network, subnets = scope.network, tuple(scope.subnets.values())
        found = ((s, server_address(network, s, own)) for s in subnets)
        known = [(s, address) for s, address in found if address is not None]
        return _PortInputs(
            network=network,
            subnets=subnets,
            mapping=self._mappings[network.physical_network or ""],
            first_nics=inputs.first_nics,
            here=tuple(known) if self._is_gateway(network, vms) else (),
            servers=tuple(address for s, address in known if s.enable_dhcp),
            group=group(network.id, [s.cidr for s in subnets], self._settings.joined_cidr),
        )

    def _cache(
        self,
        before: PlanCache,
        changes: RowChanges[Port],
        made_with: _PortInputs,
        ports: tuple[dict[str, Port], dict[str, Port], dict[str, Port]],
    ) -> PlanCache:
        rows, vms, servers = ports
        pools = {s.id: [(int(p.first), int(p.last)) for p in s.pools] for s in made_with.subnets}
        return PlanCache(
            made_with=made_with,
            rows=rows,
            vms=vms,
            servers=servers,
            taps=follow(before.taps, changes, lambda p: self._tap(p, made_with)),
            guards=follow(before.guards, changes, lambda p: self._guard(p, made_with)),
            reserved=before.reserved.after(changes, lambda p: self._reserve(p, made_with)),
            outside=follow(before.outside, changes, lambda p: _outside(p, pools)),
            names=follow(before.names, changes, lambda p: self._names(p, made_with)),
        )

    def _is_here(self, port: Port) -> bool:
        return port.binding_host == self._settings.host

    def _is_gateway(self, network: Network, vms: Mapping[str, Port]) -> bool:
        """Tell whether this host is gateway and DHCP server of (its part of) a network."""
        return bool(vms) if network.multi_host else network.host == self._settings.host

    def _tap(self, port: Port, made_with: _PortInputs) -> Tap | None:
        if not is_wired(port, self._settings.host):
            return None
        return tap_of(port, made_with.network, made_with.mapping.bridge, self._settings.host)

    def _guard(self, port: Port, made_with: _PortInputs) -> PortSecurity | None:
        if not is_wired(port, self._settings.host):
            return None
        macs, sources = allowed(port)
        return PortSecurity(
            tap=tap_name(port.id),
            bridge=made_with.mapping.bridge,
            mac=port.mac_address,
            macs=macs,
            sources=sources,
            dhcp_servers=made_with.servers,
            local_dhcp=made_with.network.multi_host,
            group=made_with.group,
        )

    def _reserve(self, port: Port, made_with: _PortInputs) -> Reservation | None:
        if not is_vm(port) or (made_with.network.multi_host and not self._is_here(port)):
            return None
        served = _by_dhcp(made_with)
        return self._reserver.reservation(port, made_with.network, served, made_with.first_nics)

    def _names(self, port: Port, made_with: _PortInputs) -> Names | None:
        """Names that no reservation has: further addresses, and of multi_host what others serve.

        VMs of other hosts are in the view with update_dns_entries.
        """
        if not is_vm(port) or not made_with.here:
            return None
        network = made_with.network
        if network.multi_host and not self._is_here(port):
            return self._reserver.names(port, network, port.fixed_ips)
        return self._reserver.further_names(port, network, _by_dhcp(made_with))

    # --- what the host has

    def _state(self, cache: PlanCache, made_with: _PortInputs) -> HostState:
        network, mapping, here = made_with.network, made_with.mapping, made_with.here
        bridge = Bridge(
            mapping.bridge,
            mapping.interface,
            tx_checksum=not self._is_gateway(network, cache.vms),
        )
        addresses = [_address(bridge.name, s, a) for s, a in here]
        served = [(s, a) for s, a in here if s.enable_dhcp]
        listener = MetadataListener(bridge.name, self._settings.metadata_port, (network.id,))
        return HostState(
            bridges={bridge.name: bridge},
            addresses={address.key: address for address in addresses},
            dhcp_servers={bridge.name: self._server(cache, made_with, served)} if served else {},
            metadata={bridge.name: listener} if here and self._answers_metadata else {},
            taps={tap.name: tap for tap in cache.taps.values()},
        )

    @property
    def _answers_metadata(self) -> bool:
        host = self._settings.metadata_host
        return host is None or host.is_loopback

    def _server(
        self, cache: PlanCache, made_with: _PortInputs, served: Iterable[Served]
    ) -> DhcpServer:
        bridge = made_with.mapping.bridge
        return DhcpServer(
            name=bridge,
            interface=bridge,
            ranges=tuple(self._range(made_with.network, s, a) for s, a in served),
            reservations=cache.reserved.by_address,
            names=tuple(sorted(set(chain.from_iterable(cache.names.values())))),
            lease_time=self._settings.dhcp_lease_time,
            upstream_dns=self._reserver.upstream(s for s, _ in made_with.here),
            forwarded=self._settings.forward_domains,
        )

    def _range(self, network: Network, subnet: Subnet, server: Address) -> DhcpRange:
        own_gateway = network.multi_host and not network.share_address and not _external(subnet)
        dns = () if self._settings.use_network_dns_servers else subnet.dns_nameservers
        router = server if own_gateway else subnet.gateway_ip
        return DhcpRange(
            subnet_id=subnet.id,
            network_id=network.id,
            cidr=subnet.cidr,
            server=server,
            start=_dhcp_start(subnet, server),
            router=router,
            mtu=network.mtu,
            dns=dns,
            routes=tuple((route.destination, route.nexthop) for route in subnet.host_routes),
            domain=self._reserver.domain(network),
        )


def _by_dhcp(made_with: _PortInputs) -> dict[str, Subnet]:
    return {subnet.id: subnet for subnet, _ in made_with.here if subnet.enable_dhcp}


def server_address(network: Network, subnet: Subnet, own: Iterable[Port]) -> Address | None:
    """Return the address of this host on `subnet`, gateway or only DHCP server; None: none yet.

    Single-host and shared: the subnet's dhcp_server. Multi-host: the address of this host's own
    port (A12.2), one of `own`.
    """
    if not network.multi_host or network.share_address:
        return subnet.dhcp_server or subnet.gateway_ip
    addresses = (ip for port in own for ip in port.fixed_ips if ip.subnet_id == subnet.id)
    return next((ip.address for ip in addresses), None)


def _own_ports(own: Iterable[Port], bridge: str, here: Iterable[Served]) -> Iterator[OwnPort]:
    keys = {address: _address(bridge, subnet, address).key for subnet, address in here}
    for port in own:
        yield from (OwnPort(port.id, keys[a.address]) for a in port.fixed_ips if a.address in keys)


def _external(subnet: Subnet) -> bool:
    """Tell whether the gateway is a router that we don't run (A3.1)."""
    if subnet.gateway_ip is None:
        return True
    return subnet.dhcp_server not in (None, subnet.gateway_ip)


def _gateway(
    made_with: _PortInputs,
    subnet: Subnet,
    address: Address,
    outside: Mapping[str, tuple[FixedIp, ...]],
) -> Gateway:
    network, mapping = made_with.network, made_with.mapping
    return Gateway(
        network_id=network.id,
        subnet_id=subnet.id,
        bridge=mapping.bridge,
        interface=mapping.interface,
        cidr=subnet.cidr,
        address=address,
        external=_external(subnet),
        isolated=network.multi_host and network.share_address,
        vm_sources=_vm_sources(subnet, outside),
    )


def _vm_range(bridge: str, subnet: Subnet, outside: Mapping[str, tuple[FixedIp, ...]]) -> VmRange:
    routers = (subnet.gateway_ip, subnet.dhcp_server)
    return VmRange(
        bridge=bridge,
        cidr=subnet.cidr,
        sources=_vm_sources(subnet, outside),
        network_id=subnet.network_id,
        routers=tuple(address for address in dict.fromkeys(routers) if address),
    )


def _vm_sources(
    subnet: Subnet, outside: Mapping[str, tuple[FixedIp, ...]]
) -> tuple[tuple[Address, Address], ...]:
    """Return the spans that VMs' addresses lie in: the pools, and what was given outside them."""
    others = chain.from_iterable(outside.values())
    spans = {(ip.address, ip.address) for ip in others if ip.subnet_id == subnet.id}
    spans.update((pool.first, pool.last) for pool in subnet.pools)
    return tuple(sorted(spans, key=lambda span: tuple(map(place, span))))


def _outside(port: Port, pools: Mapping[str, list[tuple[int, int]]]) -> tuple[FixedIp, ...] | None:
    """Return the addresses of a VM that lie in no pool of their subnet; None: there are none."""
    if not is_vm(port):
        return None
    return (
        tuple(
            ip
            for ip in port.fixed_ips
            if not any(
                first <= int(ip.address) <= last for first, last in pools.get(ip.subnet_id, ())
            )
        )
        or None
    )


def _address(bridge: str, subnet: Subnet, address: Address) -> DeviceAddress:
    return DeviceAddress(bridge, ip_interface((address, subnet.cidr.prefixlen)), first=True)


def _dhcp_start(subnet: Subnet, server: Address) -> Address:
    """Return the first address after the gateway that isn't the DHCP server's (A4.7)."""
    start = (subnet.gateway_ip or subnet.cidr.network_address) + 1
    if start == server:
        start += 1
    return start if start in subnet.cidr else subnet.cidr.network_address
