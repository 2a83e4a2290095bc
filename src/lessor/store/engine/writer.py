"""How a write transaction runs, and how rows get their revision.

A job is a function of a `Tx`; `groupcommit` runs jobs. One revision is given to a transaction, at
its end, so a reader that has seen it has seen all before it. A job may be run again, after its
transaction was lost: what it does outside of the database must bear that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar, cast

from sqlalchemy import Connection, Executable, bindparam, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

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
AT_ONCE = 5000  # ids in one statement
UNSTAMPED = 1 << 62  # revision of a hold until its transaction ends
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
        # by a range's first number: below it, this job saw none free
        self.no_vni_below: dict[int, int] = {}
        self.revision = 0  # of what it touched, once its transaction is finished
        self.ids: set[str] = set()  # of what it touched, whatever kind it is
        self.earlier: Collection[str] = ()  # `ids` of earlier jobs that have no revision yet
        self._last: dict[Hashable, tuple[Executable, dict[str, Any]]] = {}
        self._parts: list[Tx] = []

    def touch(self, kind: str, row_id: str) -> None:
        """Give a row of a table that has one (`_STAMP`) a new revision.

        Kind `form` is a network of which hosts now have to know other rows than before: its scopes
        will be sent whole.
        """
        self.touched.setdefault(kind, set()).add(row_id)
        self.ids.add(row_id)

    def gone(self, kind: str, row_id: str, network_id: str, host: str | None = None) -> None:
        """Say that a `subnet` or `port` was deleted, or that `host` no longer has to know it."""
        grave = {"kind": kind, "id": row_id, "network_id": network_id, "host": host}
        self.graves.append(grave | {"made_at": self.now})

    def concerns(self, hosts: Iterable[str | None]) -> None:
        """Name hosts whose view changes."""
        self.hosts.update(host for host in hosts if host is not None)

    def at_last(self, key: Hashable, statement: Executable, values: dict[str, Any]) -> None:
        """Execute a statement when the job has done all else; of those with one key, the last."""
        self._last[key] = (statement, values)

    def end(self) -> None:
        """Execute what was left for the job's end."""
        for statement, values in self._last.values():
            self.conn.execute(statement, values)
        self._last = {}

    def absorb(self, other: Tx) -> None:
        """Take over what another job of the same transaction touched.

        Each change of a row is a revision of its own, so that `revisions.expect` knows them apart:
        where two jobs touch the same row, what came before is finished first.
        """
        if not self.ids.isdisjoint(other.ids):
            self.finish()
        self._parts.append(other)
        self.ids |= other.ids
        for kind, ids in other.touched.items():
            self.touched.setdefault(kind, set()).update(ids)
        self.graves += other.graves
        self.hosts |= other.hosts
        self.held |= other.held

    def finish(self) -> int:
        """Give all that was touched the next revision; return the last one given, 0 if none was."""
        if self.touched or self.graves or self.held:
            self.revision = self._stamp()
        for part in self._parts:
            part.revision = self.revision
        self._parts, self.touched, self.graves, self.held = [], {}, [], False
        self.ids = set()
        return self.revision

    def _stamp(self) -> int:
        revision = cast(int, self.conn.execute(_NEXT).scalar_one())
        for kind, ids in self.touched.items():
            rows = sorted(ids)
            for start in range(0, len(rows), AT_ONCE):
                some = rows[start : start + AT_ONCE]
                several = len(some) > 1
                values = {"ids": some} if several else {"row": some[0]}
                stamp = _STAMP[kind] if several else _STAMP_ONE[kind]
                self.conn.execute(stamp, {**values, "at": revision})
        if self.held:
            self.conn.execute(_STAMP_HOLDS, {"at": revision})
        if self.graves:
            graves = [grave | {"revision": revision} for grave in self.graves]
            self.conn.execute(tombstones.insert(), graves)
        return revision


_NEXT = update(counter).values(revision=counter.c.revision + 1).returning(counter.c.revision)
_IDS: Any = bindparam("ids", expanding=True)
_AT: Any = bindparam("at")
_STAMPED = {
    table.name: (table, update(table).values(revision=_AT))
    for table in (networks, subnets, ports, instances, subnetpools, address_scopes)
} | {"form": (networks, update(networks).values(revision=_AT, form_revision=_AT))}
_STAMP = {name: stamp.where(table.c.id.in_(_IDS)) for name, (table, stamp) in _STAMPED.items()}
_STAMP_ONE = {  # as a rule; what has no list to expand costs half as much
    name: stamp.where(table.c.id == bindparam("row")) for name, (table, stamp) in _STAMPED.items()
}
_STAMP_HOLDS = update(holds).where(holds.c.revision == UNSTAMPED).values(revision=_AT)


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


def as_ours(error: BaseException) -> BaseException:
    """Return what the caller of a job is to be raised."""
    if isinstance(error, OverflowError):
        return Invalid(f"a number is larger than the database can keep: {error}")
    if isinstance(error, IntegrityError):
        return Conflict(f"it contradicts what is stored ({said(error)}); look at it and try again")
    if isinstance(error, DataError):
        return Invalid(f"a value is larger than the database can keep, or malformed: {said(error)}")
    if isinstance(error, DBAPIError):
        return Unavailable(f"the database can't write now: {said(error)}")
    if isinstance(error, SQLAlchemyError):
        return Unavailable(f"the database can't write now: {error}")
    return error


def said(error: DBAPIError) -> str:
    """Return what a database said, in one line: PostgreSQL adds details that repeat the values."""
    return str(error.orig).strip().partition("\n")[0]
