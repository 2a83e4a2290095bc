"""Opens the database: the file or the server, its epoch and its place."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import structlog
from sqlalchemy import Connection, Engine, insert
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lessor.errors import ConfigError, Invalid, Unavailable
from lessor.settings import ServerSettings
from lessor.store.engine import (
    connection,
    files,
    history,
    notes,
    place,
    postgres,
    recovery,
    schema,
    sqlite,
)
from lessor.store.engine.dialect import is_postgres
from lessor.store.engine.exclusive import begin_alone, undo
from lessor.store.engine.groupcommit import GroupWriter
from lessor.store.engine.peers import Alone, Peers
from lessor.store.engine.tx import Context
from lessor.store.engine.writer import Subscriber, Writer, message_of
from lessor.store.tables import counter

FILE = "lessor.sqlite"
PLACE = "place"
READING_PATIENCE_S = 3.0  # how long a reader waits for a database that restarts

log = structlog.get_logger("lessor.store")


def open_engine(settings: ServerSettings, *, restored: bool = False) -> Engine:
    """Return an engine for a database whose schema is the newest.

    `restored`: an operator says that its file is the right one, without a -wal file.

    Raises:
        ConfigError: the connection is not one of SQLite's or PostgreSQL's.
        Damaged: its file is damaged, or nothing is there where a database was.
        Unavailable: the database can't be opened.
    """
    if not is_file(settings):
        return _opened(postgres.engine(settings.connection), "of [database] connection")
    path = path_of(settings)
    files.refuse_lost(path, known=place.was_known(path))
    changed = place.was_changed(path)
    doubted = place.lacks_wal(path) and not restored
    return _opened(sqlite.engine(path), str(path), changed=changed, doubted=doubted)


def _opened(engine: Engine, shown: str, *, changed: bool = False, doubted: bool = False) -> Engine:
    try:
        with engine.connect() as conn:
            if not is_postgres(engine):
                _check_file(conn, doubted=doubted)
            schema.migrate(conn)
            _begin_life(conn, changed=changed)
    except DBAPIError as error:
        engine.dispose()
        if files.is_damage(error.orig):
            raise files.damaged(place.file_of(engine), message_of(error)) from error
        raise Unavailable(f"can't open the database {shown}: {_words(error, engine)}") from error
    except BaseException:
        engine.dispose()
        raise
    return engine


def _words(error: DBAPIError, engine: Engine) -> str:
    if is_postgres(engine) or not isinstance(error.orig, sqlite3.Error):
        return message_of(error)
    return files.reason(error.orig, place.file_of(engine))


def _check_file(conn: Connection, *, doubted: bool) -> None:
    """Refuse a damaged file, one without our tables where a database was, and half of one."""
    path = place.file_of(conn.engine)
    files.check_sound(cast(sqlite3.Connection, conn.connection.dbapi_connection), path)
    if place.was_known(path) and not schema.version_of(conn):
        raise files.lost(path, "has no tables (its -wal file may be lost)")
    if doubted and schema.version_of(conn) == schema.HEAD:
        run = history.now(conn).run
        if place.lost_wal(conn, run, notes.remembered(conn, PLACE)):
            raise files.without_wal(path)


def is_file(settings: ServerSettings) -> bool:
    """Tell whether the database is an SQLite file; if not, it is on a PostgreSQL server."""
    return not settings.connection or settings.connection.startswith("sqlite")


def writer_of(engine: Engine, context: Context, subscriber: Subscriber, sender: str) -> Writer:
    """Return what runs write jobs on a database; `sender` names this server to the others."""
    if is_postgres(engine):
        return GroupWriter(postgres.PostgresTransactions(engine, sender), context, subscriber)
    return GroupWriter(sqlite.SqliteTransactions(engine), context, subscriber)


def peers_of(engine: Engine, sender: str, subscriber: Subscriber) -> Peers:
    """Return the other servers on a database."""
    if not is_postgres(engine):
        return Alone()
    from lessor.store.engine.postgres_peers import PostgresPeers  # noqa: PLC0415 - psycopg is slow

    return PostgresPeers(engine, sender, subscriber)


class Readers:
    """Gives connections that read. Thread-safe.

    `waits`: whether a read waits for more than this machine's own disk.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._open = threading.local()
        self.waits = is_postgres(engine)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database.

        Within another one of the same thread it is that one, so all is of one state.

        Raises:
            Unavailable: the database can't be read.
            Invalid: it can't even be asked for what is asked.
        """
        conn: Connection | None = getattr(self._open, "conn", None)
        if conn is not None:
            yield conn
            return
        with reading(self._engine) as conn:
            self._open.conn = conn
            try:
                yield conn
            finally:
                self._open.conn = None


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection that sees one state of the database.

    Raises:
        Unavailable: the database can't be read.
        Invalid: it can't even be asked for what is asked.
    """
    try:
        with _begun(engine) as conn:
            try:
                yield conn
            finally:
                _ended(conn)
    except DataError as error:
        raise Invalid(f"the database can't be asked that: {message_of(error)}") from error
    except DBAPIError as error:
        raise Unavailable(f"the database can't be read now: {message_of(error)}") from error
    except PoolTimeout as error:
        raise Unavailable("the database is too busy to be read now; try again") from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """Give a connection that writes alone, for what is done to a whole database.

    Raises:
        Unavailable: the database can't be written.
    """
    try:
        with engine.connect() as conn:
            begin_alone(conn)
            try:
                yield conn
            except BaseException:
                undo(conn)
                raise
            conn.exec_driver_sql("COMMIT")
    except DBAPIError as error:
        raise Unavailable(f"the database can't be written now: {message_of(error)}") from error


