"""Quotas: how many rows of each noun a project may have.

A project without quotas of its own has the defaults of the settings. A request is checked in the
transaction that makes its rows, before the first is made: one that asks for too much costs a count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, bindparam, delete, func, select

from lessor.errors import Conflict, Invalid
from lessor.store.engine.dialect import insert
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.tables import networks, quotas

UNLIMITED = -1
_PROJECT: Any = bindparam("project")
_SET = select(quotas.c.resource, quotas.c.most).where(quotas.c.project_id == _PROJECT)


@dataclass(frozen=True, slots=True)
class Quota:
    """How many rows of a noun a project may have.

    Attributes:
        usual: where neither settings nor the project say so; -1: any number.
        count: asks how many a `project` has.
    """

    usual: int
    count: Select[Any]


def quota(table: Table, usual: int, *counted: ColumnElement[bool]) -> Quota:
    """Declare a quota on the rows of a table that have `counted`."""
    return Quota(usual, select(func.count()).where(table.c.project_id == _PROJECT, *counted))


_OWNERS = select(networks.c.id, networks.c.project_id).where(
    networks.c.id.in_(bindparam("keys", expanding=True))
)


def defaults(tx: ReadTx) -> dict[str, int]:
    """Return the quotas of a project without its own, by noun."""
    known_to_all = tx.settings.auth_strategy == "noauth"
    found: dict[str, int] = {}
    for name, its in _quotas(tx).items():
        most: int | None = getattr(tx.settings, f"{name}_quota", None)
        usual = UNLIMITED if known_to_all else its.usual
        found[name] = usual if most is None else most
    return found


def _quotas(tx: ReadTx) -> dict[str, Quota]:
    return {noun.name: noun.quota for noun in tx.nouns.values() if noun.quota is not None}


def limits(tx: ReadTx, project_id: str) -> dict[str, int]:
    """Return the quotas of a project, by noun; -1: any number."""
    rows = tx.conn.execute(_SET, {"project": project_id}).all()
    return defaults(tx) | {row.resource: row.most for row in rows}


def usage(tx: ReadTx, project_id: str) -> dict[str, int]:
    """Return the number of rows that a project has, by noun."""
    key = {"project": project_id}
    return {name: tx.conn.execute(its.count, key).scalar_one() for name, its in _quotas(tx).items()}


def projects(tx: ReadTx) -> dict[str, dict[str, int]]:
    """Return the quotas of projects that have their own."""
    found: dict[str, dict[str, int]] = {}
    rows = select(quotas.c.project_id, quotas.c.resource, quotas.c.most)
    for project_id, name, most in tx.conn.execute(rows.order_by(quotas.c.project_id)):
        found.setdefault(project_id, defaults(tx))[name] = most
    return found


def set_limits(
    tx: Tx, project_id: str, values: Mapping[str, int], *, check: bool = False
) -> dict[str, int]:
    """Set quotas of a project; what isn't named stays.

    Fewer than there are only stops new ones; `check` refuses that, as Neutron's `check_limit` does.

    Raises:
        Invalid: there are more already.
    """
    used = usage(tx, project_id) if check else {}
    for name, most in values.items():
        if most != UNLIMITED and most < used.get(name, 0):
            raise Invalid(
                f"quota limit {most} for {name} must be greater than or equal to already used "
                f"{used[name]}: leave check_limit out, or say force",
                type_="HTTPBadRequest",
            )
        row = insert(quotas).values(project_id=project_id, resource=name, most=most)
        key = [quotas.c.project_id, quotas.c.resource]
        tx.conn.execute(row.on_conflict_do_update(index_elements=key, set_={"most": most}))
    return limits(tx, project_id)


def reset(tx: Tx, project_id: str) -> None:
    """Give a project the defaults again."""
    tx.conn.execute(delete(quotas).where(quotas.c.project_id == project_id))


def check(tx: Tx, resource: str, many: Sequence[Mapping[str, object]]) -> None:
    """Check that projects may have the rows that are about to be made.

    Args:
        tx: the transaction that makes them.
        resource: their noun; one without a quota is not limited.
        many: the values of each row.

    Raises:
        Conflict: a project would have more than it may.
    """
    its = tx.nouns[resource].quota
    if its is None:
        return
    for project_id, more in _owners(tx, resource, many).items():
        most = limits(tx, project_id)[resource]
        if most == UNLIMITED:
            continue
        used = tx.conn.execute(its.count, {"project": project_id}).scalar_one()
        if used + more > most:
            raise Conflict(
                f"quota exceeded for resources: ['{resource}']: project {project_id!r} has "
                f"{used} of {most} and asks for {more} more",
                type_="OverQuota",
            )


def _owners(tx: ReadTx, resource: str, many: Sequence[Mapping[str, object]]) -> Counter[str]:
    """Return how many new rows each project gets; a subnet's default is its network's."""
    owners: dict[str, str] = {}
    if resource == "subnet":
        keys = {str(values.get("network_id")) for values in many if "project_id" not in values}
        owners = dict(tx.conn.execute(_OWNERS, {"keys": sorted(keys)}).all()) if keys else {}
    return Counter(
        str(values.get("project_id", owners.get(str(values.get("network_id", "")), "")))
        for values in many
    )
