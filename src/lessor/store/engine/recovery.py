"""The time after a restore, until all hosts have reported which addresses are in use there.

A restored database lacks the ports that were made after its copy, and their addresses look free.
So none is given out before every host that ever reported has sent its holdings (the ports that its
last view had, and the live leases), or `agent_down_time` is over. What a host holds and no port
owns is `releasing` from then on: until that host has applied the new view, and the lease is over.
Why so, and what of hosts that are silent: docs/decisions/0012.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from sqlalchemy import Connection, select, update

from lessor.errors import Unavailable
from lessor.store.engine import notes
from lessor.store.engine.tx import Tx
from lessor.store.networks.addressing import RECOVERY, NetworkAddressing
from lessor.store.tables import hosts

SHOWN = 5  # hosts that a refusal names
NOT_STARTED = "0"  # no server has started since the restore

log = structlog.get_logger("lessor.store")

_AWAITED = select(hosts.c.name).where(hosts.c.awaited).order_by(hosts.c.name)


def begin(conn: Connection) -> None:
    """Await all hosts that ever reported, after a new epoch."""
    seen = hosts.c.heartbeat_at.is_not(None)
    if conn.execute(update(hosts).where(seen).values(awaited=True)).rowcount:
        notes.remember(conn, RECOVERY, NOT_STARTED)


def is_on(conn: Connection) -> bool:
    """Tell whether hosts are awaited."""
    return bool(notes.remembered(conn, RECOVERY))


def awaits(conn: Connection, host: str) -> bool:
    """Tell whether a host has not sent its holdings since the restore, however long that is ago."""
    return conn.execute(_AWAITED.where(hosts.c.name == host)).first() is not None


def started(conn: Connection, now: float) -> None:
    """Count the time from now: a server starts, and hosts can report."""
    if is_on(conn):
        notes.remember(conn, RECOVERY, str(now))


def check(tx: Tx, network: NetworkAddressing) -> None:
    """Raise Unavailable while a network's addresses may be in use by VMs that the store lost."""
    if not network.recovery:
        return
    since = float(network.recovery) or tx.now
    until = since + tx.settings.agent_down_time
    if tx.now >= until:
        return
    names = tx.conn.execute(_AWAITED).scalars().all()
    at = time.strftime("%H:%M:%S UTC", time.gmtime(until))
    raise Unavailable(
        "no address can be given out yet: the database was restored, and "
        f"{_named(names)} not yet reported which addresses are in use; try again in some "
        f"seconds, at {at} at the latest"
    )


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    noun, have = ("host", "has") if len(names) == 1 else ("hosts", "have")
    return f"{noun} {', '.join(names[:SHOWN])}{more} {have}"


def end_in_time(tx: Tx) -> None:
    """End the wait for hosts that are silent for too long."""
    noted = notes.remembered(tx.conn, RECOVERY)
    if not noted:
        return
    since = float(noted)
    if not since:
        notes.remember(tx.conn, RECOVERY, str(tx.now))
    elif tx.now >= since + tx.settings.agent_down_time:
        names = tx.conn.execute(_AWAITED).scalars().all()
        notes.forget(tx.conn, RECOVERY)
        log.warning("addresses are given out again", silent=names)


def reported(tx: Tx, host: str) -> None:
    """Note that a host has sent its holdings; after the last one addresses are given out again."""
    tx.conn.execute(update(hosts).where(hosts.c.name == host).values(awaited=False))
    if is_on(tx.conn) and not tx.conn.execute(_AWAITED.limit(1)).first():
        notes.forget(tx.conn, RECOVERY)
        log.info("addresses are given out again", silent=[])
