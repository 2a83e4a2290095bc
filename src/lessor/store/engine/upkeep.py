"""Work on a whole database: checked, copied to another, accepted after a restore."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, func, insert, select

from lessor.errors import Conflict, Unavailable
from lessor.settings import ServerSettings
from lessor.store.engine import database, files, history, integrity, notes, place, schema
from lessor.store.engine.dialect import is_postgres
from lessor.store.engine.files import Damaged
from lessor.store.tables import hosts, metadata, networks, nova_events, tombstones

AT_ONCE = 1000  # rows in one statement
_WITH_PURPOSE = (networks, hosts)  # a database with none of these is empty


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that was brought up to date."""

    version: str
    epoch: str


@contextmanager
def _opened(settings: ServerSettings, *, restored: bool = False) -> Iterator[Engine]:
    engine = database.open_engine(settings, restored=restored)
    try:
        yield engine
    finally:
        place.close(engine)


def upgrade(settings: ServerSettings) -> Opened:
    """Make a database or bring its tables up to date, as a server does when it starts."""
    with _opened(settings) as engine, database.reading(engine) as conn:
        return Opened(schema.HEAD, notes.remembered(conn, history.EPOCH))


def check(settings: ServerSettings) -> list[integrity.Finding]:
    """Return what is wrong with a database; see `integrity`."""
    try:
        with _opened(settings) as engine, database.reading(engine) as conn:
            return integrity.check(conn, time.time())
    except Damaged as damaged:
        return [integrity.Finding("file", "database", str(damaged))]


def backup(settings: ServerSettings, target: Path, *, force: bool = False) -> int:
    """Copy an SQLite database to a file, whole and durably, while servers use it; return its bytes.

    Raises:
        Conflict: the target is there already, or the database is on a PostgreSQL server.
        Unavailable: there is none, it is damaged, or the copy can't be written.
    """
    if not database.is_file(settings):
        raise Conflict(
            "the database is on a PostgreSQL server, which has its own back-up: "
            "pg_dump --format=custom --file=FILE DATABASE"
        )
    source = database.path_of(settings)
    if not source.exists():
        raise Unavailable(f"there is no database {source}; give the server's --config-file")
    if target.exists() and (target.samefile(source) or not force):
        raise Conflict(f"{target} is there already; give another name, or --force to replace it")
    files.refuse_lost(source, known=True)
    files.copy(source, target)
    return target.stat().st_size


def new(settings: ServerSettings) -> str:
    """Make a new, empty database where the one that was there is lost; return its epoch.

    Raises:
        Conflict: a database is there, or belongs to a PostgreSQL server.
    """
    if not database.is_file(settings):
        raise Conflict("on a PostgreSQL server a new database is made with createdb")
    path = database.path_of(settings)
    if not path.exists() and not place.was_known(path):
        return upgrade(settings).epoch
    try:
        place.close(database.open_engine(settings))
    except Damaged:
        if path.exists() and _has_tables(path):
            raise
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        place.forget(path)
    else:
        raise Conflict(f"{path} has a database; move it away first to make a new one")
    return upgrade(settings).epoch


def _has_tables(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as conn:
        try:
            return bool(conn.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
        except sqlite3.DatabaseError:
            return True


def restored(settings: ServerSettings) -> str:
    """Give a database that was restored in its own place a new epoch; return it."""
    with _opened(settings, restored=True) as engine, database.writing(engine) as conn:
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
            conn.execute(insert(table), [row._asdict() for row in some])
            copied += len(some)
    if is_postgres(conn.engine):
        for column in (tombstones.c.seq, nova_events.c.id):
            last = conn.execute(select(func.max(column))).scalar()
            if last:
                sequence = f"{column.table.name}_{column.name}_seq"
                conn.exec_driver_sql(f"SELECT setval('{sequence}', {int(last)})")
    return copied
