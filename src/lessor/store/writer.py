"""How a write transaction runs, and how rows get their revision.

A job is a function of a `Tx`. On SQLite one thread runs all jobs, since SQLite has one writer
anyway: it takes whatever jobs wait into one transaction, each behind a savepoint of its own, so
that they share one wait for the disk. One revision is given to a transaction, at its end, so a
reader that has seen it has seen all before it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar, cast

import structlog
from sqlalchemy import Connection, Engine, bindparam, update
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from lessor.errors import Conflict, Invalid, Unavailable
from lessor.settings import ServerSettings
from lessor.store.tables import (
    address_scopes,
    counter,
    holds,
    instances,
    networks,
    ports,
    subnetpools,
    subnets,
    tombstones,
)

T = TypeVar("T")
UNSTAMPED = 1 << 62  # revision of a hold until its transaction ends
MOST_JOBS = 128  # in one transaction
Told = Callable[[frozenset[str]], None]


class Tx:
    """What a job writes through: the connection, the time, the settings, and what it touched."""

    def __init__(self, conn: Connection, now: float, settings: ServerSettings) -> None:
        self.conn = conn
        self.now = now
        self.settings = settings
        self.touched: dict[str, set[str]] = {}
        self.graves: list[dict[str, Any]] = []
        self.hosts: set[str] = set()
        self.held = False

    def touch(self, kind: str, row_id: str) -> None:
        """Give a row of a table that has one (`_STAMP`) a new revision.

        Kind `form` is a network of which hosts now have to know other rows than before: its scopes
        will be sent whole.
        """
        self.touched.setdefault(kind, set()).add(row_id)

    def gone(self, kind: str, row_id: str, network_id: str, host: str | None = None) -> None:
        """Say that a `subnet` or `port` was deleted, or that `host` no longer has to know it."""
        grave = {"kind": kind, "id": row_id, "network_id": network_id, "host": host}
        self.graves.append(grave | {"made_at": self.now})

    def concerns(self, hosts: Iterable[str | None]) -> None:
        """Name hosts whose view changes."""
        self.hosts.update(host for host in hosts if host is not None)

    def absorb(self, other: Tx) -> None:
        """Take over what another job of the same transaction touched."""
        for kind, ids in other.touched.items():
            self.touched.setdefault(kind, set()).update(ids)
        self.graves += other.graves
        self.hosts |= other.hosts
        self.held |= other.held

    def finish(self) -> int:
        """Give all that was touched the next revision; return it, or 0 if nothing was."""
        if not (self.touched or self.graves or self.held):
            return 0
        revision = cast(int, self.conn.execute(_NEXT).scalar_one())
        for kind, ids in self.touched.items():
            rows = [{"row": row_id, "revision": revision} for row_id in ids]
            self.conn.execute(_STAMP[kind], rows if len(rows) > 1 else rows[0])
        if self.held:
            self.conn.execute(_STAMP_HOLDS, {"revision": revision})
        if self.graves:
            rows = [grave | {"revision": revision} for grave in self.graves]
            self.conn.execute(tombstones.insert(), rows)
        return revision


_NEXT = update(counter).values(revision=counter.c.revision + 1).returning(counter.c.revision)
_STAMP = {
    table.name: update(table).where(table.c.id == bindparam("row")).values(
        revision=bindparam("revision")
    )
    for table in (networks, subnets, ports, instances, subnetpools, address_scopes)
} | {
    "form": update(networks).where(networks.c.id == bindparam("row")).values(
        revision=bindparam("revision"), form_revision=bindparam("revision")
    )
}  # fmt: skip
_STAMP_HOLDS = (
    update(holds).where(holds.c.revision == UNSTAMPED).values(revision=bindparam("revision"))
)


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a job returned, and the revision of the rows it touched."""

    value: T
    revision: int
    touched: Collection[str]


class Writer(Protocol):
    """Runs jobs, each a whole transaction to its caller."""

    def run(self, job: Callable[[Tx], T]) -> Written[T]:
        """Run a job and return when what it wrote survives a power cut.

        Raises:
            LessorError: what the job raised; nothing of it was written.
            Unavailable: the database could not write.
        """

    def close(self) -> None:
        """End after the jobs that wait."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A job with its caller, who sleeps until `done`."""

    job: Callable[[Tx], Any]
    done: threading.Lock = field(default_factory=threading.Lock)
    tx: Tx | None = None
    value: Any = None
    revision: int = 0
    error: BaseException | None = None


