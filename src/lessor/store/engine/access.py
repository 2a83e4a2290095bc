"""One database as the rest of the store sees it: functions run in its transactions."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from sqlalchemy import Engine

from lessor.settings import ServerSettings
from lessor.store.engine import database, history, place
from lessor.store.engine.tx import Context, ReadTx, Tx, stamps
from lessor.store.engine.writer import Written
from lessor.store.hosts.fleet import DELETED, Fleet
from lessor.store.hosts.heartbeats import SilenceWatch

if TYPE_CHECKING:  # made of transactions itself
    from lessor.store.noun import Noun

T = TypeVar("T")
P = ParamSpec("P")
Subscriber = Callable[[frozenset[str]], None]


class Database:
    """Runs functions in transactions, and publishes which hosts a commit concerns. Thread-safe.

    A function that takes a `Tx` or a `ReadTx` runs in one transaction, by `write` or `read`; one
    that takes the database needs several.

    Attributes:
        id: the name of this server among those on the database.
        fleet: the state of hosts that this server has in memory.
        peers: the other servers on the database.
        epoch: of the database, as of the last view: see `history`.
    """

    def __init__(
        self,
        engine: Engine,
        settings: ServerSettings,
        clock: Callable[[], float],
        nouns: Mapping[str, Noun[Any, Any]],
    ) -> None:
        self.id = uuid.uuid4().hex[:12]
        self.settings = settings
        self.clock = clock
        self.fleet = Fleet(clock(), SilenceWatch(settings.dhcp_down_time))
        self._engine = engine
        self._readers = database.Readers(engine)
        self._subscribers: list[Subscriber] = []
        self._context = Context(
            settings, clock, self.fleet, nouns, stamps(noun.table for noun in nouns.values())
        )
        self._writer = database.writer_of(engine, self._context, self._tell, self.id)
        self.peers = database.peers_of(engine, self.id, self._tell)
        self.epoch = self.read(lambda tx: history.now(tx.conn).epoch)

    def read(
        self, function: Callable[Concatenate[ReadTx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function in a transaction that reads.

        Raises:
            LessorError: what the function raised.
            Unavailable: the database can't be read.
        """
        with self._readers.reading() as conn:
            return function(ReadTx(conn, self._context), *args, **kwargs)

    def snapshot(self) -> AbstractContextManager[object]:
        """Let all that this thread reads in it be of one state of the database."""
        return self._readers.reading()

    @property
    def reads_wait(self) -> bool:
        """Whether a read of one row waits for more than this machine's own disk."""
        return self._readers.waits

    def write(
        self, function: Callable[Concatenate[Tx, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function in a transaction that writes; return when that survives a power cut.

        Rows that it returns, alone or in a list, have the revision of the transaction.

        Raises:
            LessorError: what the function raised; nothing was written.
            Unavailable: the database can't be written.
        """
        written = self._writer.run(lambda tx: function(tx, *args, **kwargs))
        return _stamped(written)

    def subscribe(self, callback: Subscriber) -> None:
        """Call `callback` after each commit with the hosts whose view changed.

        It is called in the writer's thread, or in the one that hears other servers, so it must be
        quick. `peers.EVERYONE` stands for all hosts.
        """
        self._subscribers.append(callback)

    def _tell(self, names: frozenset[str]) -> None:
        for name in names:
            if name.startswith(DELETED):
                self.fleet.forget(name.removeprefix(DELETED))
        for callback in self._subscribers:
            callback(names)

    def close(self) -> None:
        """Close the database after the jobs that wait."""
        self.peers.close()
        self._writer.close()
        place.close(self._engine)


def _stamped(written: Written[T]) -> T:
    value: Any = written.value
    if not written.touched:
        return written.value
    if isinstance(value, list):
        return cast(T, [_with_revision(row, written) for row in value])
    return cast(T, _with_revision(value, written))


def _with_revision(row: Any, written: Written[Any]) -> Any:
    if getattr(row, "id", None) not in written.touched:
        return row
    return replace(row, revision=written.revision)
