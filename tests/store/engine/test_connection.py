"""Statements that are compiled once say what SQLAlchemy's do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from lessor.store.engine.connection import Connection, Statements
from lessor.store.engine.dialect import among
from lessor.store.tables import hosts, meta
from tests.store.store_cloud import Cloud

ADD = insert(hosts)
SHOW = select(hosts.c.name, hosts.c.in_sync, hosts.c.local_ip).where(
    hosts.c.name == bindparam("key")
)
TIMES = 3  # the first goes SQLAlchemy's way, the second compiles


@pytest.fixture
def conn(cloud: Cloud) -> Iterator[Connection]:
    with Connection(cloud.store._engine) as made:
        made.exec_driver_sql("BEGIN")
        yield made
        if not made.invalidated:
            made.exec_driver_sql("ROLLBACK")


def add(conn: Connection, name: str, **values: Any) -> Any:
    row = {"name": name, "id": name, "token_hash": name}
    return conn.execute(ADD, row | values)


def known(conn: Connection, statement: Any) -> Any:
    statements = conn.engine.get_execution_options()["statements"]
    assert isinstance(statements, Statements)
    return statements.known[statement]


def test_rows_and_values_are_pythons_whichever_way_they_came(conn: Connection) -> None:
    add(conn, "a", in_sync=True)
    add(conn, "b")
    add(conn, "c", local_ip="192.0.2.1")
    assert any(known(conn, ADD).values())
    for _ in range(TIMES):
        row = conn.execute(SHOW, {"key": "a"}).one()
        assert row.in_sync is True
        assert tuple(row) == ("a", True, None)
        assert dict(row._mapping) == {"name": "a", "in_sync": True, "local_ip": None}
        assert conn.execute(SHOW, {"key": "c"}).first() == ("c", False, "192.0.2.1")
        assert conn.execute(SHOW, {"key": "d"}).first() is None
        assert conn.execute(SHOW, {"key": "b"}).scalar() == "b"
        assert [one.name for one in conn.execute(SHOW, {"key": "b"})] == ["b"]
    assert all(known(conn, SHOW).values())


def test_what_a_statement_has_of_its_own_stays(conn: Connection) -> None:
    for name in ("a", "b", "c"):
        add(conn, name, description="x")
    many = select(func.count()).where(hosts.c.description == "x", hosts.c.name > bindparam("low"))
    change = update(hosts).values(description="y").where(hosts.c.name == bindparam("key"))
    back = change.values(description="z").returning(hosts.c.name, hosts.c.in_sync)
    for _ in range(TIMES):
        assert conn.execute(many, {"low": "a"}).scalar_one() == 2
        assert conn.execute(change, {"key": "a"}).rowcount == 1
        assert conn.execute(change, {"key": "d"}).rowcount == 0
        assert conn.execute(back, {"key": "a"}).one() == ("a", False)
    gone = delete(hosts).where(hosts.c.name == bindparam("key"))
    assert [conn.execute(gone, {"key": name}).rowcount for name in "abcd"] == [1, 1, 1, 0]


def test_an_insert_has_the_columns_that_are_given_each_time(conn: Connection) -> None:
    for turn in range(TIMES):
        add(conn, f"a{turn}")
        add(conn, f"b{turn}", server="dnsmasq")
    servers = select(hosts.c.server).where(hosts.c.name == bindparam("key"))
    for _ in range(TIMES):
        assert conn.execute(servers, {"key": "a2"}).scalar() == ""
        assert conn.execute(servers, {"key": "b2"}).scalar() == "dnsmasq"


def test_lists_are_members_of_one_text_whatever_their_length(conn: Connection) -> None:
    for name in ("a", "b", "c"):
        add(conn, name, report_interval=7)
    some = select(hosts.c.name).where(among(hosts.c.name, "keys")).order_by(hosts.c.name)
    for keys in (["a", "c"], [], ["b"], ["a", "b", "c", "d"]):
        found = conn.execute(some, {"keys": keys}).scalars().all()
        assert found == [key for key in keys if key != "d"]
    assert len(known(conn, some)) == 1
    assert "= 1" not in str(some.compile(dialect=conn.dialect))
    expanding = select(hosts.c.name).where(hosts.c.name.in_(bindparam("keys", expanding=True)))
    for _ in range(TIMES):
        assert set(conn.execute(expanding, {"keys": ["a", "c"]}).scalars()) == {"a", "c"}
    assert not any(known(conn, expanding).values())


def test_a_value_that_is_missing_is_no_null(conn: Connection) -> None:
    for _ in range(TIMES):
        with pytest.raises(StatementError, match="key"):
            conn.execute(SHOW, {})


def test_a_broken_constraint_is_sqlalchemys_error(conn: Connection) -> None:
    add(conn, "a")
    for _ in range(TIMES):
        conn.exec_driver_sql("SAVEPOINT here")
        with pytest.raises(IntegrityError):
            add(conn, "a")
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT here")
        assert conn.execute(SHOW, {"key": "a"}).first()  # the transaction goes on


def test_a_statement_is_forgotten_with_its_owner(conn: Connection) -> None:
    statements: Statements = conn.engine.get_execution_options()["statements"]
    before = len(statements.known)
    for _ in range(50):
        made = select(meta.c.name).where(meta.c.name == "here")
        conn.execute(made)
        conn.execute(made)
    del made
    assert len(statements.known) <= before + 1


def test_a_malformed_statement_is_an_error_of_the_database(conn: Connection) -> None:
    with pytest.raises(DBAPIError):
        conn.exec_driver_sql("SELECT nothing FROM nowhere")