class SqliteWriter:
    """One thread, one connection, as many jobs a transaction as are waiting."""

    def __init__(
        self, engine: Engine, clock: Callable[[], float], settings: ServerSettings, told: Told
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._told = told
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._closed = False
        self._gate = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="lessor-writer", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[Tx], T]) -> Written[T]:
        """Run a job; see `Writer`."""
        waiting = _Waiting(job)
        waiting.done.acquire()
        with self._gate:
            if self._closed:
                raise Unavailable("the store is closed")
            self._queue.put(waiting)
        waiting.done.acquire()
        if waiting.error is not None:
            raise waiting.error
        touched = set().union(*waiting.tx.touched.values()) if waiting.tx else set()
        return Written(cast(T, waiting.value), waiting.revision, touched)

    def close(self) -> None:
        """End after the jobs that wait."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        with self._engine.connect() as conn:
            while batch := self._batch():
                self._transaction(conn, batch)

    def _batch(self) -> list[_Waiting]:
        """Wait for a job; return it with all that wait behind it, or nothing at the end."""
        item = self._queue.get()
        batch: list[_Waiting] = []
        while item is not None:
            batch.append(item)
            if len(batch) == MOST_JOBS:
                return batch
            try:
                item = self._queue.get_nowait()
            except Empty:
                return batch
        if batch:
            self._queue.put(None)
        return batch

    def _transaction(self, conn: Connection, batch: list[_Waiting]) -> None:
        whole, revision = Tx(conn, self._clock(), self._settings), 0
        try:
            conn.exec_driver_sql("BEGIN IMMEDIATE")
            for waiting in batch:
                self._job(conn, whole, waiting, alone=len(batch) == 1)
            revision = whole.finish()
            conn.exec_driver_sql("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whatever it was, its callers must hear of it
            self._roll_back(conn)
            for waiting in batch:
                waiting.error = waiting.error or _as_ours(error)
            whole.hosts.clear()
        for waiting in batch:
            waiting.revision = revision
            waiting.done.release()
        if whole.hosts:
            self._tell(frozenset(whole.hosts))

    def _job(self, conn: Connection, whole: Tx, waiting: _Waiting, *, alone: bool) -> None:
        """Run one job. Its own failure is its caller's alone, as long as the transaction lives."""
        tx = Tx(conn, self._clock(), self._settings)
        if not alone:
            conn.exec_driver_sql("SAVEPOINT job")
        try:
            waiting.value = waiting.job(tx)
        except BaseException as error:
            waiting.error = _as_ours(error)
            if alone or not _in_transaction(conn):
                raise
            conn.exec_driver_sql("ROLLBACK TO job")
            return
        finally:
            if not alone and _in_transaction(conn):
                conn.exec_driver_sql("RELEASE job")
        waiting.tx = tx
        whole.absorb(tx)

    def _roll_back(self, conn: Connection) -> None:
        if _in_transaction(conn):
            conn.exec_driver_sql("ROLLBACK")

    def _tell(self, hosts: frozenset[str]) -> None:
        try:
            self._told(hosts)
        except Exception:  # noqa: BLE001 - a subscriber's mistake must not end the writer
            structlog.get_logger().exception("store subscriber failed", hosts=sorted(hosts))


def _in_transaction(conn: Connection) -> bool:
    """Tell whether SQLite still has a transaction: a full disk ends it without being asked."""
    return bool(cast(Any, conn.connection.dbapi_connection).in_transaction)


def _as_ours(error: BaseException) -> BaseException:
    """Return what the caller of a job is to be raised."""
    if isinstance(error, OverflowError):
        return Invalid(f"a number is larger than the database can keep: {error}")
    if isinstance(error, IntegrityError):
        return Conflict(f"it contradicts what is stored ({error.orig}); look at it and try again")
    if isinstance(error, DBAPIError):
        return Unavailable(f"the database can't write now: {error.orig}")
    if isinstance(error, SQLAlchemyError):
        return Unavailable(f"the database can't write now: {error}")
    return error
