"""What a host needs for one flat network: nova-network's FlatDHCP, one network at a time.

A host plays parts in a network: it *hosts ports* (their taps are here) and it may be *gateway*
(single-host: the network's host; multi_host: every host that has a port). `part()` says all that
follows for one network; `lessor.core.plan.desired` joins the parts.

Source: semantics.md A6, A8, A11, A12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import chain

from lessor.core.firewall.apart import group
from lessor.core.plan.reserve import Reserved, Reserver
from lessor.core.plan.rows import follow, row_changes
from lessor.core.state import (
    Address,
    Bridge,
    DhcpRange,
    Gateway,
    Names,
    Reservation,
    Tap,
    VmRange,
)
from lessor.core.vmport import PortSecurity, allowed, hosts_of, is_vm, tap_name, tap_of
from lessor.model import FixedIp, Network, Port, Scope, Subnet
from lessor.settings import AgentSettings, FlatMapping

Served = tuple[Subnet, IPv4Address]  # a subnet, and this host's address on it


@dataclass(frozen=True, slots=True)
class Ground:
    """What all that is made of the ports of a network depends on, besides their rows."""

    network: Network
    subnets: tuple[Subnet, ...]
    mapping: FlatMapping
    first_nics: frozenset[str]
    here: tuple[Served, ...]  # on which this host is gateway or DHCP server
    servers: tuple[IPv4Address, ...]  # whose DHCP answers VMs may get
    group: str  # of networks that exchange frames


@dataclass(frozen=True, slots=True)
class Kept:
    """What was made of each port, by id, for the next plan."""

    ground: Ground | None = None
    rows: dict[str, Port] = field(default_factory=dict)
    vms: dict[str, Port] = field(default_factory=dict)  # bound to this host
    own: dict[str, Port] = field(default_factory=dict)  # of this host's DHCP server or gateway
    taps: dict[str, Tap] = field(default_factory=dict)
    guards: dict[str, PortSecurity] = field(default_factory=dict)
    reserved: Reserved = field(default_factory=Reserved)
    outside: dict[str, tuple[FixedIp, ...]] = field(default_factory=dict)  # addresses in no pool
    names: dict[str, Names] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """What one network asks of this host."""

    network: Network
    mapping: FlatMapping
    bridge: Bridge
    blocks: tuple[IPv4Network, ...] = ()
    taps: tuple[Tap, ...] = ()
    guards: tuple[PortSecurity, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    vm_ranges: tuple[VmRange, ...] = ()  # all its subnets, whoever their gateway is
    addresses: tuple[Address, ...] = ()
    ranges: tuple[DhcpRange, ...] = ()
    reserved: Reserved = field(default_factory=Reserved)
    names: Names = ()
    upstream_dns: tuple[str, ...] = ()
    own_ports: tuple[tuple[str, str], ...] = ()  # port id, key of its address: multi_host gateways
    kept: Kept = field(default_factory=Kept)


class FlatPlanner:
    """Makes parts, for one agent."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._reserver = Reserver(settings)

    def part(
        self,
        scope: Scope,
        mapping: FlatMapping,
        first_nics: frozenset[str],
        before: Part | None = None,
    ) -> Part:
        """Return what this host needs for the network of `scope`.

        Args:
            scope: the network's rows, as far as they concern this host.
            mapping: the network's physical network on this host.
            first_nics: ids of the ports that carry their VM's default route; only asked with
                use_single_default_gateway.
            before: what it needed before: what was made of ports whose rows are the same is kept.
        """
        kept = self._keep(scope, mapping, first_nics, before.kept if before else Kept())
        here = kept.ground.here if kept.ground else ()
        return Part(
            network=scope.network,
            mapping=mapping,
            bridge=Bridge(
                mapping.bridge,
                mapping.interface,
                tx_checksum=not self._is_gateway(scope.network, kept.vms),
            ),
            blocks=tuple(subnet.cidr for subnet in scope.subnets.values()),
            taps=tuple(kept.taps.values()),
            guards=tuple(kept.guards.values()),
            gateways=tuple(_gateway(scope.network, s, a, mapping, kept.outside) for s, a in here),
            vm_ranges=tuple(
                _vm_range(mapping.bridge, s, kept.outside) for s in scope.subnets.values()
            ),
            addresses=tuple(_address(mapping.bridge, s, a) for s, a in here),
            ranges=tuple(self._range(scope.network, s, a) for s, a in here if s.enable_dhcp),
            reserved=kept.reserved,
            names=tuple(chain.from_iterable(kept.names.values())),
            upstream_dns=self._reserver.upstream(s for s, _ in here),
            own_ports=tuple(_own_ports(kept.own.values(), mapping.bridge, here)),
            kept=kept,
        )

    def _keep(
        self, scope: Scope, mapping: FlatMapping, first_nics: frozenset[str], before: Kept
    ) -> Kept:
        """Return what is made of each port. It is all made anew if what it depends on changed."""
        changes = row_changes(before.rows, scope.ports)
        vms = follow(before.vms, changes, lambda p: p if self._is_here(p) and is_vm(p) else None)
        own = follow(
            before.own, changes, lambda p: p if self._is_here(p) and not is_vm(p) else None
        )
        ground = self._ground(scope, mapping, first_nics, vms, own)
        if ground != before.ground:
            changes = row_changes(before.rows, scope.ports, anew=True)
        pools = {s.id: [(int(p.first), int(p.last)) for p in s.pools] for s in ground.subnets}
        return Kept(
            ground=ground,
            rows=scope.ports,
            vms=vms,
            own=own,
            taps=follow(before.taps, changes, lambda p: self._tap(p, ground)),
            guards=follow(before.guards, changes, lambda p: self._guard(p, ground)),
            reserved=before.reserved.after(changes, lambda p: self._reserve(p, ground)),
            outside=follow(before.outside, changes, lambda p: _outside(p, pools)),
            names=follow(before.names, changes, lambda p: self._names(p, ground)),
        )

    def _ground(
        self,
        scope: Scope,
        mapping: FlatMapping,
        first_nics: frozenset[str],
        vms: Mapping[str, Port],
        own: Mapping[str, Port],
    ) -> Ground:
        network, subnets = scope.network, tuple(scope.subnets.values())
        told = ((s, server_address(network, s, own.values())) for s in subnets)
        known = [(s, address) for s, address in told if address is not None]
        return Ground(
            network=network,
            subnets=subnets,
            mapping=mapping,
            first_nics=first_nics,
            here=tuple(known) if self._is_gateway(network, vms) else (),
            servers=tuple(address for s, address in known if s.enable_dhcp),
            group=group(network.id, [s.cidr for s in subnets], self._settings.joined_cidr),
        )

    def _is_here(self, port: Port) -> bool:
        return port.binding_host == self._settings.host

    def _is_gateway(self, network: Network, vms: Mapping[str, Port]) -> bool:
        """Tell whether this host is gateway and DHCP server of (its part of) a network."""
        return bool(vms) if network.multi_host else network.host == self._settings.host

    def _range(self, network: Network, subnet: Subnet, server: IPv4Address) -> DhcpRange:
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

    def _is_wired(self, port: Port) -> bool:
        """Tell whether the tap of a VM is on the bridge here: it runs here, or is to come."""
        return is_vm(port) and self._settings.host in hosts_of(port)

    def _tap(self, port: Port, ground: Ground) -> Tap | None:
        if not self._is_wired(port):
            return None
        return tap_of(port, ground.network, ground.mapping.bridge, self._settings.host)

    def _guard(self, port: Port, ground: Ground) -> PortSecurity | None:
        if not self._is_wired(port):
            return None
        macs, sources = allowed(port)
        return PortSecurity(
            tap=tap_name(port.id),
            bridge=ground.mapping.bridge,
            mac=port.mac_address,
            macs=macs,
            sources=sources,
            dhcp_servers=ground.servers,
            local_dhcp=ground.network.multi_host,
            group=ground.group,
        )

    def _reserve(self, port: Port, ground: Ground) -> Reservation | None:
        if not is_vm(port) or (ground.network.multi_host and not self._is_here(port)):
            return None
        served = _by_dhcp(ground)
        return self._reserver.reservation(port, ground.network, served, ground.first_nics)

    def _names(self, port: Port, ground: Ground) -> Names | None:
        """Names that no reservation has: further addresses, and of multi_host what others serve.

        VMs of other hosts are in the view with update_dns_entries.
        """
        if not is_vm(port) or not ground.here:
            return None
        network = ground.network
        if network.multi_host and not self._is_here(port):
            return self._reserver.names(port, network, port.fixed_ips)
        return self._reserver.further_names(port, network, _by_dhcp(ground))