def _begun(engine: Engine) -> Connection:
    """Return a connection in a transaction. A pooled one may have died since: there are others."""
    begin = postgres.BEGIN_READING if is_postgres(engine) else sqlite.BEGIN_READING
    until = time.monotonic() + READING_PATIENCE_S
    while True:
        conn: Connection | None = None
        try:
            conn = connection.Connection(engine)
            conn.exec_driver_sql(begin)
        except DBAPIError as error:
            if conn is not None:
                conn.close()
            if not is_postgres(engine) or not postgres.passing(error) or time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return conn


def _ended(conn: Connection) -> None:
    if conn.invalidated:  # what broke it is on its way to the caller
        return
    try:
        conn.exec_driver_sql("ROLLBACK")
    except DBAPIError:
        conn.invalidate()
        raise


def path_of(settings: ServerSettings) -> Path:
    """Return the file of an SQLite database, or raise ConfigError."""
    if not settings.connection:
        return settings.state_dir / FILE
    path = settings.connection.partition(":///")[2]
    if not path:
        raise ConfigError(
            "[database] connection names no file: give sqlite:////path/to/file, or nothing for a "
            "file in state_dir"
        )
    return Path(path)


def _begin_life(conn: Connection, *, changed: bool) -> None:
    """Give a new database its epoch and its counter, and one that came from elsewhere a new epoch.

    A copy that was put in place of a lost database may lack what was written after it was made: its
    revisions begin again below those that agents have seen, so their cursors mean nothing.
    """
    before = notes.remembered(conn, PLACE)
    if before and is_postgres(conn.engine) and place.is_known(conn, before):
        return
    begin_alone(conn)
    if not notes.remembered(conn, history.EPOCH):
        conn.execute(insert(counter).values(id=1, revision=0))
        new_epoch(conn)
    elif before and (changed or not place.is_known(conn, before)):
        new_epoch(conn)
        log.warning(
            "the database is a copy, or older than the one that was here",
            then="hosts take whole views, and no address is given out before they reported",
        )
    here = note_place(conn)
    conn.exec_driver_sql("COMMIT")
    place.settle(conn.engine, here)


def begin_run(engine: Engine, now: float) -> None:
    """Note that a server starts on a database."""
    with writing(engine) as conn:
        history.begin_run(conn)
        recovery.started(conn, now)
    if not is_postgres(engine):
        _mark(engine)


def _mark(engine: Engine) -> None:
    """Note the run beside the file, then a place that only the -wal has: see `place.lost_wal`."""
    with engine.connect() as conn:
        place.mark(conn, history.now(conn).run)
    with writing(engine) as conn:
        here = note_place(conn)
    place.settle(engine, here)


def tidy(conn: Connection) -> str:
    """Bring up to date what is noted of the database itself; return what is to be settled."""
    if is_postgres(conn.engine):
        postgres.forget_writers(conn)
    return note_place(conn)


def note_place(conn: Connection) -> str:
    """Note where the database is; return what was noted."""
    here = place.new(conn, notes.remembered(conn, PLACE))
    notes.remember(conn, PLACE, here)
    return here


def new_epoch(conn: Connection) -> str:
    """Give the database a new epoch: agents say what is in use, and take whole views."""
    epoch = history.begin_epoch(conn)
    recovery.begin(conn)
    return epoch
