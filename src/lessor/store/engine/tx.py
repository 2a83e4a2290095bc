"""Transactions as rules see them: the connection, the time, the settings, the hosts' state.

Every function of the store takes one first: a `ReadTx` where it only reads, a `Tx` where it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import Connection, Executable, Table, bindparam, update

from lessor.settings import ServerSettings
from lessor.store.engine.dialect import among
from lessor.store.tables import counter, holds, networks, tombstones

if TYPE_CHECKING:  # they are made of transactions themselves
    from lessor.store.hosts.fleet import Fleet
    from lessor.store.noun import Noun

_AT: Any = bindparam("at")
UNSTAMPED = 1 << 62  # revision of a hold until its transaction ends


def stamps(tables: Iterable[Table]) -> dict[str, Executable]:
    """Return the statements that give rows `ids` the revision `at`, by the kinds of `Tx.touch`.

    Args:
        tables: those of all nouns; the rows of some have no revision.
    """
    found = {table.name: _stamp(table, "revision") for table in tables if "revision" in table.c}
    return found | {"form": _stamp(networks, "revision", "form_revision")}


def _stamp(table: Table, *columns: str) -> Executable:
    change = update(table).values(dict.fromkeys(columns, _AT))
    return change.where(among(table.c.id, "ids"))


@dataclass(frozen=True, slots=True)
class Context:
    """What all transactions of a store share.

    Attributes:
        settings: the server's.
        clock: seconds since 1970.
        fleet: the state of hosts that this server has in memory.
        nouns: what the nouns' modules declare, by name.
        stamps: how rows get their revision, by the kinds of `Tx.touch`.
    """

    settings: ServerSettings
    clock: Callable[[], float]
    fleet: Fleet
    nouns: Mapping[str, Noun[Any, Any]]
    stamps: Mapping[str, Executable]


class ReadTx:
    """A transaction that reads: one state of the database.

    Attributes:
        conn: the connection.
        now: seconds since 1970, the same for the whole transaction.
        settings: the server's.
        fleet: the state of hosts that this server has in memory.
        nouns: what the nouns' modules declare, by name.
    """

    def __init__(self, conn: Connection, context: Context) -> None:
        self.conn = conn
        self.now = context.clock()
        self.settings = context.settings
        self.fleet = context.fleet
        self.nouns = context.nouns

    @property
    def alive_since(self) -> float:
        """The time before which a host's last heartbeat is too old."""
        return self.now - self.settings.agent_down_time


class Tx(ReadTx):
    """A transaction that writes, and what it touched."""

    def __init__(self, conn: Connection, context: Context) -> None:
        super().__init__(conn, context)
        self._stamps = context.stamps
        self.touched: dict[str, set[str]] = {}
        self.tombstones: list[dict[str, Any]] = []
        self.hosts: set[str] = set()
        self.held = False
        # by a range's first number: below it, this job saw none free
        self.no_vni_below: dict[int, int] = {}
        self.revision = 0  # of what it touched, once its transaction is finished
        self.ids: set[str] = set()  # of what it touched, whatever kind it is
        self.earlier: Collection[str] = ()  # `ids` of earlier jobs that have no revision yet
        self._at_end: dict[Hashable, tuple[Executable, dict[str, Any]]] = {}
        self._parts: list[Tx] = []
        self._afterwards: list[Callable[[], None]] = []

    def touch(self, kind: str, row_id: str) -> None:
        """Give a row of a table that has one (`stamps`) a new revision.

        Kind `form` is a network whose scopes consist of other rows than before: they are sent
        whole.
        """
        self.touched.setdefault(kind, set()).add(row_id)
        self.ids.add(row_id)

    def gone(self, kind: str, row_id: str, network_id: str, host: str | None = None) -> None:
        """Record that a `subnet` or `port` was deleted, or left the view of `host`."""
        tombstone = {"kind": kind, "id": row_id, "network_id": network_id, "host": host}
        self.tombstones.append(tombstone | {"made_at": self.now})

    def concerns(self, hosts: Iterable[str | None]) -> None:
        """Name hosts whose view changes."""
        self.hosts.update(host for host in hosts if host is not None)

    def at_end(self, key: Hashable, statement: Executable, values: dict[str, Any]) -> None:
        """Execute a statement when the job has done all else; of those with one key, the last."""
        self._at_end[key] = (statement, values)

    def end(self) -> None:
        """Execute the statements of `at_end`."""
        for statement, values in self._at_end.values():
            self.conn.execute(statement, values)
        self._at_end = {}

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call something once the transaction is committed, before its caller is answered."""
        self._afterwards.append(call)

    def committed(self) -> None:
        """Do what was left for after the commit."""
        for call in self._afterwards:
            call()

    def absorb(self, other: Tx) -> None:
        """Take over what another job of the same transaction touched.

        Each change of a row is a revision of its own, so that `row_revision.expect` knows them
        apart: where two jobs touch the same row, what came before is finished first.
        """
        if not self.ids.isdisjoint(other.ids):
            self.finish()
        self._parts.append(other)
        self.ids |= other.ids
        for kind, ids in other.touched.items():
            self.touched.setdefault(kind, set()).update(ids)
        self.tombstones += other.tombstones
        self.hosts |= other.hosts
        self.held |= other.held

    def finish(self) -> int:
        """Give all that was touched the next revision; return the last one given, 0 if none was."""
        if self.touched or self.tombstones or self.held:
            self.revision = self._stamp()
        for part in self._parts:
            part.revision = self.revision
        self._parts, self.touched, self.tombstones, self.held = [], {}, [], False
        self.ids = set()
        return self.revision

    def _stamp(self) -> int:
        revision = cast(int, self.conn.execute(_NEXT).scalar_one())
        for kind, ids in self.touched.items():
            self.conn.execute(self._stamps[kind], {"ids": sorted(ids), "at": revision})
        if self.held:
            self.conn.execute(_STAMP_HOLDS, {"at": revision})
        if self.tombstones:
            tombstone_rows = [tombstone | {"revision": revision} for tombstone in self.tombstones]
            self.conn.execute(tombstones.insert(), tombstone_rows)
        return revision


_NEXT = update(counter).values(revision=counter.c.revision + 1).returning(counter.c.revision)
_STAMP_HOLDS = update(holds).where(holds.c.revision == UNSTAMPED).values(revision=_AT)
