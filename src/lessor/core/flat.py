"""What a host needs for one flat network: nova-network's FlatDHCP, one network at a time.

A host plays parts in a network: it *hosts ports* (their taps are here) and it may be *gateway*
(single-host: the network's host; multi_host: every host that has a port). `part()` says all that
follows for one network; `lessor.core.desired` joins the parts.

Source: semantics.md A6, A8, A11, A12.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from lessor.core.naming import hostname
from lessor.core.reserve import Reserver
from lessor.core.state import (
    Address,
    Bridge,
    DhcpRange,
    Gateway,
    Guard,
    Reservation,
    Tap,
)
from lessor.core.vmport import allowed, is_vm, tap_name, tap_of
from lessor.model import DHCP_OWNER, Network, Port, Scope, Subnet
from lessor.settings import AgentSettings, FlatMapping


@dataclass(frozen=True, slots=True)
class Part:
    """What one network asks of this host."""

    network: Network
    mapping: FlatMapping
    bridge: Bridge
    blocks: tuple[IPv4Network, ...] = ()
    taps: tuple[Tap, ...] = ()
    guards: tuple[Guard, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    addresses: tuple[Address, ...] = ()
    ranges: tuple[DhcpRange, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    names: tuple[tuple[IPv4Address, str], ...] = ()
    upstream_dns: tuple[str, ...] = ()
    own_ports: tuple[tuple[str, str], ...] = ()  # port id, key of its address: multi_host gateways


def is_gateway(network: Network, host: str, ports: Iterable[Port]) -> bool:
    """Tell whether `host` is gateway and DHCP server of (its part of) `network`."""
    if not network.multi_host:
        return network.host == host
    return any(port.binding_host == host and port.device_owner != DHCP_OWNER for port in ports)


def server_address(scope: Scope, subnet: Subnet, host: str) -> IPv4Address | None:
    """Return the address of this host on `subnet`, gateway or only DHCP server; None: none yet.

    Single-host and shared: the subnet's dhcp_server. Multi-host: the address of this host's own
    port (A12.2).
    """
    network = scope.network
    if not network.multi_host or network.share_address:
        return subnet.dhcp_server or subnet.gateway_ip
    own = (p for p in scope.ports.values() if p.device_owner == DHCP_OWNER)
    return next(
        (
            ip.address
            for port in own
            if port.binding_host == host
            for ip in port.fixed_ips
            if ip.subnet_id == subnet.id
        ),
        None,
    )


class FlatPlanner:
    """Makes parts, and remembers what it made of each row until that row changes."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._reserver = Reserver(settings)

    def part(self, scope: Scope, mapping: FlatMapping, first_nics: frozenset[str]) -> Part:
        """Return what this host needs for the network of `scope`.

        Args:
            scope: the network's rows, as far as they concern this host.
            mapping: the network's physical network on this host.
            first_nics: ids of the ports that carry their VM's default route; only asked with
                use_single_default_gateway.
        """
        network, host = scope.network, self._settings.host
        mine = [p for p in scope.ports.values() if is_vm(p) and p.binding_host == host]
        gateway = is_gateway(network, host, scope.ports.values())
        served = [(s, server_address(scope, s, host)) for s in scope.subnets.values()]
        here = [(s, a) for s, a in served if a is not None and gateway]
        return Part(
            network=network,
            mapping=mapping,
            bridge=Bridge(mapping.bridge, mapping.interface, tx_checksum=not gateway),
            blocks=tuple(subnet.cidr for subnet in scope.subnets.values()),
            taps=tuple(tap_of(port, network, mapping.bridge) for port in mine),
            guards=tuple(_guard(port, scope, mapping.bridge, host) for port in mine),
            gateways=tuple(_gateway(scope, s, a, mapping) for s, a in here),
            addresses=tuple(_address(mapping.bridge, s, a) for s, a in here),
            ranges=tuple(self._range(network, s, a) for s, a in here if s.enable_dhcp),
            reservations=tuple(self._reserve(scope, dict(_ids(here)), first_nics)),
            names=tuple(self._names(scope)) if gateway and network.multi_host else (),
            upstream_dns=self._reserver.upstream(s for s, _ in here),
            own_ports=tuple(self._own_ports(scope, mapping.bridge, here)),
        )

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

    def _reserve(
        self, scope: Scope, served: dict[str, Subnet], first_nics: frozenset[str]
    ) -> Iterator[Reservation]:
        network = scope.network
        ports = (p for p in scope.ports.values() if p.device_owner != DHCP_OWNER)
        if network.multi_host:
            ports = (p for p in ports if p.binding_host == self._settings.host)
        return self._reserver.reservations(ports, network, served, first_nics)

    def _names(self, scope: Scope) -> Iterator[tuple[IPv4Address, str]]:
        """Names of the VMs of other hosts, where the server tells them (update_dns_entries)."""
        domain = self._reserver.domain(scope.network)
        for port in scope.ports.values():
            if port.device_owner != DHCP_OWNER and port.binding_host != self._settings.host:
                for ip in port.fixed_ips:
                    name = hostname(port, ip.address)
                    yield ip.address, f"{name}.{domain}" if domain else name

    def _own_ports(
        self, scope: Scope, bridge: str, here: Iterable[tuple[Subnet, IPv4Address]]
    ) -> Iterator[tuple[str, str]]:
        keys = {address: _address(bridge, subnet, address).key for subnet, address in here}
        for port in scope.ports.values():
            if not is_vm(port) and port.binding_host == self._settings.host:
                yield from ((port.id, keys[a.address]) for a in port.fixed_ips if a.address in keys)


