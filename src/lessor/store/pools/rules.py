"""Rules of subnet pools. `delegation` cuts subnets from them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, delete, func, insert, select, update

from lessor.errors import Invalid, NotFound
from lessor.model import SubnetPool
from lessor.net.address import Block
from lessor.net.keys import address_at, block_at, number_of
from lessor.net.prefixes import Claim, Extent, blocks_of, clash, compacted, extent, gaps
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.listing import Listing
from lessor.store.noun import Noun
from lessor.store.pools.checks import (
    DEFAULT,
    MOST_PREFIXES,
    check,
    check_networks,
    check_number,
    check_scope_owner,
    check_scopes,
)
from lessor.store.query import Query
from lessor.store.sharing import rbac, visible
from lessor.store.sharing.quotas import UNLIMITED, quota
from lessor.store.sharing.shareable import Shareable
from lessor.store.tables import prefixes, subnetpools, subnets
from lessor.store.tagrows import forget
from lessor.store.values import SubnetPoolValues

LEAST_PREFIXLEN = 8  # Neutron's default min_prefixlen

KIND = visible.SUBNETPOOL
_COLUMNS = tuple(subnetpools.c)
_PLAIN = tuple(column.name for column in _COLUMNS)
_SELECT = select(*_COLUMNS)


def _visible(project_id: str) -> ColumnElement[bool]:
    return visible.own_or_shared(KIND, subnetpools, project_id)


LISTING = Listing(
    "subnet pool",
    _SELECT,
    subnetpools.c.id,
    {column.name: column for column in _COLUMNS},
    nullable={"address_scope_id": "", "default_quota": -1},
    visible=_visible,
)
_ONE = _SELECT.where(subnetpools.c.id == bindparam("key"))
_PREFIXES = (
    select(prefixes.c.subnetpool_id, prefixes.c.first, prefixes.c.prefix)
    .where(prefixes.c.subnetpool_id.in_(bindparam("keys", expanding=True)))
    .order_by(prefixes.c.first)
)
_CUT = select(subnets.c.first, subnets.c.last).where(subnets.c.subnetpool_id == bindparam("key"))


def get(tx: ReadTx, pool_id: str) -> SubnetPool:
    """Return a subnet pool, or raise NotFound."""
    return _read(tx, _found(tx.conn.execute(_ONE, {"key": pool_id}).all(), pool_id))[0]


def lock(tx: Tx, pool_id: str) -> SubnetPool:
    """Return a subnet pool; until this transaction ends, no other cuts from it or changes it.

    Raises:
        NotFound: there is none.
    """
    rows = tx.conn.execute(_ONE.with_for_update(), {"key": pool_id}).all()
    return _read(tx, _found(rows, pool_id))[0]


def _found(rows: Sequence[Row[Any]], pool_id: str) -> Sequence[Row[Any]]:
    if not rows:
        raise not_found(pool_id)
    return rows


def not_found(pool_id: str) -> NotFound:
    """Return the error that a subnet pool is not there, or none of the caller's."""
    return NotFound(f"there is no subnet pool {pool_id}", type_="SubnetPoolNotFound")


def find(tx: ReadTx, query: Query) -> list[SubnetPool]:
    """Return the subnet pools that a query asks for; those shared with its caller are `shared`."""
    project_id = query.visible_to
    listing = (
        LISTING if project_id is None else rbac.listing_for(LISTING, KIND, subnetpools, project_id)
    )
    return rbac.as_seen(tx, KIND, _read(tx, listing.rows(tx, query)), project_id)


def default_id(tx: ReadTx) -> str | None:
    """Return the default pool."""
    return tx.conn.execute(DEFAULT).scalar()


def _read(tx: ReadTx, rows: Sequence[Row[Any]]) -> list[SubnetPool]:
    found: dict[str, list[Block]] = {row.id: [] for row in rows}
    for pool_id, first, length in tx.conn.execute(_PREFIXES, {"keys": list(found)}):
        found[pool_id].append(block_at(first, length))
    return [SubnetPool(**row._asdict(), prefixes=tuple(found[row.id])) for row in rows]


def cut_from(tx: ReadTx, pool_id: str) -> list[Extent]:
    """Return the blocks of the subnets that were cut from a pool."""
    return [
        (number_of(first), number_of(last))
        for first, last in tx.conn.execute(_CUT, {"key": pool_id})
    ]


# --- creation -------------------------------------------------------------------------------------


