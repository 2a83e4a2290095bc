"""The names of all servers, on disk: SQLite, one row a name.

Questions are answered from it, so a process serves as soon as it has opened it, and a name costs
the same among 10 and among 65,000. The page cache is the memory that it takes.

The agent feeds a server again whose revision is not the one that it remembers. So a commit waits
for no disk: after a power cut the last ones may be missing, and their revisions with them.
Revisions follow the clock, so that none comes again with other names.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lessor.core.dns.zone import Entry, Span, first_label, has_dot
from lessor.dnsd.disk import Disk

LAYOUT = 1  # of the tables; a file of another one is begun again
_SCHEMA = """
CREATE TABLE server (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    revision INTEGER NOT NULL,
    complete INTEGER NOT NULL
);
CREATE TABLE entry (
    id INTEGER PRIMARY KEY,
    server INTEGER NOT NULL,
    host BLOB NOT NULL,  -- the first label of the name
    name BLOB NOT NULL,
    address BLOB NOT NULL
);
CREATE UNIQUE INDEX entry_name ON entry (server, name, address);
CREATE INDEX entry_host ON entry (server, host, address);
CREATE INDEX entry_address ON entry (server, address);
CREATE TABLE dropped (server INTEGER PRIMARY KEY);
"""
_PROBE = """
SELECT (SELECT 1 FROM server), (SELECT 1 FROM entry), (SELECT 1 FROM dropped)
"""
_FIND = """
SELECT address FROM entry WHERE server = ? AND {} = ? AND address BETWEEN ? AND ?
AND length(address) = ? ORDER BY address LIMIT ?
"""
_OF_NAME, _OF_HOST = _FIND.format("name"), _FIND.format("host")
_HAS = "SELECT 1 FROM entry WHERE server = ? AND {} = ? LIMIT 1"
_HAS_NAME, _HAS_HOST = _HAS.format("name"), _HAS.format("host")
_OF_ADDRESS = "SELECT name FROM entry WHERE server = ? AND address = ? ORDER BY id LIMIT 1"
_PUT = "INSERT OR IGNORE INTO entry (server, host, name, address) VALUES (?, ?, ?, ?)"
_DROP = "DELETE FROM entry WHERE server = ? AND name = ? AND address = ?"
_PAGE = "SELECT id, name, address FROM entry WHERE server = ? AND id > ? ORDER BY id LIMIT ?"
_CLEAN = "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE server = ? LIMIT ?)"
_ADD_SERVER = "INSERT INTO server (name, revision, complete) VALUES (?, 0, 0)"
_UPDATE_SERVER = "UPDATE server SET revision = ?, complete = ? WHERE id = ?"


@dataclass(frozen=True, slots=True)
class State:
    """A server of the table. `complete`: it has all names that it should."""

    id: int
    name: str
    revision: int = 0
    complete: bool = False


class Page(NamedTuple):
    """Some entries of a server; `next` is where the next page begins, None: there is none."""

    entries: list[Entry]
    next: int | None


class Table:
    """The table. One process has it, one thread uses it.

    Args:
        path: of the file, in a folder of this process's user.
    """

    def __init__(self, path: Path) -> None:
        self._disk = Disk(path, _SCHEMA, LAYOUT, _PROBE)
        rows = self._disk.db.execute("SELECT id, name, revision, complete FROM server").fetchall()
        self._states = {
            name: State(key, name, revision, bool(complete))
            for key, name, revision, complete in rows
        }

    def close(self) -> None:
        """Close the file."""
        self._disk.close()

    @property
    def problem(self) -> str:
        """Why the file was begun again, or is not used; "": neither."""
        return self._disk.problem

    @property
    def states(self) -> Sequence[State]:
        """All servers."""
        return list(self._states.values())

    def settle(self) -> None:
        """Use the file again, if it is not used and there is room now."""
        self._disk.settle()

    def state(self, name: str) -> State | None:
        """Return a server; None: the table has none of this name."""
        return self._states.get(name)

    def names(self, server_id: int) -> ServerNames:
        """Return what answers questions about a server's names."""
        return ServerNames(self._disk, server_id)

    def add(self, name: str) -> State:
        """Return a server; one that is new has no names."""
        state = self._states.get(name)
        if state is None:
            key = self._disk.write(lambda db: db.execute(_ADD_SERVER, (name,)).lastrowid)
            state = self._states[name] = State(key or 0, name)
        return state

    def drop(self, name: str) -> None:
        """Delete a server; `clean` deletes its names."""
        state = self._states.pop(name, None)
        if state is not None:
            self._disk.write(partial(_drop, state.id))

    def clean(self, count: int) -> bool:
        """Delete at most `count` names of deleted servers; return whether there may be more."""
        row = self._disk.db.execute("SELECT server FROM dropped LIMIT 1").fetchone()
        if row is not None:
            self._disk.write(partial(_clean, row[0], count))
        return row is not None

    def change(
        self, state: State, drop: Iterable[Entry], put: Iterable[Entry], *, complete: bool
    ) -> State:
        """Drop names of a server and add others, all or none; return its new state."""
        revision = max(state.revision + 1, time.time_ns() // 1_000_000)
        new = State(state.id, state.name, revision, complete)
        self._disk.write(partial(_change, new, tuple(drop), tuple(put)))
        self._states[new.name] = new
        return new

    def page(self, state: State, after: int, count: int) -> Page:
        """Return at most `count` names of a server from a place on; 0 is the beginning."""
        rows = self._disk.db.execute(_PAGE, (state.id, after, count)).fetchall()
        entries = [Entry(*row[1:]) for row in rows]
        return Page(entries, rows[-1][0] if len(rows) == count else None)


class ServerNames:
    """The names of one server. See `core.dns.zone.Names`."""

    def __init__(self, disk: Disk, server_id: int) -> None:
        self._disk = disk
        self._id = server_id

    def addresses(self, name: bytes, within: Span, limit: int) -> Sequence[bytes]:
        """Return at most `limit` addresses of a name, in order."""
        span = (*within, len(within.first), limit)
        if has_dot(name):
            return [address for (address,) in self._read(_OF_NAME, name, *span)]
        rows = self._read(_OF_HOST, first_label(name), *span)
        return list(dict.fromkeys(address for (address,) in rows))  # one may be in two domains

    def has(self, name: bytes) -> bool:
        """Return whether a name has any address."""
        if has_dot(name):
            return bool(self._read(_HAS_NAME, name))
        return bool(self._read(_HAS_HOST, first_label(name)))

    def name_of(self, address: bytes) -> bytes | None:
        """Return the first name of an address."""
        rows = self._read(_OF_ADDRESS, address)
        return rows[0][0] if rows else None

    def _read(self, statement: str, *values: bytes | int) -> list[tuple[bytes]]:
        try:
            return self._disk.db.execute(statement, (self._id, *values)).fetchall()
        except sqlite3.Error as error:
            self._disk.discard(error)


def _drop(server_id: int, db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM server WHERE id = ?", (server_id,))
    db.execute("INSERT INTO dropped VALUES (?)", (server_id,))


def _clean(server_id: int, count: int, db: sqlite3.Connection) -> None:
    if db.execute(_CLEAN, (server_id, count)).rowcount < count:
        db.execute("DELETE FROM dropped WHERE server = ?", (server_id,))


def _change(
    state: State, drop: tuple[Entry, ...], put: tuple[Entry, ...], db: sqlite3.Connection
) -> None:
    db.executemany(_DROP, ((state.id, *one) for one in drop))
    db.executemany(_PUT, ((state.id, first_label(one.name), *one) for one in put))
    db.execute(_UPDATE_SERVER, (state.revision, state.complete, state.id))
