"""SQLite: one file, one process, one writer."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, cast

import structlog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from lessor.errors import Unavailable
from lessor.store.engine import connection, files, place
from lessor.store.engine.tx import Tx

READERS = 64
BUSY_S = 10
BEGIN = "BEGIN IMMEDIATE"
BEGIN_READING = "BEGIN"
log = structlog.get_logger("lessor.store")

HAS_VERSION = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"


def engine(path: Path) -> Engine:
    """Return an engine whose transactions begin and end where we say, not where a driver guesses.

    Raises:
        Unavailable: the file can't be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise Unavailable(f"can't open the database {path}: {files.reason(error, path)}") from error
    opened = files.identity(path)
    made = create_engine(
        f"sqlite:///{path}",
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=-1,
        pool_use_lifo=True,  # the same few connections, whose caches are warm
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        execution_options={"statements": connection.Statements()},
        connect_args={"check_same_thread": False, "timeout": BUSY_S, "cached_statements": 512},
    )

    def prepare(conn: sqlite3.Connection, _: Any) -> None:
        """Open no file that another program has put in the place of ours meanwhile."""
        if files.identity(path) != opened:
            conn.close()
            raise files.replaced(path)
        _prepare(conn)

    event.listen(made, "connect", prepare)
    return made


def _prepare(conn: sqlite3.Connection) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # an acknowledged write survives a power cut
        "foreign_keys=ON",
        f"busy_timeout={BUSY_S * 1000}",
        "cache_size=-2048",  # KiB, for each connection
        "mmap_size=0",  # each connection would map the file for itself; the page cache has it once
        "temp_store=MEMORY",
        "wal_autocheckpoint=4000",
    ):
        conn.execute(f"PRAGMA {pragma}")


class SqliteTransactions:
    """Transactions of `groupcommit` on SQLite: the only writer, so none is lost."""

    guards = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._conn: Connection | None = None
        self._path = place.file_of(engine)
        self._opened = files.identity(self._path)
        self._refused = False

    @property
    def conn(self) -> Connection:
        """The writer's own connection: SQLite's may not change threads, so its thread opens it."""
        if self._conn is None:
            self._conn = connection.Connection(self._engine)
        return self._conn

    def begin(self) -> Connection:
        """Begin; wait for other programs that write for `BUSY_S`.

        Raises:
            Unavailable: the file is not there any more, or another one is.
        """
        self._check_there()
        self.conn.exec_driver_sql(BEGIN)
        return self.conn

    def _check_there(self) -> None:
        if files.identity(self._path) == self._opened:
            self._refused = False
            return
        error = files.replaced(self._path)
        if not self._refused:
            log.error("writes refused", error=str(error))
        self._refused = True
        raise error

    def alive(self) -> bool:
        """Tell whether SQLite still has a transaction: a full disk ends it without being asked."""
        return bool(cast(Any, self.conn.connection.dbapi_connection).in_transaction)

    def commit(self, _: Tx) -> None:
        """Commit."""
        self.conn.exec_driver_sql("COMMIT")

    def roll_back(self) -> None:
        """Roll back, if there is something."""
        if self.alive():
            self.conn.exec_driver_sql("ROLLBACK")

    def lost(self, _: BaseException) -> bool:
        """A failure is a failure here."""
        return False

    def again(self, _: int) -> bool:
        """Nothing is run twice."""
        return False

    def close(self) -> None:
        """Give the connection back."""
        if self._conn is not None:
            self._conn.close()