def create_many(tx: Tx, many: Sequence[SubnetPoolValues]) -> list[SubnetPool]:
    """Make subnet pools, all or none.

    Raises:
        Invalid: there are too many prefixes, or what `_create` says.
        Conflict: an address scope has some of these addresses already, or what `_create` says.
        NotFound: what `_create` says.
    """
    check_number(sum(len(values.get("prefixes", ())) for values in many))
    made = [_create(tx, values) for values in many]
    check_scopes(tx, made, many[0].get("acts_for") if many else None)
    return made


def _create(tx: Tx, values: SubnetPoolValues) -> SubnetPool:
    """Make a subnet pool.

    Raises:
        Invalid: no prefix is given, or the lengths contradict each other.
        Conflict: another is the default.
        NotFound: there is no such address scope.
    """
    least = values.get("min_prefixlen", LEAST_PREFIXLEN)
    blocks = _given(values.get("prefixes", ()))
    pool = SubnetPool(
        id=values.get("id") or str(uuid.uuid4()),
        name=values.get("name", ""),
        project_id=values.get("project_id", ""),
        description=values.get("description", ""),
        prefixes=blocks,
        min_prefixlen=least,
        default_prefixlen=values.get("default_prefixlen", least),
        max_prefixlen=values.get("max_prefixlen", blocks[0].max_prefixlen),
        default_quota=values.get("default_quota"),
        address_scope_id=values.get("address_scope_id"),
        shared=values.get("shared", False),
        is_default=values.get("is_default", False),
        by_project="acts_for" in values,
        created_at=tx.now,
        updated_at=tx.now,
    )
    check(tx, pool, values.get("acts_for"))
    tx.conn.execute(insert(subnetpools), _columns(pool))
    _write_prefixes(tx, pool.id, pool.prefixes)
    if pool.shared:
        rbac.share(tx, KIND, pool.id, shared=True)
    tx.touch("subnetpools", pool.id)
    return pool


def _given(blocks: Iterable[Block]) -> tuple[Block, ...]:
    found = compacted(blocks)
    if not found:
        raise Invalid(
            "a subnet pool needs prefixes: at least one block", type_="EmptySubnetPoolPrefixList"
        )
    return found


def _columns(pool: SubnetPool) -> dict[str, Any]:
    return {name: getattr(pool, name) for name in _PLAIN}


def _write_prefixes(tx: Tx, pool_id: str, blocks: Iterable[Block]) -> None:
    rows = [
        {
            "subnetpool_id": pool_id,
            "first": block.network_address,
            "prefix": block.prefixlen,
            "last": block.broadcast_address,
        }
        for block in blocks
    ]
    tx.conn.execute(insert(prefixes), rows)


# --- changes --------------------------------------------------------------------------------------


def update_one(tx: Tx, pool_id: str, values: SubnetPoolValues) -> SubnetPool:
    """Change a subnet pool.

    Raises:
        NotFound: there is none.
        Invalid: prefixes would be lost, the lengths contradict each other, or prefixes are to
            change in an address scope of another project than the caller's.
        Conflict: another is the default, or an address scope has these addresses already.
    """
    before = lock(tx, pool_id)
    plain: dict[str, Any] = {
        k: v for k, v in values.items() if k not in {"id", "prefixes", "acts_for"}
    }
    after = replace(before, **plain)
    if "prefixes" in values:
        check_number(len(values["prefixes"]), len(before.prefixes))
        check_scope_owner(tx, before, values.get("acts_for"))
        after = replace(after, prefixes=_given(values["prefixes"]))
        _check_growth(before, after)
    after = replace(after, by_project=_by_project(before, values))
    if after.address_scope_id != before.address_scope_id:
        check_networks(tx, pool_id, values.get("acts_for"))
    return _written(tx, before, after, values.get("acts_for"))


def _by_project(before: SubnetPool, values: SubnetPoolValues) -> bool:
    """Tell whether a project gave the prefixes of a changed pool."""
    if "acts_for" in values:
        return before.by_project or "prefixes" in values
    return before.by_project and not ("prefixes" in values or values.get("is_default"))


def _check_growth(before: SubnetPool, after: SubnetPool) -> None:
    lost = _lost(before.prefixes, after.prefixes)
    if lost:
        first, last = lost[0]
        raise Invalid(
            f"prefixes of subnet pool {before.id} can only be added to here, and the new list "
            f"lacks {address_at(first)} to {address_at(last)}; remove_prefixes takes some away",
            type_="IllegalSubnetPoolPrefixUpdate",
        )


def _lost(before: Iterable[Block], after: Iterable[Block]) -> list[Extent]:
    return list(gaps((extent(block) for block in before), (extent(block) for block in after)))


