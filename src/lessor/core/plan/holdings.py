"""Which addresses are in use on a host, as far as its last view knows."""

from __future__ import annotations

from collections.abc import Iterator

from lessor.model import DHCP_OWNER, Holding, Port, Scope, View


def holdings(view: View, host: str) -> tuple[Holding, ...]:
    """Return the addresses of ports that are bound to a host, or that its DHCP servers serve."""
    return tuple(
        Holding(port.network_id, fixed.address, port.mac_address)
        for scope in view.scopes.values()
        for port in _ports(scope, host)
        for fixed in port.fixed_ips
    )


def _ports(scope: Scope, host: str) -> Iterator[Port]:
    serves = scope.network.host == host or any(_is_server(p, host) for p in scope.ports.values())
    return (port for port in scope.ports.values() if serves or port.binding_host == host)


def _is_server(port: Port, host: str) -> bool:
    return port.device_owner == DHCP_OWNER and port.binding_host == host
