"""PostgreSQL: several servers, of which one writes at a time.

Every write transaction begins with the same advisory lock and holds it until its rows can be seen.
So jobs find the world as SQLite's single writer gives it to them: no other transaction runs between
a check and what follows from it, revisions are in commit order, and nobody waits for a deadlock.
Why that is not a lock at the end of the transaction, docs/decisions/0007 says.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import sqlalchemy
import structlog
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import QueuePool

from lessor.errors import ConfigError, Unavailable
from lessor.store.engine.connection import Connection, Statements
from lessor.store.engine.tx import Tx
from lessor.store.engine.writer import message_of

READERS = 10  # connections of one process; each costs the database some megabytes
READER_WAIT_S = 10.0
LOCK_WAIT_S = 10  # for other servers' transactions
SILENCE_S = 15  # after which PostgreSQL ends the transaction of a server that says nothing
PATIENCE_S = 8.0  # how long jobs wait for a database that restarts
MOST_TRIES = 60
TOKENS_S = (
    86400  # for so long a server's last token is kept: it asks for it within seconds, or never
)

LESSOR = 0x4C65_7373  # "Less": the first half of all our advisory locks' keys
WRITING, MIGRATING, KEEPING, PRESENT = 1, 2, 3, 4
CHANNEL = "lessor"
_IN_TRANSACTION = {2, 3}  # libpq: PQTRANS_INTRANS, PQTRANS_INERROR

BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
HAS_VERSION = "SELECT to_regclass('alembic_version')"
# The token is written in the transaction that it names. pg_xact_status() would not do: the number
# of a transaction that a crash took along is given to another one afterwards.
_LOCK = """WITH held AS MATERIALIZED (SELECT pg_advisory_xact_lock(%s::int, %s::int))
INSERT INTO meta (name, value)
SELECT %s, %s || ' ' || floor(extract(epoch FROM clock_timestamp())) FROM held
ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
_WAIT = f"SELECT pg_advisory_xact_lock({LESSOR}, {WRITING})"
_WRITTEN = "SELECT value FROM meta WHERE name = %s"
_NOTIFY = "SELECT pg_notify(%s, %s)"
_FORGET = """DELETE FROM meta WHERE name LIKE 'writer %%'
AND coalesce(nullif(split_part(value, ' ', 2), '')::numeric, 0)
    < extract(epoch FROM clock_timestamp()) - %s"""

