"""Frees addresses whose leases have certainly ended, and deletes old history."""

from __future__ import annotations

from typing import Any

from sqlalchemy import and_, bindparam, case, delete, func, or_, select, update

from lessor.settings import ServerSettings
from lessor.store.address_column import AddressColumn
from lessor.store.addresses.allocation import free
from lessor.store.addresses.trust import LEAST_LEASE_S
from lessor.store.engine.tx import Tx
from lessor.store.hosts import unknown as unknownhosts
from lessor.store.hosts import unserved_networks
from lessor.store.tables import addresses, holds, leases, networks, tombstones

AT_ONCE = 2000  # addresses in one transaction
TOMBSTONES_S = 7 * 86400  # an agent that was away for longer takes whole scopes
DAY_S = 86400

_EACH = and_(leases.c.network_id == addresses.c.network_id, leases.c.address == addresses.c.address)
_ALIVE = leases.c.ended_at.is_(None)
_EXPIRES = select(func.max(leases.c.expires_at)).where(_EACH, _ALIVE).scalar_subquery()
_NEVER = select(func.count()).where(_EACH, _ALIVE, leases.c.expires_at.is_(None)).scalar_subquery()
_HELD = (
    select(func.count())
    .where(holds.c.network_id == addresses.c.network_id, holds.c.address == addresses.c.address)
    .scalar_subquery()
)
_NOW: Any = bindparam("now")
_LEASE_S: Any = bindparam("lease_s")
_REST_S: Any = bindparam("rest_s")
_OVER = (
    select(addresses.c.network_id, addresses.c.address)
    .where(
        addresses.c.port_id.is_(None),
        addresses.c.freed_seq.is_(None),
        addresses.c.reserved_as.is_(None),
        addresses.c.let_go_at <= _NOW - _REST_S,
        _NEVER == 0,
        func.coalesce(_EXPIRES, 0) <= _NOW,
        func.coalesce(addresses.c.not_before, 0) <= _NOW,
        case((_HELD > 0, addresses.c.let_go_at + _LEASE_S), else_=0) <= _NOW,
    )
    .order_by(addresses.c.let_go_at)
    .limit(AT_ONCE)
)


def time_out(tx: Tx) -> int:
    """Free addresses whose last lease has certainly ended, and return how many.

    Certain is: the last expiry that a client got is over; if a host has not yet reported that it no
    longer serves the address, also the longest lease that it can have given since the port let the
    address go. And it is never sooner than fixed_ip_disassociate_timeout (A7.6).
    """
    settings = tx.settings
    times = {
        "now": tx.now,
        "lease_s": _longest_lease_s(settings),
        "rest_s": settings.fixed_ip_disassociate_timeout,
    }
    rows = tx.conn.execute(_OVER, times).all()
    for network_id, address in rows:
        tx.conn.execute(_EXPIRE, {"network": network_id, "addr": address, "now": tx.now})
        tx.conn.execute(_LIFT, {"network": network_id, "addr": address})
        free(tx, network_id, address)
    return len(rows)


def _longest_lease_s(settings: ServerSettings) -> int:
    return max(settings.dhcp_lease_time, LEAST_LEASE_S)


_EXPIRE = (
    update(leases)
    .where(
        leases.c.network_id == bindparam("network"),
        leases.c.address == bindparam("addr", type_=AddressColumn()),
        _ALIVE,
    )
    .values(ended_at=bindparam("now"), end_reason="expired")
)
_LIFT = delete(holds).where(
    holds.c.network_id == bindparam("network"),
    holds.c.address == bindparam("addr", type_=AddressColumn()),
)


def purge(tx: Tx) -> None:
    """Delete old lease history, old tombstones, and holds that time has lifted."""
    old = tx.now - tx.settings.lease_history_days * DAY_S
    tx.conn.execute(
        delete(leases).where(or_(leases.c.ended_at < old, and_(_ALIVE, leases.c.expires_at < old)))
    )
    _purge_tombstones(tx)
    unserved_networks.purge(tx)
    unknownhosts.forget(tx)
    in_use = select(1).where(
        addresses.c.network_id == holds.c.network_id,
        addresses.c.address == holds.c.address,
        addresses.c.port_id.is_(None),
        addresses.c.freed_seq.is_(None),
    )
    late = holds.c.made_at < tx.now - _longest_lease_s(tx.settings)
    tx.conn.execute(delete(holds).where(late, ~in_use.exists()))


def _purge_tombstones(tx: Tx) -> None:
    """Delete old tombstones; each network records the revision up to which it has none."""
    old = tombstones.c.made_at < tx.now - TOMBSTONES_S
    floors = select(tombstones.c.network_id, func.max(tombstones.c.revision)).where(old)
    for network_id, floor in tx.conn.execute(floors.group_by(tombstones.c.network_id)).all():
        tx.conn.execute(
            update(networks).where(networks.c.id == network_id).values(floor_revision=floor)
        )
    tx.conn.execute(delete(tombstones).where(old))
