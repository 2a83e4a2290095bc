"""How much of everything there is, for who watches the server: counted, never read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from lessor.store.addresses.leases import alive_at
from lessor.store.tables import hosts, leases, networks, nova_events, ports


@dataclass(frozen=True, slots=True)
class Census:
    """Numbers of rows. `hosts_in_sync` said so at their last report; `nova_events` wait to be told."""

    hosts: int
    hosts_alive: int
    hosts_in_sync: int
    networks: int
    ports: int
    leases_live: int
    nova_events: int


def take(conn: Connection, beats: Mapping[str, float], since: float, now: float) -> Census:
    """Count.

    Args:
        conn: a connection that sees one state of the database.
        beats: the heartbeats that may not be in the database yet, by host.
        since: hosts without a heartbeat after it are dead.
        now: the time.
    """
    fresh = {name for name, at in beats.items() if at > since}
    told = conn.execute(
        select(hosts.c.name, hosts.c.heartbeat_at > since).where(hosts.c.added)
    ).all()
    return Census(
        hosts=len(told),
        hosts_alive=sum(bool(late) or name in fresh for name, late in told),
        hosts_in_sync=_count(conn, hosts.c.name, hosts.c.in_sync),
        networks=_count(conn, networks.c.id),
        ports=_count(conn, ports.c.id),
        leases_live=_count(conn, leases.c.id, alive_at(now)),
        nova_events=_count(conn, nova_events.c.id),
    )


def _count(conn: Connection, column: ColumnElement[Any], *where: ColumnElement[bool]) -> int:
    return conn.execute(select(func.count(column)).where(*where)).scalar_one()
