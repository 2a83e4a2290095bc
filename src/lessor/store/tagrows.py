"""Rows of tags: read, deleted, and filtered by in lists. `tags` has the rules.

Lists without tags pay one look at an empty table; nothing else reads tags, above all no agent's
view.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, bindparam, delete, func, select

from lessor.store.engine.dialect import among
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.tables import ports, subnets, tags

_ANY = select(tags.c.tag).limit(1)
_OF = (
    select(tags.c.resource_id, tags.c.tag)
    .where(among(tags.c.resource_id, "keys"))
    .order_by(tags.c.resource_id, tags.c.tag)
)
_FORGET = delete(tags).where(tags.c.resource_id == bindparam("key"))


def of(tx: ReadTx, row_ids: Sequence[str]) -> dict[str, list[str]]:
    """Return the tags of rows, sorted; a row without any is left out."""
    found: dict[str, list[str]] = {}
    if not row_ids or tx.conn.execute(_ANY).first() is None:
        return found
    for row_id, tag in tx.conn.execute(_OF, {"keys": list(row_ids)}):
        found.setdefault(row_id, []).append(tag)
    return found


def forget(tx: Tx, row_id: str) -> None:
    """Drop the tags of a row that goes."""
    tx.conn.execute(_FORGET, {"key": row_id})


def forget_network(tx: Tx, network_id: str) -> None:
    """Drop the tags of a network that goes, and of all that goes with it."""
    forget(tx, network_id)
    for table in (ports, subnets):
        inside = select(table.c.id).where(table.c.network_id == network_id)
        tx.conn.execute(delete(tags).where(tags.c.resource_id.in_(inside)))


def _having(key: ColumnElement[Any], wanted: Sequence[str]) -> ColumnElement[bool]:
    found = select(tags.c.resource_id).where(tags.c.tag.in_(wanted)).group_by(tags.c.resource_id)
    return key.in_(found.having(func.count() == len(wanted)))


def _having_any(key: ColumnElement[Any], wanted: Sequence[str]) -> ColumnElement[bool]:
    return key.in_(select(tags.c.resource_id).where(tags.c.tag.in_(wanted)))


FILTERS = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})


def condition(name: str, key: ColumnElement[Any], values: Sequence[object]) -> ColumnElement[bool]:
    """Return what a filter of `FILTERS` asks of a row.

    Args:
        name: of the filter.
        key: the column of the row's id.
        values: lists of tags; those of several are taken together.
    """
    wanted = sorted({str(tag) for value in values for tag in cast(Sequence[object], value)})
    found = (_having_any if name.endswith("any") else _having)(key, wanted)
    return ~found if name.startswith("not-") else found


def parted(many: Sequence[Mapping[str, object]]) -> tuple[list[Any], list[Collection[str]]]:
    """Return the values of rows to be made without their tags, and the tags of each."""
    plain = [{k: v for k, v in values.items() if k != "tags"} for values in many]
    return plain, [cast(Collection[str], values.get("tags", ())) for values in many]