def _ids(served: Iterable[tuple[Subnet, IPv4Address]]) -> Iterator[tuple[str, Subnet]]:
    return ((subnet.id, subnet) for subnet, _ in served if subnet.enable_dhcp)


def _external(subnet: Subnet) -> bool:
    """Tell whether the gateway is a router that we don't run (A3.1)."""
    if subnet.gateway_ip is None:
        return True
    return subnet.dhcp_server not in (None, subnet.gateway_ip)


def _guard(port: Port, scope: Scope, bridge: str, host: str) -> Guard:
    addresses = (server_address(scope, s, host) for s in scope.subnets.values() if s.enable_dhcp)
    macs, sources = allowed(port)
    return Guard(
        tap=tap_name(port.id),
        bridge=bridge,
        macs=macs,
        sources=sources,
        dhcp_servers=tuple(address for address in addresses if address is not None),
        local_dhcp=scope.network.multi_host,
    )


def _gateway(scope: Scope, subnet: Subnet, address: IPv4Address, mapping: FlatMapping) -> Gateway:
    network = scope.network
    return Gateway(
        network_id=network.id,
        subnet_id=subnet.id,
        bridge=mapping.bridge,
        interface=mapping.interface,
        cidr=subnet.cidr,
        address=address,
        external=_external(subnet),
        isolated=network.multi_host and network.share_address,
        vm_sources=_vm_sources(scope, subnet),
    )


def _vm_sources(scope: Scope, subnet: Subnet) -> tuple[tuple[IPv4Address, IPv4Address], ...]:
    """Return the spans that VMs' addresses lie in: the pools, and what was given outside them."""
    spans = [(pool.first, pool.last) for pool in subnet.pools]
    for port in scope.ports.values():
        if is_vm(port):
            spans += [
                (ip.address, ip.address)
                for ip in port.fixed_ips
                if ip.subnet_id == subnet.id
                and not any(first <= ip.address <= last for first, last in spans)
            ]
    return tuple(sorted(spans))


def _address(bridge: str, subnet: Subnet, address: IPv4Address) -> Address:
    return Address(bridge, IPv4Interface((address, subnet.cidr.prefixlen)), first=True)


def _dhcp_start(subnet: Subnet, server: IPv4Address) -> IPv4Address:
    """Return the first address after the gateway that isn't the DHCP server's (A4.7)."""
    start = (subnet.gateway_ip or subnet.cidr.network_address) + 1
    if start == server:
        start += 1
    return start if start in subnet.cidr else subnet.cidr.network_address
