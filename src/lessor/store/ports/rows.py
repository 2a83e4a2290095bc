"""Rows of ports: how they are written and read. `ports` has the rules."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, literal_column, select
from sqlalchemy.exc import IntegrityError

from lessor.errors import Conflict, NotFound, Unavailable
from lessor.model import FixedIp, Port
from lessor.net.macs import new_mac
from lessor.store.engine.dialect import insert
from lessor.store.engine.writer import Tx
from lessor.store.networks import rules as networks
from lessor.store.networks.ground import Ground, hosts_taking_part
from lessor.store.rows import PORT, packed, port_of
from lessor.store.sharing import visible
from lessor.store.tables import addresses, bindings, ports

AT_ONCE = 5000  # ids in one statement

SELECT = select(*PORT)
# In these words: a database takes a partial index only where its condition is a query's, too.
HAS_DEVICE = ports.c.device_id != literal_column("''")
_ONE = SELECT.where(ports.c.id == bindparam("key"))
_IPS = (
    select(addresses.c.port_id, addresses.c.subnet_id, addresses.c.address)
    .where(addresses.c.port_id.in_(bindparam("keys", expanding=True)))
    .order_by(addresses.c.port_id, addresses.c.position)
)
_ADD = insert(ports).on_conflict_do_nothing()
_BY_ID = select(ports.c.id).where(ports.c.id == bindparam("key"))
_BY_MAC = select(ports.c.id, ports.c.network_id).where(
    ports.c.segment == bindparam("segment"), ports.c.mac_address == bindparam("mac_address")
)


def get(conn: Connection, port_id: str) -> Port:
    """Return a port, or raise NotFound."""
    row = conn.execute(_ONE, {"key": port_id}).first()
    if row is None:
        raise NotFound(f"there is no port {port_id}", type_="PortNotFound")
    return read(conn, [row])[0]


def read(conn: Connection, rows: Collection[Row[Any]]) -> list[Port]:
    """Return the ports of rows of `PORT`, in their order."""
    found: dict[str, list[FixedIp]] = {}
    ids = [row[0] for row in rows]
    for start in range(0, len(ids), AT_ONCE):
        some = ids[start : start + AT_ONCE]
        for port_id, subnet_id, address in conn.execute(_IPS, {"keys": some}).all():
            found.setdefault(port_id, []).append(FixedIp(subnet_id, IPv4Address(address)))
    return [port_of(row, tuple(found.get(row[0], ()))) for row in rows]


_MANAGED = bindings.c.profile.contains('"tap":"managed"', autoescape=True)  # as `packed` writes it
_HOSTS = select(bindings.c.host).where(bindings.c.port_id == bindparam("key"))
# From the few bindings to their ports, not from the many ports of a network.
_PREPARED = select(bindings.c.port_id, bindings.c.host, _MANAGED.label("managed")).where(
    exists(
        select(1).where(
            ports.c.id == bindings.c.port_id,
            ports.c.network_id.in_(bindparam("ids", expanding=True)),
        )
    )
)


def prepared_hosts(conn: Connection, port_id: str) -> list[str]:
    """Return the hosts that are prepared for a port that is bound elsewhere."""
    return [row.host for row in conn.execute(_HOSTS, {"key": port_id})]


def prepared(conn: Connection, network_ids: Collection[str]) -> dict[str, dict[str, bool]]:
    """Return the hosts that ports of networks are prepared for, by port id; True: they make the tap."""
    found: dict[str, dict[str, bool]] = {}
    for port_id, host, managed in conn.execute(_PREPARED, {"ids": list(network_ids)}):
        found.setdefault(port_id, {})[host] = bool(managed)
    return found


def columns_of(port: Port) -> dict[str, Any]:
    """Return what the columns of a port have, its status aside."""
    return {
        "id": port.id,
        "network_id": port.network_id,
        "mac_address": port.mac_address,
        "name": port.name,
        "project_id": port.project_id,
        "description": port.description,
        "admin_state_up": port.admin_state_up,
        "device_id": port.device_id,
        "device_owner": port.device_owner,
        "binding_host": port.binding_host,
        "binding_profile": packed(port.binding_profile),
        "vnic_type": port.vnic_type,
        "port_security_enabled": port.port_security_enabled,
        "allowed_address_pairs": packed(port.allowed_address_pairs),
        "extra_dhcp_opts": packed(port.extra_dhcp_opts),
        "dns_name": port.dns_name,
        "created_at": port.created_at,
        "updated_at": port.updated_at,
    }


def add(
    tx: Tx,
    ground: Ground,
    port: Port,
    *,
    server_of: str | None = None,
    acts_for: str | None = None,
) -> str:
    """Write the row of a new port, with a MAC of its own if it has none; return the MAC.

    Args:
        tx: the transaction.
        ground: its network.
        port: the port.
        server_of: the host whose DHCP server's own it is.
        acts_for: the one project that the caller acts for, who is told; None: any.

    Raises:
        Invalid: there is no such host.
        Conflict: its MAC is in use on the same wire, or its id is.
        Unavailable: no free MAC was found.
    """
    row = columns_of(port) | {
        "segment": ground.segment,
        "server_of": server_of,
        "binding_failed": port.binding_failed,
    }
    if port.mac_address:
        if not _added(tx, row):
            raise mac_in_use(tx, ground.segment, port.mac_address, acts_for)
        return port.mac_address
    settings = tx.settings
    for _ in range(settings.create_unique_mac_address_attempts):
        mac = new_mac(settings.base_mac, lambda: secrets.randbelow(256))
        if _added(tx, row | {"mac_address": mac}):
            return mac
    raise Unavailable(
        f"no free MAC address was found in {settings.create_unique_mac_address_attempts} tries "
        f"with base_mac {settings.base_mac}; try again, or give one",
        type_="MacAddressGenerationFailure",
    )


def _added(tx: Tx, row: dict[str, Any]) -> bool:
    """Write the row, unless its MAC is in use; its network is known to be there."""
    try:
        if tx.conn.execute(_ADD, row).rowcount == 1:
            return True
    except IntegrityError as error:  # the transaction can't go on: no question to the database
        if row["binding_host"] is None:
            raise
        raise networks.no_host(row["binding_host"]) from error
    if tx.conn.execute(_BY_ID, {"key": row["id"]}).first():
        raise Conflict(f"there is a port {row['id']} already")
    return False


def mac_in_use(tx: Tx, segment: str, mac: str, acts_for: str | None) -> Conflict:
    """Return the error that says who has a MAC, as far as the caller may know."""
    row = tx.conn.execute(_BY_MAC, {"segment": segment, "mac_address": mac}).one()
    seen = visible.sees(tx.conn, "port", row.id, acts_for)
    by = f"by port {row.id} of network {row.network_id}, " if seen else ""
    return Conflict(
        f"MAC address {mac} is in use {by}on the same wire; give another, or none to have one made",
        type_="MacAddressInUse",
    )


def concerned(tx: Tx, ground: Ground, hosts: Iterable[str | None]) -> set[str | None]:
    """Return the hosts whose view a port of these binding hosts is in."""
    if ground.overlay or (ground.multi_host and tx.settings.update_dns_entries):
        return {*hosts, *hosts_taking_part(tx.conn, ground.id)}
    return {*hosts, ground.host}