# Conditions after which the same transaction may well succeed; PostgreSQL's appendix A.
_PASSING = frozenset({"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "25P03", "25P04"})

log = structlog.get_logger("lessor.store")


def url_of(connection: str) -> URL:
    """Return the URL of a setting, with the driver that we use.

    Raises:
        ConfigError: it can't be read; a password in it is not repeated.
    """
    try:
        url = make_url(connection)
    except ArgumentError as error:
        raise ConfigError(
            "[database] connection can't be read as a URL: write "
            "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
        ) from error
    if url.drivername not in {"postgresql", "postgresql+psycopg"}:
        raise ConfigError(
            f"[database] connection: no driver {url.drivername}; write postgresql+psycopg://"
        )
    return url.set(drivername="postgresql+psycopg")


def engine(connection: str) -> Engine:
    """Return an engine whose transactions begin and end where we say so."""
    made = create_engine(
        url_of(connection),
        poolclass=QueuePool,
        pool_size=READERS,
        max_overflow=3,  # the writer's, one to ask how a transaction went, one for peers
        pool_timeout=READER_WAIT_S,
        pool_reset_on_return=None,
        isolation_level="AUTOCOMMIT",
        execution_options={"statements": Statements()},
        use_native_hstore=False,  # it would be asked for at each start
        connect_args={
            "application_name": "lessor",
            "connect_timeout": 5,
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "tcp_user_timeout": 10_000,  # ms
        },
    )
    event.listen(made, "connect", _prepare)
    return made


def _prepare(conn: Any, _: Any) -> None:
    conn.autocommit = True
    conn.execute(
        f"SET lock_timeout = '{LOCK_WAIT_S}s'; "
        f"SET idle_in_transaction_session_timeout = '{SILENCE_S}s'; "
        "SET synchronous_commit = on; SET client_min_messages = warning; SET jit = off"
    )


def passing(error: BaseException) -> bool:
    """Tell whether an error of the database may be over at the next try."""
    if not isinstance(error, DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None)
    return bool(error.connection_invalidated or state in _PASSING or _unreachable(error))


def _unreachable(error: DBAPIError) -> bool:
    """Tell whether no connection was made: that error has no state of its own."""
    return type(error.orig).__name__ in {"OperationalError", "ConnectionTimeout"} and (
        getattr(error.orig, "sqlstate", None) is None
    )


class PostgresTransactions:
    """How `groupcommit` writes to PostgreSQL."""

    guards = False

    def __init__(self, engine: Engine, sender: str) -> None:
        self._engine = engine
        self._sender = sender
        self._conn: Connection | None = None
        self._token = ""
        self._count = 0
        self._since = 0.0

    @property
    def _name(self) -> str:
        """Of the row that has the token of our last transaction."""
        return f"writer {self._sender}"

    def begin(self) -> Connection:
        """Begin, and wait until no other server writes."""
        if self._conn is None:
            self._conn = Connection(self._engine)
        self._conn.exec_driver_sql(BEGIN)
        self._count += 1
        self._token = f"{self._sender}/{self._count}"
        self._conn.exec_driver_sql(_LOCK, (LESSOR, WRITING, self._name, self._token))
        return self._conn

    def alive(self) -> bool:
        """Tell whether there is a transaction, failed or not."""
        if self._conn is None or self._conn.invalidated:
            return False
        driver: Any = self._conn.connection.dbapi_connection
        return not driver.closed and int(driver.info.transaction_status) in _IN_TRANSACTION

    def commit(self, whole: Tx) -> None:
        """Tell the other servers, and commit.

        Raises:
            Lost: the connection broke and nothing was written.
            Unavailable: it broke, and whether something was written can't be found out now.
        """
        conn = self._conn
        assert conn is not None
        for payload in payloads(self._sender, whole.hosts):
            conn.exec_driver_sql(_NOTIFY, (CHANNEL, payload))
        try:
            conn.exec_driver_sql("COMMIT")
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            if not self._committed():
                raise

    def _committed(self) -> bool:
        """Find out how a transaction ended whose COMMIT was not answered."""
        until = time.monotonic() + PATIENCE_S
        self.roll_back()
        while time.monotonic() < until:
            try:
                return self._is_written()
            except DBAPIError as error:
                log.warning("database away", error=message_of(error))
            time.sleep(0.1)
        raise Unavailable(
            "the database went away while it wrote; whether it did is not known: look before you "
            "try again"
        )

    def _is_written(self) -> bool:
        with self._engine.connect() as conn:
            try:
                conn.exec_driver_sql(BEGIN)
                conn.exec_driver_sql(_WAIT)  # for that transaction too, if it goes on
                found = conn.exec_driver_sql(_WRITTEN, (self._name,)).scalar()
                conn.exec_driver_sql("ROLLBACK")
            except DBAPIError:
                conn.invalidate()
                raise
            return str(found).partition(" ")[0] == self._token

    def roll_back(self) -> None:
        """Roll back, or drop a connection that is of no use any more."""
        if self._conn is None:
            return
        if self.alive():
            with suppress(DBAPIError):
                self._conn.exec_driver_sql("ROLLBACK")
                return
        self.close()

    def lost(self, error: BaseException) -> bool:
        """Tell whether the same jobs may well succeed a little later."""
        return passing(error)

    def again(self, attempt: int) -> bool:
        """Wait a little, longer each time; False: `PATIENCE_S` are over."""
        if attempt == 1:
            self._since = time.monotonic()
        if attempt > MOST_TRIES or time.monotonic() - self._since > PATIENCE_S:
            return False
        time.sleep(min(0.05 * attempt, 0.5))
        return True

    def close(self) -> None:
        """Give the connection back; a broken one is dropped."""
        conn, self._conn = self._conn, None
        if conn is None:
            return
        with suppress(DBAPIError):
            if conn.invalidated or not _idle(conn):
                conn.invalidate()
            conn.close()


def forget_writers(conn: sqlalchemy.Connection) -> None:
    """Forget the tokens of servers that have not written for long: most of them are no more.

    Each start of a server leaves one. One that is only idle writes its token again with its next
    transaction; the times are the database's own.
    """
    conn.exec_driver_sql(_FORGET, (TOKENS_S,))


def _idle(conn: Connection) -> bool:
    driver: Any = conn.connection.dbapi_connection
    return not driver.closed and int(driver.info.transaction_status) == 0


# --- what servers tell each other -----------------------------------------------------------------

_MOST = 7000  # bytes of a notification; PostgreSQL takes 8000


def payloads(sender: str, hosts: set[str]) -> list[str]:
    """Return notifications that name hosts: the sender's id, then names; see `hosts_in`."""
    found: list[str] = []
    names: list[str] = []
    size = 0
    for name in sorted(hosts):
        if size + len(name) + 1 > _MOST:
            found.append(" ".join([sender, *names]))
            names, size = [], 0
        names.append(name)
        size += len(name) + 1
    return [*found, " ".join([sender, *names])] if names else found


def hosts_in(sender: str, payload: str) -> frozenset[str]:
    """Return the hosts that a notification names; none if we sent it ourselves."""
    origin, *names = payload.split(" ")
    return frozenset() if origin == sender else frozenset(names)
