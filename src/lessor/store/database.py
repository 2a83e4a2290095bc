"""Opens the database: the file, its schema, and what is true of the database itself."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from lessor.errors import ConfigError, Unavailable
from lessor.settings import ServerSettings
from lessor.store.tables import counter, meta

FILE = "lessor.sqlite"
HEAD = "0004"  # the newest migration; a test compares
FOLDER = Path(__file__).parent / "migrations"
READERS = 64
BUSY_S = 10


def open_engine(settings: ServerSettings) -> Engine:
    """Return an engine for a database whose schema is the newest.

    Raises:
        ConfigError: the connection is not one of SQLite's.
        Unavailable: the file can't be opened.
    """
    path = _path(settings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        engine = _sqlite(path)
        with engine.connect() as conn:
            _migrate(conn)
            _begin_life(conn)
    except (OSError, DBAPIError) as error:
        raise Unavailable(f"can't open the database {path}: {error}") from error
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection that sees one state of the database.

    Raises:
        Unavailable: the database can't be read.
    """
    try:
        with engine.connect() as conn:
            conn.exec_driver_sql("BEGIN")
            try:
                yield conn
            finally:
                conn.exec_driver_sql("ROLLBACK")
    except DBAPIError as error:
        raise Unavailable(f"the database can't be read now: {error.orig}") from error


def remembered(conn: Connection, name: str) -> str:
    """Return what was noted of the database under a name, "" if nothing was."""
    return conn.execute(select(meta.c.value).where(meta.c.name == name)).scalar() or ""


def remember(conn: Connection, name: str, value: str) -> None:
    """Note something of the database."""
    changed = conn.execute(update(meta).where(meta.c.name == name).values(value=value))
    if not changed.rowcount:
        conn.execute(insert(meta).values(name=name, value=value))


def _path(settings: ServerSettings) -> Path:
    if not settings.connection:
        return settings.state_dir / FILE
    kind, _, path = settings.connection.partition(":///")
    if not kind.startswith("sqlite") or not path:
        raise ConfigError(
            f"[database] connection={settings.connection.split('@')[-1]!r}: only SQLite can be used "
            "so far; give sqlite:////path/to/file, or nothing for a file in state_dir"
        )
    return Path(path)


def _sqlite(path: Path) -> Engine:
    """Return an engine whose transactions begin and end where we say so, not where a driver guesses."""
    engine = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=-1,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "timeout": BUSY_S, "cached_statements": 512},
    )
    event.listen(engine, "connect", _prepare)
    return engine


def _prepare(conn: sqlite3.Connection, _: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # an acknowledged write survives a power cut
        "foreign_keys=ON",
        f"busy_timeout={BUSY_S * 1000}",
        "cache_size=-8192",  # KiB, for each connection
        "mmap_size=268435456",
        "temp_store=MEMORY",
        "wal_autocheckpoint=4000",
    ):
        conn.execute(f"PRAGMA {pragma}")


def _migrate(conn: Connection) -> None:
    """Bring the schema to HEAD. Alembic is imported only when there is something to do: 0.3 s."""
    if _version(conn) == HEAD:
        return
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.util import CommandError  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = conn
    conn.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        conn.exec_driver_sql("ROLLBACK")
        raise Unavailable(
            f"the database's tables are version {_version(conn)!r}, which this Lessor (it knows up "
            f"to {HEAD!r}) does not know: {error}; run the newer Lessor that made them"
        ) from error
    except BaseException:
        conn.exec_driver_sql("ROLLBACK")
        raise
    conn.exec_driver_sql("COMMIT")


def _version(conn: Connection) -> str:
    if not inspect(conn).has_table("alembic_version"):
        return ""
    return str(conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() or "")


def _begin_life(conn: Connection) -> None:
    """Give a new database its epoch and its counter."""
    if remembered(conn, "epoch"):
        return
    conn.exec_driver_sql("BEGIN IMMEDIATE")
    if not remembered(conn, "epoch"):
        conn.execute(insert(counter).values(id=1, revision=0))
        remember(conn, "epoch", str(uuid.uuid4()))
    conn.exec_driver_sql("COMMIT")