def _written(tx: Tx, before: SubnetPool, after: SubnetPool, acts_for: str | None) -> SubnetPool:
    if after == before:
        return before
    after = replace(after, updated_at=tx.now)
    check(tx, after, acts_for)
    check_number(len(after.prefixes), len(before.prefixes))
    tx.conn.execute(
        update(subnetpools).where(subnetpools.c.id == after.id).values(**_columns(after))
    )
    if after.prefixes != before.prefixes:
        tx.conn.execute(delete(prefixes).where(prefixes.c.subnetpool_id == after.id))
        _write_prefixes(tx, after.id, after.prefixes)
    moved = after.address_scope_id != before.address_scope_id
    if moved or _lost(after.prefixes, before.prefixes):
        check_scopes(tx, [after], acts_for)
    tx.touch("subnetpools", after.id)
    return after


def add_prefixes(
    tx: Tx, pool_id: str, blocks: Sequence[Block], acts_for: str | None = None
) -> SubnetPool:
    """Add blocks to a pool.

    Raises:
        NotFound: there is none.
        Invalid: there are too many, or the address scope is another project's.
        Conflict: another pool of the same address scope has some of these addresses.
    """
    check_number(len(blocks))
    before = lock(tx, pool_id)
    check_scope_owner(tx, before, acts_for)
    after = replace(
        before,
        prefixes=_given([*before.prefixes, *blocks]),
        by_project=before.by_project or acts_for is not None,
    )
    return _written(tx, before, after, acts_for)


def remove_prefixes(
    tx: Tx, pool_id: str, blocks: Sequence[Block], acts_for: str | None = None
) -> SubnetPool:
    """Take blocks from a pool.

    Raises:
        NotFound: there is none.
        Invalid: a block isn't in the pool, a subnet was cut from it, none or too many would be
            left, there are too many, or the address scope is another project's.
    """
    check_number(len(blocks))
    before = lock(tx, pool_id)
    check_scope_owner(tx, before, acts_for)
    have = [extent(block) for block in before.prefixes]
    gone = [extent(block) for block in compacted(blocks)]
    for first, _ in gaps(gone, have):
        raise _refused(pool_id, f"{_with(blocks, first)} is not in it")
    used = [Claim(first, last, "subnet") for first, last in cut_from(tx, pool_id)]
    if found := clash([*used, *(Claim(first, last, "") for first, last in gone)]):
        block = _with(blocks, max(one.first for one in found))
        raise _refused(pool_id, f"subnets were cut from {block}; delete them first")
    # Compact as they are: two of them would only make one if both had been whole prefixes before.
    left = (block for gap in gaps(have, gone) for block in blocks_of(gap))
    most = max(MOST_PREFIXES, len(before.prefixes)) + 1
    return _written(tx, before, replace(before, prefixes=_given(islice(left, most))), acts_for)


def _with(blocks: Iterable[Block], number: int) -> Block:
    """Return the first of some blocks that has an address: one has."""
    return next(block for block in blocks if extent(block)[0] <= number <= extent(block)[1])


def _refused(pool_id: str, why: str) -> Invalid:
    return Invalid(
        f"prefixes of subnet pool {pool_id} stay as they are: {why}",
        type_="IllegalSubnetPoolPrefixUpdate",
    )


def delete_one(tx: Tx, pool_id: str) -> None:
    """Delete a subnet pool.

    Raises:
        NotFound: there is none.
        Invalid: subnets were cut from it (Neutron answers 400 here, not 409).
    """
    lock(tx, pool_id)
    cut = select(func.count()).where(subnets.c.subnetpool_id == pool_id)
    count = tx.conn.execute(cut).scalar_one()
    if count:
        raise Invalid(
            f"subnet pool {pool_id} can't be deleted: {count} subnet{'s' * (count != 1)} "
            f"{'was' if count == 1 else 'were'} cut from it; delete them first",
            type_="SubnetPoolDeleteError",
        )
    tx.conn.execute(delete(subnetpools).where(subnetpools.c.id == pool_id))
    rbac.forget(tx, pool_id)
    forget(tx, pool_id)


def _users(pool_id: str) -> Select[Any]:
    """Ask for the projects that have subnets of a pool."""
    return select(subnets.c.project_id).where(subnets.c.subnetpool_id == pool_id).distinct()


NOUN = Noun(
    name=KIND,
    table=subnetpools,
    get=get,
    find=find,
    create=create_many,
    update=update_one,
    delete=delete_one,
    visible=_visible,
    quota=quota(subnetpools, UNLIMITED),
    shareable=Shareable(subnetpools, "subnet pool", "subnets", _users),
)
