"""A made-up noun: its declaration is all that the store needs of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypedDict

import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    MetaData,
    Select,
    Table,
    Text,
    insert,
    select,
)
from sqlalchemy import delete as deletion
from sqlalchemy import update as change

from lessor.errors import Conflict, InUse, NotFound, Outdated
from lessor.store import tagrows, tags
from lessor.store.collection import Declared
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.listing import Listing
from lessor.store.noun import Noun
from lessor.store.query import Query
from lessor.store.sharing import projects, quotas, visible
from lessor.store.sharing.quotas import quota
from lessor.store.sharing.shareable import Shareable
from lessor.store.store import Store
from tests.store.store_cloud import Clock, settings_in

# --- the table ------------------------------------------------------------------------------------

trunks = Table(
    "trunks",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("project_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False, server_default="0"),
    Column("updated_at", Float, nullable=False),
)

# --- the module -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Trunk:
    id: str
    project_id: str
    name: str
    shared: bool = False
    revision: int = 0
    updated_at: float = 0


class TrunkValues(TypedDict, total=False):
    project_id: str
    name: str
    tags: Sequence[str]


def _visible(project_id: str) -> ColumnElement[bool]:
    return visible.own_or_shared("trunk", trunks, project_id)


LISTING = Listing(
    "trunk", select(*trunks.c), trunks.c.id, {c.name: c for c in trunks.c}, visible=_visible
)


def get(tx: ReadTx, key: str) -> Trunk:
    row = tx.conn.execute(select(*trunks.c).where(trunks.c.id == key)).first()
    if row is None:
        raise NotFound(f"there is no trunk {key}")
    return Trunk(**row._asdict())


def find(tx: ReadTx, query: Query) -> list[Trunk]:
    return [Trunk(**row._asdict()) for row in LISTING.rows(tx, query)]


def create(tx: Tx, many: Sequence[TrunkValues]) -> list[Trunk]:
    made = []
    for values in many:
        trunk = Trunk(
            id=str(uuid.uuid4()), project_id=values["project_id"], name=values.get("name", "")
        )
        row = {"id": trunk.id, "project_id": trunk.project_id, "name": trunk.name}
        tx.conn.execute(insert(trunks), row | {"shared": False, "updated_at": tx.now})
        tx.touch("trunks", trunk.id)
        made.append(replace(trunk, updated_at=tx.now))
    return made


def update(tx: Tx, key: str, values: TrunkValues) -> Trunk:
    tx.conn.execute(change(trunks).where(trunks.c.id == key).values(name=values["name"]))
    tx.touch("trunks", key)
    return get(tx, key)


def delete(tx: Tx, key: str) -> None:
    tx.conn.execute(deletion(trunks).where(trunks.c.id == key))
    tagrows.forget(tx, key)


def _users(_: str) -> Select[tuple[str]]:
    return select(trunks.c.project_id).where(trunks.c.name == "rides on it")


NOUN = Noun(
    name="trunk",
    table=trunks,
    get=get,
    find=find,
    create=create,
    update=update,
    delete=delete,
    visible=_visible,
    quota=quota(trunks, 2),
    shareable=Shareable(trunks, "trunk", "ports", _users),
)

# --- the line -------------------------------------------------------------------------------------


class WithTrunks(Store):
    trunks = Declared(NOUN)


# --- what it gets ---------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WithTrunks]:
    settings = settings_in(tmp_path, auth_strategy="keystone")
    store = WithTrunks.open(settings, Clock())
    store.write(lambda tx: trunks.create(tx.conn))
    yield store
    store.close()


def made(store: WithTrunks, **values: object) -> Trunk:
    given: TrunkValues = {"project_id": "mine", **values}  # type: ignore[typeddict-item]  # of tests
    return store.trunks.create([given])[0]


def test_it_is_found_changed_and_deleted(store: WithTrunks) -> None:
    trunk = made(store, name="red")
    assert store.trunks.get(trunk.id) == trunk
    assert store.trunks.find(Query(filters={"name": ("red",)})) == [trunk]
    assert store.trunks.update(trunk.id, {"name": "blue"}).name == "blue"
    store.trunks.delete(trunk.id)
    with pytest.raises(NotFound):
        store.trunks.get(trunk.id)


def test_each_change_is_a_revision(store: WithTrunks) -> None:
    trunk = made(store)
    after = store.trunks.update(trunk.id, {"name": "blue"}, trunk.revision)
    assert store.trunks.get(trunk.id).revision == after.revision > trunk.revision > 0
    with pytest.raises(Outdated):
        store.trunks.update(trunk.id, {"name": "green"}, trunk.revision)


def test_it_has_tags(store: WithTrunks) -> None:
    trunk = made(store, tags=["a"])
    store.write(tags.add, "trunk", trunk.id, ["b"])
    assert store.read(tagrows.of, [trunk.id]) == {trunk.id: ["a", "b"]}
    assert store.trunks.find(Query(filters={"tags": (["b"],)}))[0].revision > trunk.revision


def test_it_has_a_quota(store: WithTrunks) -> None:
    made(store)
    assert store.read(quotas.limits, "mine")["trunk"] == 2
    assert store.read(quotas.usage, "mine")["trunk"] == 1
    with pytest.raises(Conflict, match="quota exceeded for resources: \\['trunk'\\]"):
        store.trunks.create([{"project_id": "mine"}, {"project_id": "mine"}])


def test_it_is_seen_by_its_project_and_those_it_is_shared_with(store: WithTrunks) -> None:
    trunk = made(store)
    assert [
        len(store.trunks.find(Query(visible_to=who))) for who in ("mine", "theirs")
    ] == [1, 0]  # fmt: skip
    policy = store.rbac_policies.create(
        [
            {
                "object_type": "trunk",
                "object_id": trunk.id,
                "target_project": "theirs",
                "action": visible.AS_SHARED,
                "project_id": "mine",
            }
        ]
    )[0]
    assert store.trunks.find(Query(visible_to="theirs")) == [store.trunks.get(trunk.id)]
    store.trunks.create([{"project_id": "theirs", "name": "rides on it"}])
    with pytest.raises(InUse, match="ports of project theirs"):
        store.rbac_policies.delete(policy.id)


def test_its_project_is_known(store: WithTrunks) -> None:
    made(store)
    assert store.read(projects.known) == ["mine"]