def _by_dhcp(ground: Ground) -> dict[str, Subnet]:
    return {subnet.id: subnet for subnet, _ in ground.here if subnet.enable_dhcp}


def server_address(network: Network, subnet: Subnet, own: Iterable[Port]) -> IPv4Address | None:
    """Return the address of this host on `subnet`, gateway or only DHCP server; None: none yet.

    Single-host and shared: the subnet's dhcp_server. Multi-host: the address of this host's own
    port (A12.2), one of `own`.
    """
    if not network.multi_host or network.share_address:
        return subnet.dhcp_server or subnet.gateway_ip
    addresses = (ip for port in own for ip in port.fixed_ips if ip.subnet_id == subnet.id)
    return next((ip.address for ip in addresses), None)


def _own_ports(
    own: Iterable[Port], bridge: str, here: Iterable[Served]
) -> Iterator[tuple[str, str]]:
    keys = {address: _address(bridge, subnet, address).key for subnet, address in here}
    for port in own:
        yield from ((port.id, keys[a.address]) for a in port.fixed_ips if a.address in keys)


def _external(subnet: Subnet) -> bool:
    """Tell whether the gateway is a router that we don't run (A3.1)."""
    if subnet.gateway_ip is None:
        return True
    return subnet.dhcp_server not in (None, subnet.gateway_ip)


def _gateway(
    network: Network,
    subnet: Subnet,
    address: IPv4Address,
    mapping: FlatMapping,
    outside: Mapping[str, tuple[FixedIp, ...]],
) -> Gateway:
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
) -> tuple[tuple[IPv4Address, IPv4Address], ...]:
    """Return the spans that VMs' addresses lie in: the pools, and what was given outside them."""
    others = chain.from_iterable(outside.values())
    spans = {(ip.address, ip.address) for ip in others if ip.subnet_id == subnet.id}
    return tuple(sorted(spans.union((pool.first, pool.last) for pool in subnet.pools)))


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


def _address(bridge: str, subnet: Subnet, address: IPv4Address) -> Address:
    return Address(bridge, IPv4Interface((address, subnet.cidr.prefixlen)), first=True)


def _dhcp_start(subnet: Subnet, server: IPv4Address) -> IPv4Address:
    """Return the first address after the gateway that isn't the DHCP server's (A4.7)."""
    start = (subnet.gateway_ip or subnet.cidr.network_address) + 1
    if start == server:
        start += 1
    return start if start in subnet.cidr else subnet.cidr.network_address
