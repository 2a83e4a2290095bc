"""Consistency checks on the rows of a database: `lessor db check`.

Constraints keep most of it on each write. This looks for what they can't say, and for what a file
edited by hand, a disk or an error of ours may have done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, and_, case, exists, func, or_, select

from lessor.model import FLAT, VXLAN
from lessor.store.engine import notes
from lessor.store.engine.dialect import is_postgres
from lessor.store.engine.history import EPOCH
from lessor.store.engine.tx import UNSTAMPED
from lessor.store.tables import (
    addresses,
    counter,
    holds,
    instances,
    leases,
    networks,
    pools,
    ports,
    subnets,
    tombstones,
)

MOST = 100  # findings of one rule that are reported


@dataclass(frozen=True, slots=True)
class Finding:
    """What breaks a rule.

    Attributes:
        rule: its name.
        id: of the row: an id, or "network id/address".
        words: what is wrong with it.
    """

    rule: str
    id: str
    words: str


@dataclass(frozen=True, slots=True)
class _Rule:
    """Rows of `broken` break it; `problem` describes one."""

    name: str
    broken: Select[Any]
    problem: Callable[[Any], str]


def check(conn: Connection, now: float) -> list[Finding]:
    """Return all that is wrong with a database, `MOST` for each rule.

    Args:
        conn: a connection that sees one state of it.
        now: seconds since 1970; leases that are over by then are no matter.
    """
    found = list(_of_file(conn))
    for rule in [*_RULES, *_with_time(now)]:
        rows = conn.execute(rule.broken.limit(MOST)).all()
        found += [Finding(rule.name, _id(row), rule.problem(row)) for row in rows]
    return found


def _id(row: Any) -> str:
    if "address" in row._fields:
        return f"{row.network_id}/{row.address}"
    return str(row.id)


def _of_file(conn: Connection) -> Iterator[Finding]:
    """Ask SQLite itself, and for what makes a database ours."""
    if not is_postgres(conn.engine):
        for (message,) in conn.exec_driver_sql(f"PRAGMA integrity_check({MOST})"):
            if message != "ok":
                yield Finding("file", "database", message)
        for table, row_id, parent, _ in conn.exec_driver_sql("PRAGMA foreign_key_check").fetchmany(
            MOST
        ):
            yield Finding("reference", f"{table}/{row_id}", f"names a row of {parent} that is gone")
    if not notes.remembered(conn, EPOCH):
        yield Finding("epoch", "database", "has no epoch, so agents can't tell it from another")
    if conn.execute(select(func.count()).select_from(counter)).scalar_one() != 1:
        yield Finding("counter", "database", "has no revision counter, or several")


_SPOT = (addresses.c.network_id, addresses.c.address)
_SAME_SPOT = and_(
    leases.c.network_id == addresses.c.network_id, leases.c.address == addresses.c.address
)
_LEASED = (leases.c.network_id, leases.c.address)
_OTHER = subnets.alias("other")
_BESIDE = pools.alias("beside")
_RIVAL = leases.alias("rival")
_SEGMENT = case(
    (networks.c.network_type == FLAT, "flat:" + networks.c.physical_network),
    else_="network:" + networks.c.id,
)


def _address(name: str, condition: Any, problem: str) -> _Rule:
    joined = addresses.outerjoin(ports, ports.c.id == addresses.c.port_id).outerjoin(
        subnets, subnets.c.id == addresses.c.subnet_id
    )
    return _Rule(
        name,
        select(*_SPOT, addresses.c.port_id, addresses.c.subnet_id)
        .select_from(joined)
        .where(condition)
        .order_by(*_SPOT),
        lambda row: problem.format(port=row.port_id, subnet=row.subnet_id),
    )


def _of_the_future(table: Table) -> _Rule:
    now = select(counter.c.revision).scalar_subquery()
    return _Rule(
        "revision-of-the-future",
        select(table.c.id, table.c.revision).where(table.c.revision > now),
        lambda row: (
            f"in {table.name} has revision {row.revision}, which the counter has not reached"
        ),
    )


_RULES = [
    _address(
        "allocation-without-port",
        addresses.c.port_id.is_not(None) & ports.c.id.is_(None),
        "is allocated to port {port}, which does not exist",
    ),
    _address(
        "allocation-of-other-network",
        ports.c.network_id != addresses.c.network_id,
        "is allocated to port {port} of another network",
    ),
    _address(
        "address-without-subnet", subnets.c.id.is_(None), "is of subnet {subnet}, which is gone"
    ),
    _address(
        "address-outside-subnet",
        or_(
            addresses.c.address < subnets.c.first,
            addresses.c.address > subnets.c.last,
            subnets.c.network_id != addresses.c.network_id,
        ),
        "is not in its subnet {subnet} (port: {port})",
    ),
    _address(
        "address-in-two-states",
        or_(
            addresses.c.port_id.is_not(None) & addresses.c.reserved_as.is_not(None),
            addresses.c.port_id.is_not(None) & addresses.c.freed_seq.is_not(None),
            addresses.c.reserved_as.is_not(None) & addresses.c.freed_seq.is_not(None),
        ),
        "is two of: a port's, reserved, free (port: {port})",
    ),
    _Rule(
        "subnets-overlap",
        select(subnets.c.id, _OTHER.c.id.label("other"))
        .select_from(subnets.join(_OTHER, _OTHER.c.network_id == subnets.c.network_id))
        .where(
            subnets.c.id < _OTHER.c.id,
            subnets.c.first <= _OTHER.c.last,
            subnets.c.last >= _OTHER.c.first,
        ),
        lambda row: f"overlaps subnet {row.other} of the same network",
    ),
    _Rule(
        "pool-outside-subnet",
        select(subnets.c.id, pools.c.first, pools.c.last)
        .select_from(pools.join(subnets, subnets.c.id == pools.c.subnet_id))
        .where(or_(pools.c.first < subnets.c.first, pools.c.last > subnets.c.last)),
        lambda row: f"has the pool {row.first}-{row.last} outside of it",
    ),
    _Rule(
        "pools-overlap",
        select(pools.c.subnet_id.label("id"), pools.c.first, _BESIDE.c.first.label("second"))
        .select_from(pools.join(_BESIDE, _BESIDE.c.subnet_id == pools.c.subnet_id))
        .where(pools.c.first < _BESIDE.c.first, pools.c.last >= _BESIDE.c.first),
        lambda row: f"has a pool from {row.second} inside another",
    ),
    _Rule(
        "port-on-wrong-segment",
        select(ports.c.id, ports.c.segment)
        .select_from(ports.join(networks, networks.c.id == ports.c.network_id))
        .where(ports.c.segment != _SEGMENT),
        lambda row: f"is on segment {row.segment}, which is not its network's",
    ),
    _Rule(
        "network-without-wire",
        select(networks.c.id, networks.c.network_type).where(
            or_(
                (networks.c.network_type == VXLAN) & networks.c.segmentation_id.is_(None),
                (networks.c.network_type == FLAT) & networks.c.physical_network.is_(None),
            )
        ),
        lambda row: f"is a {row.network_type} network without a number or a physical network",
    ),
    _Rule(
        "hold-without-revision",
        select(holds.c.network_id, holds.c.address, holds.c.host).where(
            holds.c.revision == UNSTAMPED
        ),
        lambda row: f"is held for host {row.host} with a revision that never comes",
    ),
    *(_of_the_future(table) for table in (networks, subnets, ports, instances, tombstones)),
]


def _with_time(now: float) -> list[_Rule]:
    alive = and_(
        leases.c.ended_at.is_(None),
        or_(leases.c.expires_at.is_(None), leases.c.expires_at > now),
    )
    kept = exists(select(1).where(_SAME_SPOT))
    inside = exists(
        select(1).where(
            subnets.c.network_id == leases.c.network_id,
            leases.c.address.between(subnets.c.first, subnets.c.last),
        )
    )
    rival_alive = and_(
        _RIVAL.c.ended_at.is_(None),
        or_(_RIVAL.c.expires_at.is_(None), _RIVAL.c.expires_at > now),
    )
    return [
        _Rule(
            "leased-to-two",
            select(*_LEASED, leases.c.mac_address, _RIVAL.c.mac_address.label("other"))
            .distinct()
            .select_from(
                leases.join(
                    _RIVAL,
                    and_(
                        _RIVAL.c.network_id == leases.c.network_id,
                        _RIVAL.c.address == leases.c.address,
                        _RIVAL.c.mac_address > leases.c.mac_address,
                    ),
                )
            )
            .where(alive, rival_alive)
            .order_by(*_LEASED),
            lambda row: f"is leased to {row.mac_address} and to {row.other}",
        ),
        _Rule(
            "lease-without-address",
            select(leases.c.network_id, leases.c.address, leases.c.mac_address).where(
                alive, inside, ~kept
            ),
            lambda row: f"is leased to {row.mac_address}, and nothing keeps it from others",
        ),
        _Rule(
            "leased-and-free",
            select(*_SPOT, leases.c.mac_address)
            .select_from(addresses.join(leases, _SAME_SPOT))
            .where(alive, addresses.c.freed_seq.is_not(None)),
            lambda row: f"is free to be handed out, and leased to {row.mac_address}",
        ),
    ]
