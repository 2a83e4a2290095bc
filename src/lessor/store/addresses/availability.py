"""Total and used addresses of each subnet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, func, or_, select

from lessor.net.address import Block
from lessor.net.keys import block_at, number_of
from lessor.store.engine.tx import ReadTx
from lessor.store.tables import addresses, pools, subnets


@dataclass(frozen=True, slots=True)
class Room:
    """A subnet: the addresses in its pools, and those that no port can have at the moment."""

    subnet_id: str
    name: str
    cidr: Block
    total: int
    used: int


_KEYS: Any = bindparam("keys", expanding=True)
_SUBNETS = (
    select(subnets.c.id, subnets.c.network_id, subnets.c.name, subnets.c.first, subnets.c.prefix)
    .where(subnets.c.network_id.in_(_KEYS))
    .order_by(subnets.c.created_at, subnets.c.id)
)
_POOLS = select(pools.c.subnet_id, pools.c.first, pools.c.last).where(pools.c.subnet_id.in_(_KEYS))
# A port's, one whose last lease may be alive, or an operator's reservation: not what is free, nor
# the gateway and the ends of the block, which are in no pool.
_USED = (
    select(addresses.c.subnet_id, func.count())
    .where(
        addresses.c.subnet_id.in_(_KEYS),
        addresses.c.freed_seq.is_(None),
        or_(addresses.c.reserved_as.is_(None), addresses.c.reserved_as == "operator"),
    )
    .group_by(addresses.c.subnet_id)
)


def of_networks(tx: ReadTx, network_ids: Sequence[str]) -> dict[str, list[Room]]:
    """Return the subnets of each of these networks, oldest first."""
    found: dict[str, list[Room]] = {network_id: [] for network_id in network_ids}
    if not network_ids:
        return found
    rows = tx.conn.execute(_SUBNETS, {"keys": list(network_ids)}).all()
    keys = {"keys": [row.id for row in rows]}
    totals: dict[str, int] = {}
    for key, first, last in tx.conn.execute(_POOLS, keys) if rows else ():
        totals[key] = totals.get(key, 0) + number_of(last) - number_of(first) + 1
    used = {key: int(count) for key, count in tx.conn.execute(_USED, keys)} if rows else {}
    for row in rows:
        cidr = block_at(row.first, row.prefix)
        room = Room(row.id, row.name, cidr, totals.get(row.id, 0), used.get(row.id, 0))
        found[row.network_id].append(room)
    return found
