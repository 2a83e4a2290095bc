"""Reports of an overlay network's DHCP hosts: a port is served if any host serves it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, delete, exists, null, select, update

from lessor.model import PortReport
from lessor.store.engine.dialect import insert
from lessor.store.engine.tx import Tx
from lessor.store.tables import ports, serving

_PUT = insert(serving)
_PUT = _PUT.on_conflict_do_update(
    index_elements=["port_id", "host"],
    set_={"served": _PUT.excluded.served, "pending": _PUT.excluded.pending},
)
_REPORTS = (
    select(serving.c.served, serving.c.pending)
    .where(serving.c.port_id == bindparam("port"))
    .order_by(serving.c.host)
)
_SERVER = ports.alias("server")


def serves(host: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition that a host has a DHCP server's port of a port's network."""
    return exists(
        select(1).where(
            _SERVER.c.network_id == ports.c.network_id,
            _SERVER.c.server_of.is_not(None),
            _SERVER.c.server_of == host,
        )
    )


def record(tx: Tx, port_id: str, host: str, state: PortReport) -> dict[str, Any]:
    """Write the report of a DHCP host on a port; return the port's resulting columns."""
    row = {"port_id": port_id, "host": host, "served": state.served, "pending": state.pending}
    tx.conn.execute(_PUT, row)
    rows = tx.conn.execute(_REPORTS, {"port": port_id}).all()
    served = any(row.served for row in rows)
    texts = "; ".join(dict.fromkeys(row.pending for row in rows if row.pending))
    return {"served": served, "served_pending": "" if served else texts}


def forget_port(tx: Tx, port_id: str) -> None:
    """Delete the reports on a port that was changed."""
    tx.conn.execute(delete(serving).where(serving.c.port_id == port_id))


_OF_PORT = serving.c.port_id == ports.c.id
_ANY = exists(select(1).where(_OF_PORT))
_SERVED = exists(select(1).where(_OF_PORT, serving.c.served))


def forget_host(tx: Tx, network_id: str, host: str) -> None:
    """Delete the reports of a host that no longer serves a network."""
    here = select(ports.c.id).where(ports.c.network_id == network_id)
    gone = and_(serving.c.host == host, serving.c.port_id.in_(here))
    tx.conn.execute(delete(serving).where(gone))
    left = case((_SERVED, True), (_ANY, False), else_=null())
    known = and_(ports.c.network_id == network_id, ports.c.served.is_not(None))
    tx.conn.execute(update(ports).where(known).values(served=left, served_pending=""))
