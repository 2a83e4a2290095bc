"""RBAC policies: what is shared with whom.

`networks.shared` says the same as a policy that shares a network with everybody: both are written
in one transaction, whichever of them a client speaks of.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from lessor.errors import Conflict, InUse, Invalid, NotFound
from lessor.model import RbacPolicy
from lessor.store.ground import network_not_found
from lessor.store.listing import Listing
from lessor.store.query import Query
from lessor.store.tables import networks, ports, rbac_policies
from lessor.store.values import RbacValues
from lessor.store.visible import AS_SHARED, EVERYBODY, NETWORK
from lessor.store.writer import Tx

ACTIONS = {NETWORK: (AS_SHARED,)}  # what can be shared, and how
_COLUMNS = tuple(rbac_policies.c)
LISTING = Listing(
    "rbac_policy",
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
        Invalid: nothing of this type can be shared, or not in this way.
        NotFound: there is no such object.
        Conflict: it is shared so already.
    """
    return [_create(tx, values) for values in many]


def _create(tx: Tx, values: RbacValues) -> RbacPolicy:
    made = RbacPolicy(id=str(uuid.uuid4()), created_at=tx.now, **values)
    if made.object_type not in ACTIONS:
        known = ", ".join(ACTIONS)
        raise Invalid(f"object_type {made.object_type!r} can't be shared; known types: {known}")
    if made.action not in ACTIONS[made.object_type]:
        raise Invalid(
            f"invalid action {made.action!r} for object type {made.object_type!r}; valid actions: "
            f"{', '.join(ACTIONS[made.object_type])}",
            type_="InvalidActionForType",
        )
    _owner(tx.conn, made.object_id)
    _check_new(tx.conn, made)
    tx.conn.execute(insert(rbac_policies), {c.name: getattr(made, c.name) for c in _COLUMNS})
    _show(tx, made.object_id)
    return made


def _owner(conn: Connection, network_id: str) -> str:
    found = conn.execute(select(networks.c.project_id).where(networks.c.id == network_id)).first()
    if found is None:
        raise network_not_found(network_id)
    return str(found[0])


def _check_new(conn: Connection, made: RbacPolicy) -> None:
    same = (getattr(rbac_policies.c, name) == getattr(made, name) for name in (
        "object_type", "object_id", "action", "target_project",
    ))  # fmt: skip
    if conn.execute(select(rbac_policies.c.id).where(*same)).first():
        raise Conflict(
            f"{made.object_type} {made.object_id} is shared with {made.target_project!r} already",
            type_="DuplicateRbacPolicy",
        )


def update_one(tx: Tx, policy_id: str, values: RbacValues) -> RbacPolicy:
    """Let a policy have another target.

    Raises:
        NotFound: there is none.
        Invalid: something else is to change.
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
    _show(tx, before.object_id)
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
    _show(tx, policy.object_id)


def _check_unused(conn: Connection, gone: RbacPolicy) -> None:
    users = stranded(conn, gone.object_id)
    if users:
        raise InUse(
            f"RBAC policy {gone.id} on object {gone.object_id} can't be removed because other "
            f"objects depend on it: ports of project {', '.join(sorted(users))}; delete them first",
            type_="RbacPolicyInUse",
        )


def stranded(conn: Connection, network_id: str) -> Collection[str]:
    """Return the projects that have ports on a network which is not, or no more, shared with them."""
    here = (
        rbac_policies.c.object_id == network_id,
        rbac_policies.c.action == AS_SHARED,
    )
    targets = set(conn.execute(select(rbac_policies.c.target_project).where(*here)).scalars())
    if EVERYBODY in targets:
        return set()
    users = select(ports.c.project_id).where(
        ports.c.network_id == network_id,
        ports.c.server_of.is_(None),
        ports.c.device_owner.not_like("network:%"),
        ports.c.project_id != "",
    )
    return set(conn.execute(users.distinct()).scalars()) - targets - {_owner(conn, network_id)}


# --- what a network says of itself ----------------------------------------------------------------


def _show(tx: Tx, network_id: str) -> None:
    """Let `networks.shared` say what the policies say."""
    everybody = select(rbac_policies.c.id).where(
        rbac_policies.c.object_id == network_id,
        rbac_policies.c.target_project == EVERYBODY,
        rbac_policies.c.action == AS_SHARED,
    )
    shared = tx.conn.execute(everybody).first() is not None
    here = (networks.c.id == network_id, networks.c.shared != shared)
    if tx.conn.execute(update(networks).where(*here).values(shared=shared)).rowcount:
        tx.touch("networks", network_id)


def share(tx: Tx, network_id: str, *, shared: bool) -> None:
    """Let the policies of a network say what its attribute `shared` says.

    Raises:
        InUse: it is to be shared no more, and others still have ports on it.
    """
    if shared:
        made: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "project_id": _owner(tx.conn, network_id),
            "object_type": NETWORK,
            "object_id": network_id,
            "action": AS_SHARED,
            "target_project": EVERYBODY,
            "created_at": tx.now,
        }
        tx.conn.execute(insert(rbac_policies), made)
        return
    tx.conn.execute(
        delete(rbac_policies).where(
            rbac_policies.c.object_id == network_id,
            rbac_policies.c.target_project == EVERYBODY,
            rbac_policies.c.action == AS_SHARED,
        )
    )
    if users := stranded(tx.conn, network_id):
        raise InUse(
            f"unable to reconfigure sharing settings for network {network_id}: projects "
            f"{', '.join(sorted(users))} have ports on it; delete them first",
            type_="InvalidSharedSetting",
        )


def forget(tx: Tx, object_id: str) -> None:
    """Drop the policies of something that is deleted."""
    tx.conn.execute(delete(rbac_policies).where(rbac_policies.c.object_id == object_id))


def targeted(conn: Connection, object_type: str, project_id: str) -> set[str]:
    """Return what is shared with just this project (not with everybody)."""
    found = select(rbac_policies.c.object_id).where(
        rbac_policies.c.target_project == project_id,
        rbac_policies.c.object_type == object_type,
        rbac_policies.c.action == AS_SHARED,
    )
    return set(conn.execute(found).scalars())
