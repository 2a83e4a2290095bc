"""Row counts for monitoring: counts only, no rows are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, func, select

from lessor.store.addresses.leases import alive_at
from lessor.store.engine.tx import ReadTx
from lessor.store.tables import hosts, leases, networks, nova_events, ports


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Numbers of rows: `hosts_in_sync` at their last report, `nova_events` not sent yet."""

    hosts: int
    hosts_alive: int
    hosts_in_sync: int
    networks: int
    ports: int
    leases_live: int
    nova_events: int


def read(tx: ReadTx) -> RowCounts:
    """Count the rows."""
    last, since = tx.fleet.heartbeats.last, tx.alive_since
    known = tx.conn.execute(select(hosts.c.name, hosts.c.heartbeat_at).where(hosts.c.added)).all()
    return RowCounts(
        hosts=len(known),
        hosts_alive=sum(last(name, stored) > since for name, stored in known),
        hosts_in_sync=_count(tx, hosts.c.name, hosts.c.in_sync),
        networks=_count(tx, networks.c.id),
        ports=_count(tx, ports.c.id),
        leases_live=_count(tx, leases.c.id, alive_at(tx.now)),
        nova_events=_count(tx, nova_events.c.id),
    )


def _count(tx: ReadTx, column: ColumnElement[Any], *where: ColumnElement[bool]) -> int:
    return tx.conn.execute(select(func.count(column)).where(*where)).scalar_one()
