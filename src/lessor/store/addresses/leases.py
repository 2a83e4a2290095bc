"""Leases, from the events of DHCP servers, and their history."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, bindparam, func, or_, select, update

from lessor.errors import NotFound
from lessor.model import LATEST, Lease, LeaseBatch, LeaseEvent
from lessor.net.address import Address
from lessor.store.addresses.allocation import free
from lessor.store.addresses.trust import ENDS, Trust, latest_end, sift
from lessor.store.engine.dialect import insert
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.listing import Listing
from lessor.store.networks.addressing import hosts_taking_part
from lessor.store.query import Query
from lessor.store.sharing import visible
from lessor.store.tables import addresses, hosts, leases, ports, subnets

LEASE = tuple(
    leases.c[name]
    for name in (
        "id", "network_id", "host", "address", "mac_address", "port_id", "hostname", "client_id",
        "started_at", "expires_at", "renewed_at", "ended_at", "end_reason",
    )
)  # fmt: skip


def lease_of(row: Row[Any]) -> Lease:
    """Read a row of `LEASE`; a DHCP server that begins with it takes no end beyond `LATEST`."""
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    end = values["expires_at"]
    return Lease(**values | {"expires_at": None if end is None else min(end, LATEST)})


_ALIVE = leases.c.ended_at.is_(None)


def _live_at(time: float) -> Any:
    return and_(
        leases.c.started_at <= time,
        or_(leases.c.ended_at.is_(None), leases.c.ended_at > time),
        or_(leases.c.expires_at.is_(None), leases.c.expires_at > time),
    )


def alive_at(now: float) -> ColumnElement[bool]:
    """Return the condition that a lease is alive now."""
    return and_(_ALIVE, or_(leases.c.expires_at.is_(None), leases.c.expires_at > now))


def _visible(project_id: str) -> ColumnElement[bool]:
    """Those of its ports, and those on its networks."""
    own = select(ports.c.id).where(ports.c.project_id == project_id)
    theirs = visible.on_own_network(leases.c.network_id, project_id)
    return or_(leases.c.port_id.in_(own), theirs)


def _listing(now: float) -> Listing:
    alive = alive_at(now)
    return Listing(
        "lease",
        select(*LEASE),
        leases.c.id,
        {column.name: column for column in LEASE},
        {
            "at": lambda times: or_(*(_live_at(float(time)) for time in times)),
            "live": lambda values: or_(*(alive if value else ~alive for value in values)),
        },
        nullable={"port_id": "", "expires_at": 1e18, "ended_at": 1e18},
        visible=_visible,
    )


def get(tx: ReadTx, lease_id: str) -> Lease:
    """Return a lease, or raise NotFound."""
    row = tx.conn.execute(select(*LEASE).where(leases.c.id == lease_id)).first()
    if row is None:
        raise NotFound(f"there is no lease {lease_id}", type_="LeaseNotFound")
    return lease_of(row)


def find(tx: ReadTx, query: Query) -> list[Lease]:
    """Return the leases that a query asks for, those that ended as well."""
    return [lease_of(row) for row in _listing(tx.now).rows(tx, query)]


def live(tx: ReadTx, host: str, network_id: str) -> list[Lease]:
    """Return the live leases of a network that a host takes part in: one for each address.

    Several hosts may have given the same lease, or one address to two MACs in turn: the
    last event counts.

    Raises:
        NotFound: there is no such network, or the host takes no part in it.
    """
    if host not in hosts_taking_part(tx, network_id):
        raise NotFound(
            f"host {host} takes no part in a network {network_id}", type_="NetworkNotFound"
        )
    query = Query({"network_id": (network_id,), "live": (True,)}, (("renewed_at", False),))
    return list({lease.address: lease for lease in find(tx, query)}.values())


# --- events of DHCP servers -----------------------------------------------------------------------

_SPOOL = select(hosts.c.spool_epoch, hosts.c.spool_seq).where(
    hosts.c.name == bindparam("host_name")
)
_NOTE = (
    update(hosts)
    .where(hosts.c.name == bindparam("host_name"))
    .values(spool_epoch=bindparam("epoch"), spool_seq=bindparam("seq"))
)


def apply(tx: Tx, host: str, batch: LeaseBatch) -> int:
    """Write the lease events of a host's DHCP servers; each (epoch, seq) counts once.

    Events that are not the host's to report are passed over, and count as written: see `trust`.

    Returns:
        The last seq of this spool that is written.

    Raises:
        NotFound: there is no such host.
    """
    known = tx.conn.execute(_SPOOL, {"host_name": host}).first()
    if known is None:
        raise NotFound(f"there is no host {host}", type_="HostNotFound")
    last = known.spool_seq if known.spool_epoch == batch.epoch else 0
    fresh = [event for event in batch.events if event.seq > last]
    sifted = sift(tx, Trust(tx, host), fresh)
    for event in sifted.fit:
        if event.action == ENDS:
            _close(tx, host, event)
        else:
            _open(tx, host, event)
    sifted.log_passed_over(host)
    if batch.snapshot and (fresh or not batch.events):
        _end_others(tx, host, batch.events)
    seq = max([last, *(event.seq for event in fresh)])
    tx.conn.execute(_NOTE, {"host_name": host, "epoch": batch.epoch, "seq": seq})
    return int(seq)


def snapshot(tx: Tx, host: str, live: Iterable[LeaseEvent], trust: Trust) -> list[LeaseEvent]:
    """Take all live leases of a host's DHCP servers, whatever was counted of its spool.

    Returns:
        Those that are the host's to report.

    Raises:
        NotFound: there is no such host.
    """
    known = tx.conn.execute(_SPOOL, {"host_name": host}).first()
    if known is None:
        raise NotFound(f"there is no host {host}", type_="HostNotFound")
    named = [*live]
    sifted = sift(tx, trust, named)
    for event in sifted.fit:
        if not tx.conn.execute(_SAME, _key(host, event) | {"expiry": event.expires_at}).first():
            _open(tx, host, event)
    _end_others(tx, host, named)
    sifted.log_passed_over(host)
    return sifted.fit


_KEY: dict[str, Any] = {
    name: bindparam(f"the_{name}", type_=leases.c[name].type)
    for name in ("network_id", "host", "address", "mac_address")
}
_THIS = and_(*(leases.c[name] == param for name, param in _KEY.items()), _ALIVE)
_RENEW = (
    update(leases)
    .where(_THIS)
    .values(
        expires_at=bindparam("new_expiry"),
        renewed_at=bindparam("at"),
        # a port deleted since stays here, as the holder of the address at that time
        port_id=func.coalesce(bindparam("port"), leases.c.port_id),
        hostname=bindparam("name"),
        client_id=bindparam("client"),
    )
)
_SAME = select(1).where(_THIS, leases.c.expires_at == bindparam("expiry"))
_ADD = insert(leases)
_SUPERSEDE = (
    update(leases)
    .where(
        leases.c.network_id == _KEY["network_id"],
        leases.c.host == _KEY["host"],
        leases.c.address == _KEY["address"],
        leases.c.mac_address != _KEY["mac_address"],
        _ALIVE,
    )
    .values(ended_at=bindparam("at"), end_reason="superseded")
)
_OWNER = (
    select(addresses.c.port_id, ports.c.mac_address)
    .select_from(addresses.outerjoin(ports, ports.c.id == addresses.c.port_id))
    .where(addresses.c.network_id == _KEY["network_id"], addresses.c.address == _KEY["address"])
)
_UNFREE = (
    update(addresses)
    .where(
        addresses.c.network_id == _KEY["network_id"],
        addresses.c.address == _KEY["address"],
        addresses.c.freed_seq.is_not(None),
    )
    .values(
        freed_seq=None,
        mac=_KEY["mac_address"],
        let_go_at=bindparam("at"),
        updated_at=bindparam("at"),
    )
)
_SUBNET = select(subnets.c.id).where(
    subnets.c.network_id == _KEY["network_id"],
    subnets.c.first <= _KEY["address"],
    subnets.c.last >= _KEY["address"],
)


def _key(host: str, event: LeaseEvent) -> dict[str, Any]:
    return {
        "the_network_id": event.network_id,
        "the_host": host,
        "the_address": event.address,
        "the_mac_address": event.mac_address,
    }


def _without(key: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name not in names}


def _open(tx: Tx, host: str, event: LeaseEvent) -> None:
    """Open or renew a lease. An address without a port is not allocated until the lease ends."""
    key = _key(host, event)
    at = event.at or tx.now
    spot = _without(key, "the_host", "the_mac_address")
    owner = tx.conn.execute(_OWNER, spot).first()
    port_id = owner.port_id if owner and owner.mac_address == event.mac_address else None
    event = replace(event, expires_at=_end_of(tx, host, event))
    renewal = {
        "new_expiry": event.expires_at,
        "at": at,
        "port": port_id,
        "name": event.hostname,
        "client": event.client_id,
    }
    if not tx.conn.execute(_RENEW, key | renewal).rowcount:
        tx.conn.execute(_SUPERSEDE, key | {"at": at})
        tx.conn.execute(_ADD, _row(host, event, at, port_id))
    if owner is None:
        keep_away(tx, event.network_id, event.address, event.mac_address)
    elif owner.port_id is None:
        tx.conn.execute(_UNFREE, _without(key, "the_host") | {"at": tx.now})


def _end_of(tx: Tx, host: str, event: LeaseEvent) -> float | None:
    """Return when a lease ends: as reported, but no later than one that is given now.

    An end that was noted before counts again: dhcp_lease_time may have been longer then.
    """
    latest, reported = latest_end(tx.settings, tx.now), event.expires_at
    if latest is None or (reported is not None and reported <= latest):
        return reported
    known = tx.conn.execute(_FIND, _key(host, event)).first()
    if known is None or (
        known.expires_at is not None and (reported or math.inf) > known.expires_at
    ):
        return latest
    return reported


def _row(host: str, event: LeaseEvent, at: float, port_id: str | None) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "network_id": event.network_id,
        "host": host,
        "address": event.address,
        "mac_address": event.mac_address,
        "port_id": port_id,
        "hostname": event.hostname,
        "client_id": event.client_id,
        "started_at": at,
        "renewed_at": at,
        "expires_at": event.expires_at,
    }


def keep_away(tx: Tx, network_id: str, address: Address, mac: str) -> bool:
    """Make a row for an address in use without one; False: it is in no subnet."""
    spot = {"the_network_id": network_id, "the_address": address}
    subnet_id = tx.conn.execute(_SUBNET, spot).scalar()
    if subnet_id is None:
        return False
    row = {
        "network_id": network_id,
        "address": address,
        "subnet_id": subnet_id,
        "mac": mac,
        "let_go_at": tx.now,
        "updated_at": tx.now,
    }
    tx.conn.execute(insert(addresses).on_conflict_do_nothing(), row)
    return True


_FIND = select(leases.c.id, leases.c.expires_at).where(_THIS)
_END = (
    update(leases)
    .where(leases.c.id == bindparam("lease"))
    .values(ended_at=bindparam("at"), end_reason=bindparam("reason"))
)


def _close(tx: Tx, host: str, event: LeaseEvent) -> None:
    """End the lease of this MAC: a new owner of the address is not concerned (A7.5)."""
    lease = tx.conn.execute(_FIND, _key(host, event)).first()
    if lease is None:
        return
    at = event.at or tx.now
    over = lease.expires_at is not None and lease.expires_at <= at
    _end(tx, lease.id, at, "expired" if over else "released")
    free(tx, event.network_id, event.address)


def _end(tx: Tx, lease_id: str, at: float, reason: str) -> None:
    tx.conn.execute(_END, {"lease": lease_id, "at": at, "reason": reason})


def _end_others(tx: Tx, host: str, named: Iterable[LeaseEvent]) -> None:
    """End the leases of a host that its DHCP servers no longer know.

    A client may use such a lease until it expires, so its address is not allocated before.
    """
    kept = {(e.network_id, e.address, e.mac_address) for e in named if e.action != "del"}
    alive = select(
        leases.c.id,
        leases.c.network_id,
        leases.c.address,
        leases.c.mac_address,
        leases.c.expires_at,
    ).where(leases.c.host == host, _ALIVE)
    for row in tx.conn.execute(alive).all():
        if (row.network_id, row.address, row.mac_address) in kept:
            continue
        over = row.expires_at is not None and row.expires_at <= tx.now
        _end(tx, row.id, tx.now, "expired" if over else "superseded")
        if not over:
            _wait(tx, row)
        free(tx, row.network_id, row.address)


def _wait(tx: Tx, row: Any) -> None:
    until = row.expires_at or tx.now + tx.settings.dhcp_lease_time
    here = addresses.c.network_id == row.network_id, addresses.c.address == row.address
    unowned = addresses.c.port_id.is_(None), addresses.c.reserved_as.is_(None)
    tx.conn.execute(update(addresses).where(*here, *unowned).values(not_before=until))


def release(tx: Tx, lease_id: str) -> None:
    """End a lease at an operator's request.

    The record ends with the reason `operator`. If no port has the address any more, the
    operator confirms that its client has left, and the address is freed as soon as no DHCP server
    serves it. If a port still has it, nothing else changes: the VM keeps its address, and
    its next renewal opens a new record.

    Raises:
        NotFound: there is no such lease.
    """
    lease = get(tx, lease_id)
    if lease.ended_at is None:
        _end(tx, lease.id, tx.now, "operator")
    here = addresses.c.network_id == lease.network_id, addresses.c.address == lease.address
    gone = addresses.c.port_id.is_(None), addresses.c.mac == lease.mac_address
    tx.conn.execute(update(addresses).where(*here, *gone).values(not_before=None))
    free(tx, lease.network_id, lease.address)
