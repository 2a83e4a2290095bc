"""Networks that DHCP hosts report they can't serve, and the moves of DHCP servers.

A host that reports so for `dhcp_down_time` is treated as dead for that network
(`dhcp_candidates`). It gets no DHCP server of the network again for `RECENT_S`, so that two hosts
which both fail don't pass it to and fro.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, delete, select

from lessor.model import DhcpMove
from lessor.store.engine.dialect import insert
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.tables import dhcp_moves, unserved

RECENT_S = 600.0
MAXIMUM = 5000  # networks of a host
MAXIMUM_TEXT = 300  # characters

Pair = tuple[str, str]  # a host's name, a network's id

_PUT = insert(unserved)
_PUT = _PUT.on_conflict_do_update(
    index_elements=["host", "network_id"], set_={"reason": _PUT.excluded.reason}
)
_GONE = delete(unserved).where(
    unserved.c.host == bindparam("host_name"),
    unserved.c.network_id.in_(bindparam("keys", expanding=True)),
)
_OF_HOST = select(unserved.c.network_id).where(unserved.c.host == bindparam("host_name"))
_ALL = select(unserved.c.host, unserved.c.network_id, unserved.c.reason, unserved.c.since)
_MOVED = insert(dhcp_moves)
_MOVED = _MOVED.on_conflict_do_update(
    index_elements=["network_id", "source"],
    set_={name: _MOVED.excluded[name] for name in ("target", "reason", "unable", "moved_at")},
)
_RECENT = select(
    dhcp_moves.c.network_id,
    dhcp_moves.c.source,
    dhcp_moves.c.target,
    dhcp_moves.c.reason,
    dhcp_moves.c.unable,
    dhcp_moves.c.moved_at,
).where(dhcp_moves.c.moved_at > bindparam("since"))


def record(tx: Tx, host: str, reasons: Mapping[str, str]) -> None:
    """Write why a host can't serve networks, by their ids; others it serves again."""
    known = {row[0] for row in tx.conn.execute(_OF_HOST, {"host_name": host})}
    if gone := sorted(known - reasons.keys()):
        tx.conn.execute(_GONE, {"host_name": host, "keys": gone})
    rows = [
        {"host": host, "network_id": key, "reason": reason[:MAXIMUM_TEXT], "since": tx.now}
        for key, reason in sorted(reasons.items())[:MAXIMUM]
    ]
    if rows:
        tx.conn.execute(_PUT, rows)


def reasons(tx: ReadTx, until: float) -> dict[Pair, str]:
    """Return why hosts can't serve networks, as far as they have reported it since `until`."""
    return {
        (row.host, row.network_id): row.reason
        for row in tx.conn.execute(_ALL)
        if row.since <= until
    }


def record_move(tx: Tx, move: DhcpMove) -> None:
    """Record the automatic move of a DHCP server."""
    tx.conn.execute(
        _MOVED,
        {
            "network_id": move.network_id,
            "source": move.source,
            "target": move.target,
            "reason": move.reason[:MAXIMUM_TEXT],
            "unable": move.unable,
            "moved_at": tx.now,
        },
    )


def moves(tx: ReadTx) -> list[DhcpMove]:
    """Return the moves of the last `RECENT_S`, oldest first."""
    rows = tx.conn.execute(_RECENT, {"since": tx.now - RECENT_S})
    found = [DhcpMove(**row._asdict()) for row in rows]
    return sorted(found, key=lambda move: (move.moved_at, move.network_id))


def purge(tx: Tx) -> None:
    """Delete older moves."""
    tx.conn.execute(delete(dhcp_moves).where(dhcp_moves.c.moved_at <= tx.now - RECENT_S))
