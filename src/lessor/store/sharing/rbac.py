"""RBAC policies: what is shared with whom.

The attribute `shared` of a network, a subnet pool or an address scope says the same as a policy that
shares it with everybody: both are written in one transaction, whichever of them a client speaks of.
What can be shared, and who uses it: `shareable`.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, or_, select, update

from lessor.errors import Conflict, InUse, Invalid, NotFound
from lessor.model import AddressScope, Network, RbacPolicy, SubnetPool
from lessor.store.engine.writer import Tx
from lessor.store.listing import Listing
from lessor.store.query import Query
from lessor.store.sharing.shareable import KINDS
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
LISTING = Listing(
    "RBAC policy",
    select(*_COLUMNS),
    rbac_policies.c.id,
    {column.name: column for column in _COLUMNS},
    visible=lambda project_id: rbac_policies.c.project_id == project_id,
)


def get(conn: Connection, policy_id: str) -> RbacPolicy:
    """Return a policy, or raise NotFound."""
    row = conn.execute(select(*_COLUMNS).where(rbac_policies.c.id == policy_id)).first()
    if row is None:
        raise NotFound(f"there is no RBAC policy {policy_id}", type_="RbacPolicyNotFound")
    return RbacPolicy(**row._asdict())


def find(conn: Connection, query: Query) -> list[RbacPolicy]:
    """Return the policies that a query asks for."""
    return [RbacPolicy(**row._asdict()) for row in LISTING.rows(conn, query)]


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
    if made.object_type not in KINDS:
        known = ", ".join(KINDS)
        raise Invalid(f"object_type {made.object_type!r} can't be shared; known types: {known}")
    if made.action != AS_SHARED:
        raise Invalid(
            f"invalid action {made.action!r} for object type {made.object_type!r}; valid actions: "
            f"{AS_SHARED}",
            type_="InvalidActionForType",
        )
    KINDS[made.object_type].owner(tx.conn, made.object_id)
    _check_new(tx.conn, made)
    tx.conn.execute(insert(rbac_policies), {c.name: getattr(made, c.name) for c in _COLUMNS})
    _show(tx, made)
    return made


def _check_new(conn: Connection, made: RbacPolicy) -> None:
    same = (getattr(rbac_policies.c, name) == getattr(made, name) for name in (
        "object_type", "object_id", "action", "target_project",
    ))  # fmt: skip
    if conn.execute(select(rbac_policies.c.id).where(*same)).first():
        raise Conflict(
            f"{made.object_type} {made.object_id} is shared with {made.target_project!r} already",
            type_="DuplicateRbacPolicy",
        )
    if made.object_type == SUBNETPOOL:
        _check_scope(conn, made)


def _check_scope(conn: Connection, made: RbacPolicy) -> None:
    """Whoever is to use a pool must be able to use its address scope."""
    scope = conn.execute(
        select(subnetpools.c.address_scope_id).where(subnetpools.c.id == made.object_id)
    ).scalar()
    if scope is not None and without_access(conn, scope, {made.target_project}):
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
    before = get(tx.conn, policy_id)
    after = replace(before, **values)
    if replace(after, target_project=before.target_project) != before:
        raise Invalid(f"of RBAC policy {policy_id} only target_tenant can be changed; make another")
    if after == before:
        return before
    _check_new(tx.conn, after)
    changed = update(rbac_policies).where(rbac_policies.c.id == policy_id)
    tx.conn.execute(changed.values(target_project=after.target_project))
    _check_unused(tx.conn, before)
    _show(tx, before)
    return after


def delete_one(tx: Tx, policy_id: str) -> None:
    """Share something no more.

    Raises:
        NotFound: there is no such policy.
        InUse: projects that see the thing by it still use it.
    """
    policy = get(tx.conn, policy_id)
    tx.conn.execute(delete(rbac_policies).where(rbac_policies.c.id == policy_id))
    _check_unused(tx.conn, policy)
    _show(tx, policy)


def _check_unused(conn: Connection, gone: RbacPolicy) -> None:
    users = stranded(conn, gone.object_type, gone.object_id)
    if users:
        raise InUse(
            f"RBAC policy {gone.id} on object {gone.object_id} can't be removed because other "
            f"objects depend on it: {KINDS[gone.object_type].used_by} of project "
            f"{', '.join(sorted(users))}; delete them first",
            type_="RbacPolicyInUse",
        )


def stranded(conn: Connection, object_type: str, object_id: str) -> Collection[str]:
    """Return the projects that use a thing which is not, or no more, shared with them."""
    kind = KINDS[object_type]
    users = set(conn.execute(kind.users(object_id)).scalars()) - {""}
    return _beyond(conn, object_type, object_id, users) if users else users


def without_access(conn: Connection, scope_id: str, projects: Collection[str]) -> set[str]:
    """Return which of these projects (or "*") may not use an address scope."""
    return _beyond(conn, ADDRESS_SCOPE, scope_id, projects)


def _beyond(
    conn: Connection, object_type: str, object_id: str, projects: Collection[str]
) -> set[str]:
    targets = targets_of(conn, object_type, object_id)
    if EVERYBODY in targets:
        return set()
    return set(projects) - targets - {KINDS[object_type].owner(conn, object_id)}


def targets_of(conn: Connection, object_type: str, object_id: str) -> set[str]:
    """Return whom a thing is shared with."""
    here = (
        rbac_policies.c.object_type == object_type,
        rbac_policies.c.object_id == object_id,
        rbac_policies.c.action == AS_SHARED,
    )
    return set(conn.execute(select(rbac_policies.c.target_project).where(*here)).scalars())


# --- what a thing says of itself ------------------------------------------------------------------


def _show(tx: Tx, policy: RbacPolicy) -> None:
    """Let a thing's `shared` say what the policies say; each of them is a change of the thing."""
    table = KINDS[policy.object_type].table
    shared = EVERYBODY in targets_of(tx.conn, policy.object_type, policy.object_id)
    here = (table.c.id == policy.object_id, table.c.shared != shared)
    tx.conn.execute(update(table).where(*here).values(shared=shared))
    tx.touch(table.name, policy.object_id)


