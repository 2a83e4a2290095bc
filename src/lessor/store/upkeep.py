"""What is done to a whole database: looked through, copied to another, believed after a restore."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, func, insert, select

from lessor.errors import Conflict
from lessor.settings import ServerSettings
from lessor.store import database, integrity
from lessor.store.dialect import is_postgres
from lessor.store.tables import hosts, metadata, networks, nova_events, tombstones

AT_ONCE = 1000  # rows in one statement
_WITH_PURPOSE = (networks, hosts)  # a database with none of these is empty


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that was brought up to date."""

    version: str
    epoch: str


@contextmanager
def _opened(settings: ServerSettings) -> Iterator[Engine]:
    engine = database.open_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def upgrade(settings: ServerSettings) -> Opened:
    """Make a database or bring its tables up to date, as a server does when it starts."""
    with _opened(settings) as engine, database.reading(engine) as conn:
        return Opened(database.HEAD, database.remembered(conn, "epoch"))


def check(settings: ServerSettings) -> list[integrity.Finding]:
    """Return what is wrong with a database; see `integrity`."""
    with _opened(settings) as engine, database.reading(engine) as conn:
        return integrity.check(conn, time.time())


def restored(settings: ServerSettings) -> str:
    """Give a database that was restored in its own place a new epoch; return it."""
    with _opened(settings) as engine, database.writing(engine) as conn:
        return database.new_epoch(conn)


def copy(source: ServerSettings, target: ServerSettings) -> int:
    """Copy all rows into an empty database; return how many.

    The epoch goes along: agents go on where they were.

    Raises:
        Conflict: the target has networks or hosts.
    """
    with (
        _opened(source) as old,
        _opened(target) as new,
        database.reading(old) as rows,
        database.writing(new) as conn,
    ):
        _check_empty(conn)
        copied = _copy(rows, conn)
        database.note_place(conn)
        return copied


def _check_empty(conn: Connection) -> None:
    for table in _WITH_PURPOSE:
        count = conn.execute(select(func.count()).select_from(table)).scalar_one()
        if count:
            raise Conflict(
                f"the target has {count} {table.name} already; give an empty database to copy to"
            )


def _copy(rows: Connection, conn: Connection) -> int:
    for table in reversed(metadata.sorted_tables):
        conn.execute(table.delete())
    copied = 0
    for table in metadata.sorted_tables:
        found = rows.execute(select(table))
        while some := found.fetchmany(AT_ONCE):
            conn.execute(insert(table), [dict(row._mapping) for row in some])  # noqa: SLF001 - SQLAlchemy's public name for it
            copied += len(some)
    if is_postgres(conn.engine):
        for column in (tombstones.c.seq, nova_events.c.id):
            last = conn.execute(select(func.max(column))).scalar()
            if last:
                sequence = f"{column.table.name}_{column.name}_seq"
                conn.exec_driver_sql(f"SELECT setval('{sequence}', {int(last)})")
    return copied
