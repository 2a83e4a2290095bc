"""Each host's own DHCP server and gateway address on a multi-host network.

Such a network without a shared address spends one address of each DHCP subnet on every host that
has ports of it (semantics.md A12.2). It belongs to an ordinary port, so that nobody else gets it;
the port comes with the host's first port and goes with its last.

The DHCP servers of overlay networks have such ports too; `placement` says where.
"""

from __future__ import annotations

import uuid

from sqlalchemy import bindparam, delete, select

from lessor.model import DHCP_OWNER, Port
from lessor.store.addresses.allocation import Owner, claim, let_go
from lessor.store.engine.tx import Tx
from lessor.store.networks.addressing import Ground, ground, has_ports, hosts_taking_part
from lessor.store.ports import rows as portrows
from lessor.store.tables import ports
from lessor.store.tagrows import forget as forget_tags
from lessor.store.values import FixedIpRequest

_OURS = select(ports.c.id, ports.c.server_of, ports.c.mac_address).where(
    ports.c.network_id == bindparam("network"), ports.c.server_of.is_not(None)
)
_ONE = _OURS.where(ports.c.server_of == bindparam("host"))


def arrive(tx: Tx, land: Ground, host: str) -> None:
    """Give a host that has ports of the network its own server address, if it has none yet."""
    if land.own_servers and not of_host(tx, land, host):
        make(tx, land, host, f"dhcp-{host}-{land.id}")


def make(tx: Tx, land: Ground, host: str, device_id: str) -> None:
    """Make the port of a host's DHCP server, with an address of each DHCP subnet, if there is any."""
    subnets = [plot.id for plot in land.plots if plot.enable_dhcp]
    if not subnets:
        return
    port = Port(
        id=str(uuid.uuid4()),
        network_id=land.id,
        mac_address="",
        project_id=land.project_id,
        device_id=device_id,
        device_owner=DHCP_OWNER,
        binding_host=host,
        port_security_enabled=False,
        created_at=tx.now,
        updated_at=tx.now,
    )
    mac = portrows.add(tx, land, port, server_of=host)
    owner = Owner(land.id, port.id, mac, host, land.project_id)
    claim(tx, land, owner, [FixedIpRequest(subnet_id) for subnet_id in subnets])
    tx.touch("ports", port.id)
    tx.concerns(portrows.concerned(tx, land, [host]))


def depart(tx: Tx, land: Ground, host: str) -> None:
    """Take a host's server address back if it has no ports of the network any more."""
    server = of_host(tx, land, host)
    if server is not None and not has_ports(tx, land.id, host):
        drop(tx, land, server)


def drop(tx: Tx, land: Ground, server: Owner) -> None:
    """Delete the port of a DHCP server."""
    tx.concerns(portrows.concerned(tx, land, [server.binding_host]))
    let_go(tx, land, server, portrows.get(tx, server.port_id).fixed_ips)
    tx.conn.execute(delete(ports).where(ports.c.id == server.port_id))
    forget_tags(tx, server.port_id)
    tx.gone("port", server.port_id, land.id)


def align(tx: Tx, network_id: str) -> None:
    """Make servers' addresses fit the network's subnets, after one was made or changed."""
    land = ground(tx, network_id)
    if land.overlay:
        for server in _all(tx, land):
            _fit(tx, land, server)
    if not land.own_servers:
        return
    for host in sorted(hosts_taking_part(tx, network_id)):
        if not has_ports(tx, network_id, host):
            continue
        present = of_host(tx, land, host)
        if present is None:
            arrive(tx, land, host)
        else:
            _fit(tx, land, present)


def _fit(tx: Tx, land: Ground, server: Owner) -> None:
    """Give a server one address of each DHCP subnet; without any, an overlay's has no use."""
    wanted = {plot.id for plot in land.plots if plot.enable_dhcp}
    if not wanted and land.overlay:
        drop(tx, land, server)
        return
    held = portrows.get(tx, server.port_id).fixed_ips
    missing = sorted(wanted - {fixed.subnet_id for fixed in held})
    let_go(tx, land, server, [fixed for fixed in held if fixed.subnet_id not in wanted])
    claim(tx, land, server, [FixedIpRequest(key) for key in missing], at=len(held))
    if missing or len(held) + len(missing) > len(wanted):
        tx.touch("ports", server.port_id)


def leave(tx: Tx, network_id: str, subnet_id: str) -> None:
    """Take back the servers' addresses of a subnet that is going to be deleted."""
    land = ground(tx, network_id)
    for server in _all(tx, land):
        held = portrows.get(tx, server.port_id).fixed_ips
        gone = [fixed for fixed in held if fixed.subnet_id == subnet_id]
        let_go(tx, land, server, gone)
        if gone:
            tx.touch("ports", server.port_id)
    tx.concerns(hosts_taking_part(tx, network_id))


def _all(tx: Tx, land: Ground) -> list[Owner]:
    rows = tx.conn.execute(_OURS, {"network": land.id}).all()
    return [
        Owner(land.id, row.id, row.mac_address, row.server_of or None, land.project_id)
        for row in rows
    ]


def of_host(tx: Tx, land: Ground, host: str) -> Owner | None:
    """Return a host's server port; None: it has none."""
    row = tx.conn.execute(_ONE, {"network": land.id, "host": host}).first()
    return None if row is None else Owner(land.id, row.id, row.mac_address, host, land.project_id)


def is_server(tx: Tx, port_id: str) -> str | None:
    """Return whose server address a port is; None: nobody's."""
    found = tx.conn.execute(select(ports.c.server_of).where(ports.c.id == port_id)).scalar()
    return str(found) if found else None
