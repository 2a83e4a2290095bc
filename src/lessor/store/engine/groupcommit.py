"""Runs jobs: one thread, one connection, as many jobs in a transaction as are waiting.

They share one wait for the disk, and yet each fails alone: behind a savepoint of its own, or, where
that costs two more round trips, in a second run of all, with savepoints. What else differs between
databases, `sqlite.SqliteTransactions` and `postgres.PostgresTransactions` say.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar, cast

import structlog
from sqlalchemy import Connection

from lessor.errors import Unavailable
from lessor.store.engine.tx import Context, Tx
from lessor.store.engine.writer import Subscriber, Written, as_lessor_error

T = TypeVar("T")
MOST_JOBS = 128  # in one transaction


class Lost(Exception):
    """A transaction is gone and nothing of it was written: its jobs can be run again."""


class _Unguarded(Exception):
    """A job failed that had no savepoint: its neighbours must not suffer from it."""


class Transactions(Protocol):
    """How a database begins and ends the writer's transactions."""

    @property
    def guards(self) -> bool:
        """Whether savepoints cost so little that each job gets one at once."""

    def begin(self) -> Connection:
        """Begin the only one that writes, and return its connection.

        Raises:
            Lost: it may work a little later.
        """

    def alive(self) -> bool:
        """Tell whether there is a transaction, failed or not."""

    def commit(self, whole: Tx) -> None:
        """End it, so that what was written survives a power cut.

        Raises:
            Lost: nothing of it was written.
        """

    def roll_back(self) -> None:
        """End it, if there is one."""

    def lost(self, error: BaseException) -> bool:
        """Tell whether an error means that the transaction is gone by no fault of a job's."""

    def again(self, attempt: int) -> bool:
        """Wait a little before jobs of a lost transaction are run again; False: it is enough."""

    def close(self) -> None:
        """Give the connection back."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A job whose caller sleeps until `done`."""

    job: Callable[[Tx], Any]
    done: threading.Lock = field(default_factory=threading.Lock)
    tx: Tx | None = None
    value: Any = None
    error: BaseException | None = None

    def forget(self) -> None:
        """Forget how it went: it is run again."""
        self.tx = self.value = self.error = None


class GroupWriter:
    """A `Writer`: see the top."""

    def __init__(
        self, transactions: Transactions, context: Context, subscriber: Subscriber
    ) -> None:
        self._transactions = transactions
        self._context = context
        self._subscriber = subscriber
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
        revision = waiting.tx.revision if waiting.tx else 0
        return Written(cast(T, waiting.value), revision, touched)

    def close(self) -> None:
        """End after the jobs that wait."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        try:
            while batch := self._batch():
                self._run(batch)
        finally:
            self._transactions.close()

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

    def _run(self, batch: list[_Waiting]) -> None:
        """Run jobs until their transaction is either written or refused, and wake their callers."""
        whole: Tx | None = None
        attempt = 0
        guarded = len(batch) > 1 and self._transactions.guards
        while True:
            try:
                whole = self._transaction(batch, guarded=guarded)
            except _Unguarded:
                guarded = True
                continue
            except Lost as lost:
                attempt += 1
                if self._transactions.again(attempt):
                    continue
                self._refuse(batch, lost.__cause__ or lost)
            except BaseException as error:  # noqa: BLE001 - its callers raise it
                self._refuse(batch, error)
            break
        for waiting in batch:
            if waiting.tx is not None and waiting.error is None:
                waiting.tx.committed()
            waiting.done.release()
        if whole is not None and whole.hosts:
            self._tell(frozenset(whole.hosts))

    def _refuse(self, batch: list[_Waiting], error: BaseException) -> None:
        for waiting in batch:
            waiting.error = waiting.error or as_lessor_error(error)

    def _transaction(self, batch: list[_Waiting], *, guarded: bool) -> Tx:
        for waiting in batch:
            waiting.forget()
        try:
            conn = self._transactions.begin()
            whole = Tx(conn, self._context)
            for waiting in batch:
                self._job(conn, whole, waiting, guarded=guarded)
            whole.finish()
            self._transactions.commit(whole)
        except BaseException as error:
            self._transactions.roll_back()
            if self._transactions.lost(error):
                raise Lost from error
            if len(batch) > 1 and not guarded and any(waiting.error for waiting in batch):
                raise _Unguarded from error
            raise
        return whole

    def _job(self, conn: Connection, whole: Tx, waiting: _Waiting, *, guarded: bool) -> None:
        """Run one job. Its own failure is its caller's alone, as long as the transaction lives."""
        tx = Tx(conn, self._context)
        tx.earlier = whole.ids
        if guarded:
            conn.exec_driver_sql("SAVEPOINT job")
        try:
            waiting.value = waiting.job(tx)
            tx.end()
        except BaseException as error:
            waiting.error = as_lessor_error(error)
            if not guarded or not self._transactions.alive() or self._transactions.lost(error):
                raise
            conn.exec_driver_sql("ROLLBACK TO SAVEPOINT job")
            return
        finally:
            if guarded and self._transactions.alive():
                conn.exec_driver_sql("RELEASE SAVEPOINT job")
        waiting.tx = tx
        whole.absorb(tx)

    def _tell(self, hosts: frozenset[str]) -> None:
        try:
            self._subscriber(hosts)
        except Exception:  # noqa: BLE001 - a subscriber's mistake must not end the writer
            structlog.get_logger().exception("store subscriber failed", hosts=sorted(hosts))
