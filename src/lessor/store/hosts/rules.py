"""Rules of hosts. `reports` has those of their agents' reports."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from functools import partial
from typing import Any

from sqlalchemy import Row, bindparam, case, delete, func, insert, select, update

from lessor.errors import Conflict, InUse, NotFound
from lessor.model import Host, Problem
from lessor.store.columns import decoder, end_of, listed
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import problems as hostproblems
from lessor.store.hosts import tokens
from lessor.store.hosts import unknown as unknownhosts
from lessor.store.hosts.fleet import DELETED
from lessor.store.listing import Listing
from lessor.store.query import Query
from lessor.store.tables import hosts, networks, ports
from lessor.store.values import HostValues

AT_ONCE = 5000  # ids in one statement: PostgreSQL takes 65,535 at most


_COUNTS = decoder(dict[str, int])
_PROBLEMS = decoder(tuple[Problem, ...])
HOST = tuple(
    hosts.c[name]
    for name in (
        "name", "id", "created_at", "started_at", "heartbeat_at", "version", "physical_networks",
        "network_host", "local_ip", "availability_zone", "server", "datapath_type", "in_sync",
        "admin_state_up", "description", "problems", "counts", "report_interval",
    )
)  # fmt: skip


def host_of(tx: ReadTx, row: Row[Any]) -> Host:
    """Read a row of `HOST`."""
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    beat = tx.fleet.heartbeats.last(values["name"], values["heartbeat_at"])
    values |= {
        "heartbeat_at": beat or None,
        "alive": beat > tx.alive_since,
        "local_ip": end_of(values["local_ip"]),
        "physical_networks": listed(values["physical_networks"]),
        "problems": _PROBLEMS(values["problems"]),
        "silent_s": max(0.0, tx.now - beat) if beat else None,
        "counts": _COUNTS(values["counts"]),
    }
    return Host(**values)


_ONE = select(*HOST).where(hosts.c.name == bindparam("host_name"), hosts.c.added)
_ROLE = case(  # as `Host.role` has it
    (hosts.c.network_host, "dhcp"), (hosts.c.local_ip.is_not(None), "switch"), else_="bridge"
)
LISTING = Listing(
    "host",
    select(*HOST).where(hosts.c.added),
    hosts.c.name,
    {
        column.name: column
        for column in HOST
        if column.name not in {"physical_networks", "problems", "counts"}
    }
    | {"role": _ROLE},
    nullable={"started_at": 0.0, "heartbeat_at": 0.0},
)


def create(tx: Tx, name: str) -> tuple[Host, str]:
    """Make a host; return it with its token, which is not stored.

    Raises:
        Invalid: the name can't be a host's.
        Conflict: there is a host of this name.
    """
    unknownhosts.check_name(name)
    if tx.conn.execute(_ONE, {"host_name": name}).first():
        raise Conflict(
            f"there is a host {name} already; `lessor host token {name}` gives it a new token"
        )
    token, digest = tokens.new()
    host = Host(name=name, id=str(uuid.uuid4()), created_at=tx.now)
    row = {"id": host.id, "token_hash": digest, "created_at": tx.now, "added": True}
    named = update(hosts).where(hosts.c.name == name).values(**row)  # by ports bound before
    if not tx.conn.execute(named).rowcount:
        tx.conn.execute(insert(hosts), row | {"name": name})
    return host, token


def get(tx: ReadTx, name: str) -> Host:
    """Return a host, or raise NotFound."""
    row = tx.conn.execute(_ONE, {"host_name": name}).first()
    if row is None:
        raise not_found(name)
    return hostproblems.named(tx, [host_of(tx, row)])[0]


def find(tx: ReadTx, query: Query) -> list[Host]:
    """Return the hosts that a query asks for."""
    alive = query.filters.get("alive")
    filters = {name: values for name, values in query.filters.items() if name != "alive"}
    asked = Query(filters, query.sort, query.limit, query.marker, query.page_reverse)
    rows = LISTING.rows(tx, asked)
    found = [host_of(tx, row) for row in rows]
    return hostproblems.named(tx, [one for one in found if alive is None or one.alive in alive])


_DATAPATHS = select(hosts.c.name, hosts.c.datapath_type).where(
    hosts.c.name.in_(bindparam("keys", expanding=True)), hosts.c.datapath_type != ""
)


def datapath_types(tx: ReadTx, names: Collection[str]) -> dict[str, str]:
    """Return what forwards the packets of Open vSwitch on those hosts that say so."""
    if not names:
        return {}
    rows = tx.conn.execute(_DATAPATHS, {"keys": sorted(names)})
    return {row.name: row.datapath_type for row in rows}


def change(tx: Tx, name: str, values: HostValues) -> None:
    """Change what an administrator sets of a host, or raise NotFound."""
    here = update(hosts).where(hosts.c.name == name)
    if values and not tx.conn.execute(here.values(**values)).rowcount:
        raise not_found(name)


def remove(tx: Tx, name: str) -> None:
    """Delete a host without networks and ports.

    Raises:
        NotFound: there is none.
        InUse: it owns networks or has ports.
    """
    if not tx.conn.execute(_ONE, {"host_name": name}).first():
        raise not_found(name)
    owned = select(func.count()).where(networks.c.host == name)
    bound = select(func.count()).where(ports.c.binding_host == name)
    counts = {
        "networks": tx.conn.execute(owned).scalar_one(),
        "ports": tx.conn.execute(bound).scalar_one(),
    }
    if any(counts.values()):
        owned_rows = " and ".join(
            f"{count} {what if count > 1 else what.removesuffix('s')}"
            for what, count in counts.items()
            if count
        )
        raise InUse(
            f"host {name} still has {owned_rows}; move or delete them first", type_="HostInUse"
        )
    tx.conn.execute(delete(hosts).where(hosts.c.name == name))
    tx.after_commit(partial(tx.fleet.forget, name))
    tx.concerns([f"{DELETED}{name}"])


def not_found(name: str) -> NotFound:
    """Return the error that there is no such host."""
    return NotFound(
        f"there is no host {name}; add it first (lessor host add {name})", type_="HostNotFound"
    )
