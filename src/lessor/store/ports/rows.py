"""Rows of ports: written and read. `rules` has the rules."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import Row, bindparam, case, exists, func, literal_column, or_, select
from sqlalchemy.exc import IntegrityError

from lessor.errors import Conflict, NotFound, Unavailable
from lessor.model import AddressPair, DhcpOption, FixedIp, Port
from lessor.net.keys import address_of
from lessor.net.macs import new_mac
from lessor.store.address_column import raw
from lessor.store.columns import decoder, listed, mapped, packed
from lessor.store.engine.dialect import among, insert
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.networks.addressing import NetworkAddressing, hosts_taking_part, no_host
from lessor.store.sharing import visible
from lessor.store.tables import addresses, bindings, ports, subnets

_PROFILE = decoder(dict[str, Any])
_PAIRS = decoder(tuple[AddressPair, ...])
_OPTIONS = decoder(tuple[DhcpOption, ...])

# ACTIVE: all hosts with a part in the port have reported it ready (semantics.md B12, B23). A value,
# no EXISTS: to answer that for a page of 100 ports PostgreSQL reads all addresses there are.
_BY_DHCP = (
    select(addresses.c.address)
    .select_from(addresses.join(subnets, subnets.c.id == addresses.c.subnet_id))
    .where(addresses.c.port_id == ports.c.id, subnets.c.enable_dhcp)
    .limit(1)
    .correlate(ports)
    .scalar_subquery()
)
_SERVED = (
    func.coalesce(ports.c.served, False)
    | _BY_DHCP.is_(None)
    | func.coalesce(ports.c.server_of > "", False)
)
STATUS = case(
    (or_(ports.c.binding_host.is_(None), ~ports.c.admin_state_up), "DOWN"),
    (ports.c.wired & _SERVED, "ACTIVE"),
    (ports.c.wired.is_not(None) | ports.c.served.is_not(None), "BUILD"),
    else_="DOWN",
).label("status")

PORT = (
    *(
        ports.c[name]
        for name in (
            "id", "network_id", "mac_address", "name", "project_id", "description",
            "admin_state_up", "device_id", "device_owner", "binding_host", "binding_profile",
            "vnic_type", "port_security_enabled", "allowed_address_pairs", "extra_dhcp_opts",
            "dns_name", "wired_pending", "served_pending", "revision", "created_at", "updated_at",
        )
    ),
    STATUS,
    ports.c.binding_failed,
    ports.c.wired,
    _SERVED.label("is_served"),
)  # fmt: skip


def awaited(host: str | None, wiring: str | None, serving: str | None) -> str:
    """Return what a port waits for.

    Args:
        host: its binding host; None: it waits for nothing.
        wiring: the reason that its host reports, "" without one; None: it is wired.
        serving: the reason that DHCP hosts report, "" without one; None: it is served.
    """
    if host is None:
        return ""
    reasons = []
    if wiring is not None:
        reasons.append(wiring or f"not wired on host {host} yet")
    if serving is not None:
        reasons.append(serving or "no DHCP server has its reservation yet")
    return "; ".join(dict.fromkeys(reasons))


def port_of(row: Row[Any], fixed_ips: tuple[FixedIp, ...]) -> Port:
    """Read a row of `PORT`; its addresses are rows of their own."""
    (
        row_id, network_id, mac, name, project_id, description, admin_up, device_id, owner, host,
        profile, vnic_type, security, pairs, options, dns_name, wired_pending, served_pending,
        revision, created_at, updated_at, status, failed, wired, served, *_,
    ) = tuple(row)  # fmt: skip
    pending = awaited(
        host if admin_up else None,
        None if wired else wired_pending,
        None if served else served_pending,
    )
    return Port(
        id=row_id,
        network_id=network_id,
        mac_address=mac,
        name=name,
        project_id=project_id,
        description=description,
        admin_state_up=admin_up,
        status=status,
        fixed_ips=fixed_ips,
        device_id=device_id,
        device_owner=owner,
        binding_host=host,
        binding_profile=mapped(profile, _PROFILE),
        binding_failed=failed,
        vnic_type=vnic_type,
        port_security_enabled=security,
        allowed_address_pairs=listed(pairs, _PAIRS),
        extra_dhcp_opts=listed(options, _OPTIONS),
        dns_name=dns_name,
        pending=pending,
        revision=revision,
        created_at=created_at,
        updated_at=updated_at,
    )


SELECT = select(*PORT)
# As the index has it: a partial index is used only where its condition is a query's, too.
HAS_DEVICE = ports.c.device_id != literal_column("''")
_ONE = SELECT.where(ports.c.id == bindparam("key"))
_IPS = (
    select(addresses.c.port_id, addresses.c.subnet_id, raw(addresses.c.address))
    .where(among(addresses.c.port_id, "keys"))
    .order_by(addresses.c.port_id, addresses.c.position)
)
_ADD = insert(ports).on_conflict_do_nothing()
_BY_ID = select(ports.c.id).where(ports.c.id == bindparam("key"))
_BY_MAC = select(ports.c.id, ports.c.network_id).where(
    ports.c.segment == bindparam("segment"), ports.c.mac_address == bindparam("mac_address")
)


def get(tx: ReadTx, port_id: str) -> Port:
    """Return a port, or raise NotFound."""
    row = tx.conn.execute(_ONE, {"key": port_id}).first()
    if row is None:
        raise NotFound(f"there is no port {port_id}", type_="PortNotFound")
    return read(tx, [row])[0]


def read(tx: ReadTx, rows: Collection[Row[Any]]) -> list[Port]:
    """Return the ports of rows of `PORT`, in their order."""
    found: dict[str, list[FixedIp]] = {}
    keys = [row[0] for row in rows]
    for port_id, subnet_id, key in tx.conn.execute(_IPS, {"keys": keys}).all():
        address: Any = address_of(key)
        found.setdefault(port_id, []).append(FixedIp(subnet_id, address))
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


def prepared_hosts(tx: ReadTx, port_id: str) -> list[str]:
    """Return the hosts that are prepared for a port that is bound elsewhere."""
    return [row.host for row in tx.conn.execute(_HOSTS, {"key": port_id})]


def prepared(tx: ReadTx, network_ids: Collection[str]) -> dict[str, dict[str, bool]]:
    """Return the hosts that ports are prepared for, by port id; True: they make the tap."""
    found: dict[str, dict[str, bool]] = {}
    for port_id, host, managed in tx.conn.execute(_PREPARED, {"ids": list(network_ids)}):
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
    network: NetworkAddressing,
    port: Port,
    *,
    server_of: str | None = None,
    acts_for: str | None = None,
) -> str:
    """Write the row of a new port, with a MAC of its own if it has none; return the MAC.

    Args:
        tx: the transaction.
        network: its network.
        port: the port.
        server_of: the host whose DHCP server's own it is.
        acts_for: the one project that the caller acts for, which errors may name; None: any.

    Raises:
        Invalid: there is no such host.
        Conflict: its MAC is in use on the same wire, or its id is.
        Unavailable: no free MAC was found.
    """
    row = columns_of(port) | {
        "segment": network.segment,
        "server_of": server_of,
        "binding_failed": port.binding_failed,
    }
    if port.mac_address:
        if not _added(tx, row):
            raise mac_in_use(tx, network.segment, port.mac_address, acts_for)
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
        raise no_host(row["binding_host"]) from error
    if tx.conn.execute(_BY_ID, {"key": row["id"]}).first():
        raise Conflict(f"there is a port {row['id']} already")
    return False


def mac_in_use(tx: Tx, segment: str, mac: str, acts_for: str | None) -> Conflict:
    """Return the error that a MAC is in use, with its owner as far as the caller may know."""
    row = tx.conn.execute(_BY_MAC, {"segment": segment, "mac_address": mac}).one()
    seen = visible.sees(tx, "port", row.id, acts_for)
    by = f"by port {row.id} of network {row.network_id}, " if seen else ""
    return Conflict(
        f"MAC address {mac} is in use {by}on the same wire; give another, or none to have one made",
        type_="MacAddressInUse",
    )


def concerned(tx: Tx, network: NetworkAddressing, hosts: Iterable[str | None]) -> set[str | None]:
    """Return the hosts whose view a port of these binding hosts is in."""
    if network.overlay or (network.multi_host and tx.settings.update_dns_entries):
        return {*hosts, *hosts_taking_part(tx, network.id)}
    return {*hosts, network.host}
