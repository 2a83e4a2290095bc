"""Each host's own DHCP server and gateway address on a multi-host network.

Such a network without a shared address spends one address of each DHCP subnet on every host that
has ports of it (semantics.md A12.2). It belongs to an ordinary port, so that it is not allocated
again; the port comes with the host's first port and goes with its last.

The DHCP servers of overlay networks have such ports too; `dhcp_scheduler` says where.
"""

from __future__ import annotations

import uuid

from sqlalchemy import bindparam, delete, select

from lessor.model import DHCP_OWNER, Port
from lessor.store.addresses.allocation import Owner, claim, let_go
from lessor.store.engine.tx import Tx
from lessor.store.networks.addressing import (
    NetworkAddressing,
    has_ports,
    hosts_taking_part,
    read_addressing,
)
from lessor.store.ports import rows as portrows
from lessor.store.tables import ports
from lessor.store.tagrows import forget as forget_tags
from lessor.store.values import FixedIpRequest

_OURS = select(ports.c.id, ports.c.server_of, ports.c.mac_address).where(
    ports.c.network_id == bindparam("network"), ports.c.server_of.is_not(None)
)
_ONE = _OURS.where(ports.c.server_of == bindparam("host"))


def ensure_server(tx: Tx, network: NetworkAddressing, host: str) -> None:
    """Make the server of a host with ports of the network, where it has its own."""
    if network.own_servers and not of_host(tx, network, host):
        create_server(tx, network, host, f"dhcp-{host}-{network.id}")


def create_server(tx: Tx, network: NetworkAddressing, host: str, device_id: str) -> None:
    """Make the port of a host's DHCP server, with an address of each DHCP subnet."""
    subnet_ids = [subnet.id for subnet in network.subnets if subnet.enable_dhcp]
    if not subnet_ids:
        return
    port = Port(
        id=str(uuid.uuid4()),
        network_id=network.id,
        mac_address="",
        project_id=network.project_id,
        device_id=device_id,
        device_owner=DHCP_OWNER,
        binding_host=host,
        port_security_enabled=False,
        created_at=tx.now,
        updated_at=tx.now,
    )
    mac = portrows.add(tx, network, port, server_of=host)
    owner = Owner(network.id, port.id, mac, host, network.project_id)
    claim(tx, network, owner, [FixedIpRequest(subnet_id) for subnet_id in subnet_ids])
    tx.touch("ports", port.id)
    tx.concerns(portrows.concerned(tx, network, [host]))


def drop_unused_server(tx: Tx, network: NetworkAddressing, host: str) -> None:
    """Delete the server of a host without ports of the network."""
    server = of_host(tx, network, host)
    if server is not None and not has_ports(tx, network.id, host):
        delete_server(tx, network, server)


def delete_server(tx: Tx, network: NetworkAddressing, server: Owner) -> None:
    """Delete the port of a DHCP server."""
    tx.concerns(portrows.concerned(tx, network, [server.binding_host]))
    let_go(tx, network, server, portrows.get(tx, server.port_id).fixed_ips)
    tx.conn.execute(delete(ports).where(ports.c.id == server.port_id))
    forget_tags(tx, server.port_id)
    tx.gone("port", server.port_id, network.id)


def align(tx: Tx, network_id: str) -> None:
    """Make servers' addresses fit the network's subnets, after one was made or changed."""
    network = read_addressing(tx, network_id)
    if network.overlay:
        for server in _all(tx, network):
            _fit(tx, network, server)
    if not network.own_servers:
        return
    for host in sorted(hosts_taking_part(tx, network_id)):
        if not has_ports(tx, network_id, host):
            continue
        present = of_host(tx, network, host)
        if present is None:
            ensure_server(tx, network, host)
        else:
            _fit(tx, network, present)


def _fit(tx: Tx, network: NetworkAddressing, server: Owner) -> None:
    """Give a server one address of each DHCP subnet; without any, an overlay's has no use."""
    wanted = {subnet.id for subnet in network.subnets if subnet.enable_dhcp}
    if not wanted and network.overlay:
        delete_server(tx, network, server)
        return
    held = portrows.get(tx, server.port_id).fixed_ips
    missing = sorted(wanted - {fixed.subnet_id for fixed in held})
    let_go(tx, network, server, [fixed for fixed in held if fixed.subnet_id not in wanted])
    claim(tx, network, server, [FixedIpRequest(key) for key in missing], at=len(held))
    if missing or len(held) + len(missing) > len(wanted):
        tx.touch("ports", server.port_id)


def release_subnet(tx: Tx, network_id: str, subnet_id: str) -> None:
    """Release the servers' addresses of a subnet that is about to be deleted."""
    network = read_addressing(tx, network_id)
    for server in _all(tx, network):
        held = portrows.get(tx, server.port_id).fixed_ips
        gone = [fixed for fixed in held if fixed.subnet_id == subnet_id]
        let_go(tx, network, server, gone)
        if gone:
            tx.touch("ports", server.port_id)
    tx.concerns(hosts_taking_part(tx, network_id))


def _all(tx: Tx, network: NetworkAddressing) -> list[Owner]:
    rows = tx.conn.execute(_OURS, {"network": network.id}).all()
    return [
        Owner(network.id, row.id, row.mac_address, row.server_of or None, network.project_id)
        for row in rows
    ]


def of_host(tx: Tx, network: NetworkAddressing, host: str) -> Owner | None:
    """Return a host's server port; None: it has none."""
    row = tx.conn.execute(_ONE, {"network": network.id, "host": host}).first()
    return (
        None
        if row is None
        else Owner(network.id, row.id, row.mac_address, host, network.project_id)
    )


def is_server(tx: Tx, port_id: str) -> str | None:
    """Return the host whose server a port is; None: it is no server's."""
    found = tx.conn.execute(select(ports.c.server_of).where(ports.c.id == port_id)).scalar()
    return str(found) if found else None
