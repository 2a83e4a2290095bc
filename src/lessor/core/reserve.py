"""Reservations: what a DHCP server is told of a port, made once and kept until its row changes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from lessor.core.naming import hostname
from lessor.core.state import Reservation
from lessor.model import FixedIp, Network, Port, Subnet
from lessor.settings import AgentSettings

IPV4 = 4


class Reserver:
    """Makes reservations, for one agent."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._known: dict[str, tuple[Port, Subnet, Network, Reservation]] = {}

    def reservations(
        self,
        ports: Iterable[Port],
        network: Network,
        served: Mapping[str, Subnet],
        first_nics: frozenset[str],
    ) -> Iterator[Reservation]:
        """Yield the reservations of `ports` on the subnets served, by subnet id.

        A port has at most one: DHCP tells a MAC its first address (LP 1124692).
        """
        for port in ports:
            ip = next((ip for ip in port.fixed_ips if ip.subnet_id in served), None)
            if ip is not None:
                router = not self._settings.use_single_default_gateway or port.id in first_nics
                yield self._reservation(port, ip, served[ip.subnet_id], network, router=router)

    def domain(self, network: Network) -> str:
        """Return the domain that VMs of a network are in, "" for none."""
        return network.dns_domain.rstrip(".") or self._settings.dhcp_domain

    def upstream(self, subnets: Iterable[Subnet]) -> tuple[str, ...]:
        """Return the name servers that the DHCP server itself asks; () is the host's own."""
        if not self._settings.use_network_dns_servers:
            return self._settings.dns_server
        more = (str(server) for subnet in subnets for server in subnet.dns_nameservers)
        return tuple(dict.fromkeys((*self._settings.dns_server, *more)))

    def _reservation(
        self, port: Port, ip: FixedIp, subnet: Subnet, network: Network, *, router: bool
    ) -> Reservation:
        known = self._known.get(port.id)
        if known and known[:3] == (port, subnet, network) and known[3].router == router:
            return known[3]
        made = Reservation(
            port_id=port.id,
            network_id=network.id,
            subnet_id=subnet.id,
            mac=port.mac_address,
            address=ip.address,
            hostname=hostname(port, ip.address),
            domain=self.domain(network),
            options=tuple((o.name, o.value) for o in port.extra_dhcp_opts if o.ip_version == IPV4),
            router=router,
        )
        self._known[port.id] = (port, subnet, network, made)
        return made
