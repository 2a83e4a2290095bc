"""Rules of RBAC policies, which share rows with projects.

The attribute `shared` of a network, a subnet pool or an address scope says the same as a policy
that shares it with everybody: both are written in one transaction, whichever of them a client
speaks of. What can be shared, and who uses it, nouns declare (`shareable`).
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Table, delete, insert, or_, select, update

from lessor.errors import Conflict, InUse, Invalid, NotFound
from lessor.model import AddressScope, Network, RbacPolicy, SubnetPool
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.listing import Listing
from lessor.store.noun import Noun
from lessor.store.query import Query
from lessor.store.sharing.quotas import quota
from lessor.store.sharing.shareable import Shareable
from lessor.store.sharing.visible import (
    ADDRESS_SCOPE,
    AS_SHARED,
    EVERYBODY,
    SUBNETPOOL,
    shared_with,
)
from lessor.store.tables import rbac_policies, subnetpools
from lessor.store.values import RbacValues

R = TypeVar("R", Network, SubnetPool, AddressScope)
_COLUMNS = tuple(rbac_policies.c)


def _visible(project_id: str) -> ColumnElement[bool]:
    return rbac_policies.c.project_id == project_id


LISTING = Listing(
    "RBAC policy",
    select(*_COLUMNS),
    rbac_policies.c.id,
    {column.name: column for column in _COLUMNS},
    visible=_visible,
)


def shareables(tx: ReadTx) -> dict[str, Shareable]:
    """Return what can be shared, by the noun's name."""
    return {noun.name: noun.shareable for noun in tx.nouns.values() if noun.shareable is not None}


def get(tx: ReadTx, policy_id: str) -> RbacPolicy:
    """Return a policy, or raise NotFound."""
    row = tx.conn.execute(select(*_COLUMNS).where(rbac_policies.c.id == policy_id)).first()
    if row is None:
        raise NotFound(f"there is no RBAC policy {policy_id}", type_="RbacPolicyNotFound")
    return RbacPolicy(**row._asdict())


def find(tx: ReadTx, query: Query) -> list[RbacPolicy]:
    """Return the policies that a query asks for."""
    return [RbacPolicy(**row._asdict()) for row in LISTING.rows(tx, query)]


def create_many(tx: Tx, many: Sequence[RbacValues]) -> list[RbacPolicy]:
    """Make policies, all or none.

    Raises:
        Invalid: nothing of this type can be shared, not in this way, or not with this project.
        NotFound: there is no such object.
        Conflict: it is shared so already.
    """
    return [_create(tx, values) for values in many]


def _create(tx: Tx, values: RbacValues) -> RbacPolicy:
    made = RbacPolicy(id=str(uuid.uuid4()), created_at=tx.now, **values)
    known = shareables(tx)
    if made.object_type not in known:
        types = ", ".join(known)
        raise Invalid(f"object_type {made.object_type!r} can't be shared; known types: {types}")
    if made.action != AS_SHARED:
        raise Invalid(
            f"invalid action {made.action!r} for object type {made.object_type!r}; valid actions: "
            f"{AS_SHARED}",
            type_="InvalidActionForType",
        )
    known[made.object_type].owner(tx, made.object_id)
    _check_new(tx, made)
    tx.conn.execute(insert(rbac_policies), {c.name: getattr(made, c.name) for c in _COLUMNS})
    _show(tx, made)
    return made


def _check_new(tx: ReadTx, made: RbacPolicy) -> None:
    same = (getattr(rbac_policies.c, name) == getattr(made, name) for name in (
        "object_type", "object_id", "action", "target_project",
    ))  # fmt: skip
    if tx.conn.execute(select(rbac_policies.c.id).where(*same)).first():
        raise Conflict(
            f"{made.object_type} {made.object_id} is shared with {made.target_project!r} already",
            type_="DuplicateRbacPolicy",
        )
    if made.object_type == SUBNETPOOL:
        _check_scope(tx, made)


def _check_scope(tx: ReadTx, made: RbacPolicy) -> None:
    """Whoever is to use a pool must be able to use its address scope."""
    scope = tx.conn.execute(
        select(subnetpools.c.address_scope_id).where(subnetpools.c.id == made.object_id)
    ).scalar()
    if scope is not None and without_access(tx, scope, {made.target_project}):
        raise Invalid(
            f"subnet pool {made.object_id} is in address scope {scope}, which is not shared with "
            f"{made.target_project!r}; share the scope first",
            type_="RbacPolicyInitError",
        )


def update_one(tx: Tx, policy_id: str, values: RbacValues) -> RbacPolicy:
    """Let a policy have another target.

    Raises:
        NotFound: there is none.
        Invalid: something else is to change, or the new target may not have it.
        InUse: the former target still uses the thing.
        Conflict: it is shared so already.
    """
    before = get(tx, policy_id)
    after = replace(before, **values)
    if replace(after, target_project=before.target_project) != before:
        raise Invalid(f"of RBAC policy {policy_id} only target_tenant can be changed; make another")
    if after == before:
        return before
    _check_new(tx, after)
    changed = update(rbac_policies).where(rbac_policies.c.id == policy_id)
    tx.conn.execute(changed.values(target_project=after.target_project))
    _check_unused(tx, before)
    _show(tx, before)
    return after


