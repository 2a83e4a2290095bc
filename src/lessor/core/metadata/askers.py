"""Which port a packet is of, by its source MAC and address: what that port's guard lets out.

An address that a port has through an allowed address pair is the pair's holder's, never that of the
port which has it as its own. Where two ports may send the same, it is of neither.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from lessor.core.metadata.seats import Seat
from lessor.core.vmport import allowed, is_vm
from lessor.model import Port, Scope
from lessor.net.address import Address

ByMac = dict[str, tuple[Port, ...]]


def by_mac(scope: Scope) -> ByMac:
    """Return the VMs' ports of a network by the MACs that they may send with."""
    found: dict[str, list[Port]] = defaultdict(list)
    for port in filter(is_vm, scope.ports.values()):
        macs, _ = allowed(port)
        for mac in macs or (port.mac_address,):
            found[mac].append(port)
    return {mac: tuple(ports) for mac, ports in found.items()}


def seat_of(networks: Iterable[ByMac], mac: str) -> Seat:
    """Return the seat of a connection from this MAC; for a MAC of several ports, no port's."""
    ports = [port for known in networks for port in known.get(mac, ())]
    if len(ports) != 1:
        return Seat(ports[0].network_id if ports else "", "")
    return Seat(ports[0].network_id, ports[0].id)


def port_of(networks: Iterable[ByMac], mac: str, address: Address) -> Port | None:
    """Return the port that lets out what came from this MAC and address; None: none, or several."""
    found = [port for known in networks for port in known.get(mac, ()) if _lets(port, mac, address)]
    return found[0] if len(found) == 1 else None


def own_address(port: Port, address: Address) -> Address | None:
    """Return `address` if it is the port's own, or else its first; None: it has none."""
    own = [fixed.address for fixed in port.fixed_ips]
    return address if address in own else next(iter(own), None)


def _lets(port: Port, mac: str, address: Address) -> bool:
    """Tell whether a port may send so. One without port security is believed its own address."""
    if not port.port_security_enabled:
        return mac == port.mac_address and any(ip.address == address for ip in port.fixed_ips)
    return any(mac == own and address in block for own, block in allowed(port)[1])
