"""Moves DHCP servers of overlay networks away from hosts that can't serve them.

Each call runs as many transactions as it takes; `dhcp_scheduler` has the rules.
"""

from __future__ import annotations

from collections import Counter

import structlog

from lessor.model import Host
from lessor.store.engine import recovery
from lessor.store.engine.access import Database
from lessor.store.engine.tx import ReadTx
from lessor.store.hosts import dhcp_candidates, dhcp_scheduler
from lessor.store.hosts import rules as hosts
from lessor.store.values import HostValues

log = structlog.get_logger("lessor.store")


def place(db: Database) -> None:
    """Place the DHCP servers that networks lack, once for each newly able host."""
    able = db.read(_able)
    if able is None:
        return
    if able - db.fleet.able:
        while db.write(dhcp_scheduler.fill):
            pass
    db.fleet.able = able


def _able(tx: ReadTx) -> frozenset[str] | None:
    if recovery.is_on(tx.conn):  # a server needs an address
        return None
    return dhcp_candidates.read(tx).able


def watch(db: Database) -> None:
    """Move DHCP servers away from dead hosts; called about every second.

    Every server watches, so that each is ready to take over; the one that keeps house moves.
    """
    if db.peers.several:
        write_heartbeats(db)
    place(db)
    may_move = db.fleet.silence.look(db.clock(), disturbed=db.peers.departed())
    if may_move and db.peers.keeps and db.read(dhcp_scheduler.stranded):
        _move(db)


def update_host(db: Database, name: str, values: HostValues) -> Host:
    """Change a host; one that is taken down hands its DHCP servers to others."""
    db.write(hosts.change, name, values)
    if values.get("admin_state_up") is False:
        _move(db, name)
    return db.read(hosts.get, name)


def _move(db: Database, only: str | None = None) -> None:
    while moves := db.write(dhcp_scheduler.fail_over, only):
        counts = Counter((m.source, m.target, m.reason) for m in moves)
        for (source, target, reason), count in counts.items():
            log.warning(
                "dhcp servers moved", source=source, target=target, networks=count, reason=reason
            )


def write_heartbeats(db: Database) -> None:
    """Write the heartbeats that are new."""
    heartbeats = db.fleet.heartbeats
    if heartbeats.unwritten:
        heartbeats.mark_written(db.write(heartbeats.write))