def delete_one(tx: Tx, policy_id: str) -> None:
    """Delete a policy.

    Raises:
        NotFound: there is no such policy.
        InUse: projects that see the thing by it still use it.
    """
    policy = get(tx, policy_id)
    tx.conn.execute(delete(rbac_policies).where(rbac_policies.c.id == policy_id))
    _check_unused(tx, policy)
    _show(tx, policy)


def _check_unused(tx: ReadTx, gone: RbacPolicy) -> None:
    users = stranded(tx, gone.object_type, gone.object_id)
    if users:
        raise InUse(
            f"RBAC policy {gone.id} on object {gone.object_id} can't be removed because other "
            f"objects depend on it: {shareables(tx)[gone.object_type].used_by} of project "
            f"{', '.join(sorted(users))}; delete them first",
            type_="RbacPolicyInUse",
        )


def stranded(tx: ReadTx, object_type: str, object_id: str) -> Collection[str]:
    """Return the projects that use a thing which is not, or no more, shared with them."""
    kind = shareables(tx)[object_type]
    users = set(tx.conn.execute(kind.users(object_id)).scalars()) - {""}
    return _beyond(tx, object_type, object_id, users) if users else users


def without_access(tx: ReadTx, scope_id: str, projects: Collection[str]) -> set[str]:
    """Return which of these projects (or "*") may not use an address scope."""
    return _beyond(tx, ADDRESS_SCOPE, scope_id, projects)


def _beyond(tx: ReadTx, object_type: str, object_id: str, projects: Collection[str]) -> set[str]:
    targets = targets_of(tx, object_type, object_id)
    if EVERYBODY in targets:
        return set()
    return set(projects) - targets - {shareables(tx)[object_type].owner(tx, object_id)}


def targets_of(tx: ReadTx, object_type: str, object_id: str) -> set[str]:
    """Return the projects that a thing is shared with, "*" for all."""
    here = (
        rbac_policies.c.object_type == object_type,
        rbac_policies.c.object_id == object_id,
        rbac_policies.c.action == AS_SHARED,
    )
    return set(tx.conn.execute(select(rbac_policies.c.target_project).where(*here)).scalars())


# --- what a thing says of itself ------------------------------------------------------------------


def _show(tx: Tx, policy: RbacPolicy) -> None:
    """Let a thing's `shared` say what the policies say; each of them is a change of the thing."""
    table = shareables(tx)[policy.object_type].table
    shared = EVERYBODY in targets_of(tx, policy.object_type, policy.object_id)
    here = (table.c.id == policy.object_id, table.c.shared != shared)
    tx.conn.execute(update(table).where(*here).values(shared=shared))
    tx.touch(table.name, policy.object_id)


def share(tx: Tx, object_type: str, object_id: str, *, shared: bool) -> None:
    """Let the policies of a thing say what its attribute `shared` says.

    Raises:
        InUse: it is to be shared no more, and others still use it.
    """
    kind = shareables(tx)[object_type]
    if shared:
        made: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "project_id": kind.owner(tx, object_id),
            "object_type": object_type,
            "object_id": object_id,
            "action": AS_SHARED,
            "target_project": EVERYBODY,
            "created_at": tx.now,
        }
        tx.conn.execute(insert(rbac_policies), made)
        return
    tx.conn.execute(
        delete(rbac_policies).where(
            rbac_policies.c.object_id == object_id,
            rbac_policies.c.target_project == EVERYBODY,
            rbac_policies.c.action == AS_SHARED,
        )
    )
    if users := stranded(tx, object_type, object_id):
        raise InUse(
            f"unable to reconfigure sharing settings for {kind.title} {object_id}: projects "
            f"{', '.join(sorted(users))} have {kind.used_by} on it; delete them first",
            type_="InvalidSharedSetting",
        )


def forget(tx: Tx, object_id: str) -> None:
    """Drop the policies of something that is deleted."""
    tx.conn.execute(delete(rbac_policies).where(rbac_policies.c.object_id == object_id))


# --- what a project sees --------------------------------------------------------------------------


def listing_for(listing: Listing, object_type: str, table: Table, project_id: str) -> Listing:
    """Return a listing whose `shared` is what it is to a project."""
    mine = shared_with(object_type, table.c.id, project_id)
    return replace(listing, fields={**listing.fields, "shared": or_(table.c.shared, mine)})


def as_seen(tx: ReadTx, object_type: str, rows: list[R], project_id: str | None) -> list[R]:
    """Return rows as a project sees them: what is shared with it is `shared`; None: as they are."""
    if project_id is None:
        return rows
    found = select(rbac_policies.c.object_id).where(
        rbac_policies.c.target_project == project_id,
        rbac_policies.c.object_type == object_type,
        rbac_policies.c.action == AS_SHARED,
    )
    ids = set(tx.conn.execute(found).scalars())
    return [replace(row, shared=True) if row.id in ids else row for row in rows]


NOUN = Noun(
    name="rbac_policy",
    table=rbac_policies,
    get=get,
    find=find,
    create=create_many,
    update=update_one,
    delete=delete_one,
    visible=_visible,
    quota=quota(rbac_policies, 10),
)
