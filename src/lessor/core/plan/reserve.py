"""Reservations: a port's MAC and address in a DHCP server, kept until the port's row changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from lessor.core.plan.rows import RowChanges, follow, replaced
from lessor.core.state import Names, Reservation
from lessor.model import FixedIp, Network, Port, Subnet
from lessor.net.guest_name import hostname
from lessor.settings import AgentSettings

IPV4 = 4


@dataclass(frozen=True, slots=True)
class Reserved:
    """The reservations of one network, by port id, and by address as text."""

    by_port: dict[str, Reservation] = field(default_factory=dict)
    by_address: dict[str, Reservation] = field(default_factory=dict)

    def after(
        self, changes: RowChanges[Port], make: Callable[[Port], Reservation | None]
    ) -> Reserved:
        """Return them after changes of the ports; `make` makes that of one port."""
        by_port = follow(self.by_port, changes, make)
        if by_port is self.by_port:
            return self
        ids = dict.fromkeys((*changes.gone, *(port.id for port in changes.fresh)))
        former = {str(self.by_port[key].address) for key in ids if key in self.by_port}
        put = {str(by_port[key].address): by_port[key] for key in ids if key in by_port}
        return Reserved(by_port, replaced(self.by_address, former - put.keys(), put))


class Reserver:
    """Makes reservations, for one agent."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings

    def reservation(
        self,
        port: Port,
        network: Network,
        served: Mapping[str, Subnet],
        first_nics: frozenset[str],
    ) -> Reservation | None:
        """Return the reservation of a port on the subnets served, by subnet id; None: it has none.

        A port has at most one: DHCP tells a MAC its first address (LP 1124692).
        """
        ip = next((ip for ip in port.fixed_ips if ip.subnet_id in served), None)
        if ip is None:
            return None
        return Reservation(
            port_id=port.id,
            network_id=network.id,
            subnet_id=ip.subnet_id,
            mac=port.mac_address,
            address=ip.address,
            hostname=hostname(port, ip.address),
            domain=self.domain(network),
            options=tuple((o.name, o.value) for o in port.extra_dhcp_opts if o.ip_version == IPV4),
            router=not self._settings.use_single_default_gateway or port.id in first_nics,
        )

    def further_names(
        self, port: Port, network: Network, served: Mapping[str, Subnet]
    ) -> Names | None:
        """Return the names of a port's addresses that no reservation has, on the subnets served."""
        more = [ip for ip in port.fixed_ips if ip.subnet_id in served][1:]
        return self.names(port, network, more) if more else None

    def names(self, port: Port, network: Network, addresses: Iterable[FixedIp]) -> Names:
        """Return addresses of a port with the names that DNS answers."""
        domain = self.domain(network)
        found = ((ip.address, hostname(port, ip.address)) for ip in addresses)
        return tuple((ip, f"{name}.{domain}" if domain else name) for ip, name in found)

    def domain(self, network: Network) -> str:
        """Return the domain that VMs of a network are in, "" for none."""
        return network.dns_domain.rstrip(".") or self._settings.dhcp_domain

    def upstream(self, subnets: Iterable[Subnet]) -> tuple[str, ...]:
        """Return the name servers that the DHCP server itself asks; () is the host's own."""
        if not self._settings.use_network_dns_servers:
            return self._settings.dns_server
        more = (str(server) for subnet in subnets for server in subnet.dns_nameservers)
        return tuple(dict.fromkeys((*self._settings.dns_server, *more)))
