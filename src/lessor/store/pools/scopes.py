"""Rules of address scopes: within one, no two subnet pools have an address in common."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, cast

from sqlalchemy import ColumnElement, bindparam, delete, func, insert, select, union, update

from lessor.errors import InUse, Invalid, NotFound
from lessor.model import AddressScope
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.listing import Listing
from lessor.store.noun import Noun
from lessor.store.query import Query
from lessor.store.sharing import rbac, visible
from lessor.store.sharing.shareable import Shareable
from lessor.store.tables import address_scopes, rbac_policies, subnetpools, subnets
from lessor.store.values import AddressScopeValues

KIND = visible.ADDRESS_SCOPE
_COLUMNS = tuple(address_scopes.c)
_SELECT = select(*_COLUMNS)


def _visible(project_id: str) -> ColumnElement[bool]:
    return visible.own_or_shared(KIND, address_scopes, project_id)


LISTING = Listing(
    "address scope",
    _SELECT,
    address_scopes.c.id,
    {column.name: column for column in _COLUMNS},
    visible=_visible,
)
_ONE = _SELECT.where(address_scopes.c.id == bindparam("key"))


def get(tx: ReadTx, scope_id: str) -> AddressScope:
    """Return an address scope, or raise NotFound."""
    row = tx.conn.execute(_ONE, {"key": scope_id}).first()
    if row is None:
        raise _not_found(scope_id)
    return AddressScope(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def _not_found(scope_id: str) -> NotFound:
    return NotFound(f"there is no address scope {scope_id}", type_="AddressScopeNotFound")


def find(tx: ReadTx, query: Query) -> list[AddressScope]:
    """Return the address scopes that a query asks for; those of others are `shared`."""
    project_id = query.visible_to
    listing = (
        LISTING
        if project_id is None
        else rbac.listing_for(LISTING, KIND, address_scopes, project_id)
    )
    found = [AddressScope(**row._asdict()) for row in listing.rows(tx, query)]
    return rbac.as_seen(tx, KIND, found, project_id)


def lock(tx: Tx, scope_id: str) -> AddressScope:
    """Return an address scope; until this transaction ends, no other changes what is in it.

    Raises:
        NotFound: there is none.
    """
    row = tx.conn.execute(_ONE.with_for_update(), {"key": scope_id}).first()
    if row is None:
        raise _not_found(scope_id)
    return AddressScope(**row._mapping)  # noqa: SLF001 - as above


def create_many(tx: Tx, many: Sequence[AddressScopeValues]) -> list[AddressScope]:
    """Make address scopes, all or none."""
    return [_create(tx, values) for values in many]


def _create(tx: Tx, values: AddressScopeValues) -> AddressScope:
    scope = AddressScope(
        id=values.get("id") or str(uuid.uuid4()),
        name=values.get("name", ""),
        project_id=values.get("project_id", ""),
        shared=values.get("shared", False),
        created_at=tx.now,
        updated_at=tx.now,
    )
    row = {column.name: getattr(scope, column.name) for column in _COLUMNS}
    tx.conn.execute(insert(address_scopes), row)
    if scope.shared:
        rbac.share(tx, KIND, scope.id, shared=True)
    tx.touch("address_scopes", scope.id)
    return scope


def update_one(tx: Tx, scope_id: str, values: AddressScopeValues) -> AddressScope:
    """Change an address scope.

    Raises:
        NotFound: there is none.
        Invalid: it is shared and is to be so no more.
    """
    before = lock(tx, scope_id)
    if before.shared and not values.get("shared", True):
        raise Invalid(
            f"address scope {scope_id} is shared and can't be unshared: others may use it",
            type_="AddressScopeUpdateError",
        )
    after = replace(
        before,
        name=values.get("name", before.name),
        project_id=values.get("project_id", before.project_id),
        shared=values.get("shared", before.shared),
    )
    if after == before:
        return before
    after = replace(after, updated_at=tx.now)
    row = {name: getattr(after, name) for name in ("name", "project_id", "shared", "updated_at")}
    tx.conn.execute(update(address_scopes).where(address_scopes.c.id == scope_id).values(**row))
    if after.shared and not before.shared:
        rbac.share(tx, KIND, scope_id, shared=True)
    tx.touch("address_scopes", scope_id)
    return after


def delete_one(tx: Tx, scope_id: str) -> None:
    """Delete an address scope.

    Raises:
        NotFound: there is none.
        InUse: subnet pools are in it.
    """
    lock(tx, scope_id)
    inside = select(func.count()).where(subnetpools.c.address_scope_id == scope_id)
    count = tx.conn.execute(inside).scalar_one()
    if count:
        raise InUse(
            f"address scope {scope_id} still has {count} subnet pool{'s' * (count != 1)}; take "
            "them out first (address_scope_id: null)",
            type_="AddressScopeInUse",
        )
    rbac.forget(tx, scope_id)
    tx.conn.execute(delete(address_scopes).where(address_scopes.c.id == scope_id))


_OF_NETWORKS = (
    select(subnets.c.network_id, func.min(subnetpools.c.address_scope_id))
    .select_from(subnets.join(subnetpools, subnetpools.c.id == subnets.c.subnetpool_id))
    .where(
        subnets.c.network_id.in_(bindparam("keys", expanding=True)),
        subnetpools.c.address_scope_id.is_not(None),
    )
    .group_by(subnets.c.network_id)
)


def of_networks(tx: ReadTx, network_ids: Collection[str]) -> dict[str, str]:
    """Return the address scopes of those networks that are in one: that of their subnets' pools."""
    rows = tx.conn.execute(_OF_NETWORKS, {"keys": list(network_ids)}).all()
    return {network_id: cast(str, scope) for network_id, scope in rows}


def _users(scope_id: str) -> Any:
    """Ask for the projects that have pools in a scope, and with whom these pools are shared."""
    inside = subnetpools.c.address_scope_id == scope_id
    guests = select(rbac_policies.c.target_project).where(
        rbac_policies.c.object_type == visible.SUBNETPOOL,
        rbac_policies.c.object_id.in_(select(subnetpools.c.id).where(inside)),
    )
    return union(select(subnetpools.c.project_id).where(inside), guests)


NOUN = Noun(
    name=KIND,
    table=address_scopes,
    get=get,
    find=find,
    create=create_many,
    update=update_one,
    delete=delete_one,
    visible=_visible,
    shareable=Shareable(address_scopes, "address scope", "subnet pools", _users),
)