def share(tx: Tx, object_type: str, object_id: str, *, shared: bool) -> None:
    """Let the policies of a thing say what its attribute `shared` says.

    Raises:
        InUse: it is to be shared no more, and others still use it.
    """
    kind = KINDS[object_type]
    if shared:
        made: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "project_id": kind.owner(tx.conn, object_id),
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
    if users := stranded(tx.conn, object_type, object_id):
        raise InUse(
            f"unable to reconfigure sharing settings for {kind.words} {object_id}: projects "
            f"{', '.join(sorted(users))} have {kind.used_by} on it; delete them first",
            type_="InvalidSharedSetting",
        )


def forget(tx: Tx, object_id: str) -> None:
    """Drop the policies of something that is deleted."""
    tx.conn.execute(delete(rbac_policies).where(rbac_policies.c.object_id == object_id))


# --- what a project sees --------------------------------------------------------------------------


def listing_for(listing: Listing, object_type: str, project_id: str) -> Listing:
    """Return a listing whose `shared` is what it is to a project."""
    table = KINDS[object_type].table
    mine = shared_with(object_type, table.c.id, project_id)
    return replace(listing, fields={**listing.fields, "shared": or_(table.c.shared, mine)})


def as_seen(conn: Connection, object_type: str, rows: list[R], project_id: str | None) -> list[R]:
    """Return rows as a project sees them: what is shared with it is `shared`; None: as they are."""
    if project_id is None:
        return rows
    found = select(rbac_policies.c.object_id).where(
        rbac_policies.c.target_project == project_id,
        rbac_policies.c.object_type == object_type,
        rbac_policies.c.action == AS_SHARED,
    )
    ids = set(conn.execute(found).scalars())
    return [replace(row, shared=True) if row.id in ids else row for row in rows]
