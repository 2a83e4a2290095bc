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
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lessor.core.dns.zone import Entry, Span, first_label, has_dot
from lessor.dnsd.checkpoints import Checkpoints
from lessor.errors import LessorError

LAYOUT = 1  # of the tables; a file of another one is begun again
CACHE_KIB = 4096
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


class UnusableError(LessorError):
    """The file is of another version."""


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
    """The file. One process has it, one thread uses it.

    Args:
        path: of the file, in a folder of this process's user.

    Attributes:
        problem: why the file was begun again; "": it was not.

    Raises:
        OSError: it can't be opened or made.
    """

    def __init__(self, path: Path) -> None:
        self.problem = ""
        self._path = path
        try:
            self._db = self._open()
            self._states = {one.name: one for one in self._read()}
        except (sqlite3.DatabaseError, UnusableError) as error:
            self.problem = f"{path.name}: {error}; begun again, the agent has to feed it"
            with suppress(AttributeError):
                self._db.close()
            for suffix in ("", "-wal", "-shm"):
                Path(f"{path}{suffix}").unlink(missing_ok=True)
            self._db = self._create()
            self._states = {}

        self._checkpoints = Checkpoints(path)

    def close(self) -> None:
        """Close the file."""
        self._checkpoints.close()
        self._db.close()

    @property
    def states(self) -> Sequence[State]:
        """All servers."""
        return list(self._states.values())

    def state(self, name: str) -> State | None:
        """Return a server; None: the table has none of this name."""
        return self._states.get(name)

    def names(self, server_id: int) -> ServerNames:
        """Return what answers questions about a server's names."""
        return ServerNames(self._db, server_id)

    def add(self, name: str) -> State:
        """Return a server; one that is new has no names.

        Raises:
            OSError: it could not be written.
        """
        state = self._states.get(name)
        if state is None:
            with self._transaction():
                state = State(self._db.execute(_ADD_SERVER, (name,)).lastrowid or 0, name)
            self._states[name] = state
        return state

    def drop(self, name: str) -> None:
        """Delete a server; `clean` deletes its names.

        Raises:
            OSError: it could not be written.
        """
        state = self._states.get(name)
        if state is not None:
            with self._transaction():
                self._db.execute("DELETE FROM server WHERE id = ?", (state.id,))
                self._db.execute("INSERT INTO dropped VALUES (?)", (state.id,))
            del self._states[name]

    def clean(self, count: int) -> bool:
        """Delete at most `count` names of deleted servers; return whether there may be more.

        Raises:
            OSError: it could not be written.
        """
        row = self._db.execute("SELECT server FROM dropped LIMIT 1").fetchone()
        if row is None:
            return False
        with self._transaction():
            if self._db.execute(_CLEAN, (*row, count)).rowcount < count:
                self._db.execute("DELETE FROM dropped WHERE server = ?", row)
        return True

    def change(
        self, state: State, drop: Iterable[Entry], put: Iterable[Entry], *, complete: bool
    ) -> State:
        """Drop names of a server and add others, all or none; return its new state.

        Raises:
            OSError: it could not be written.
        """
        revision = max(state.revision + 1, time.time_ns() // 1_000_000)
        new = State(state.id, state.name, revision, complete)
        with self._transaction():
            self._db.executemany(_DROP, ((state.id, *one) for one in drop))
            self._db.executemany(_PUT, ((state.id, first_label(one.name), *one) for one in put))
            self._db.execute(_UPDATE_SERVER, (new.revision, complete, new.id))
        self._states[new.name] = new
        return new

    def page(self, state: State, after: int, count: int) -> Page:
        """Return at most `count` names of a server from a place on; 0 is the beginning."""
        rows = self._db.execute(_PAGE, (state.id, after, count)).fetchall()
        entries = [Entry(*row[1:]) for row in rows]
        return Page(entries, rows[-1][0] if len(rows) == count else None)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with self._db:
                self._db.execute("BEGIN IMMEDIATE")
                yield
            self._checkpoints.written()
        except sqlite3.Error as error:  # the disk is full, for example
            raise OSError(f"{self._path.name}: {error}") from error

    def _read(self) -> Iterator[State]:
        for key, name, revision, complete in self._db.execute("SELECT * FROM server"):
            yield State(key, name, revision, bool(complete))

    def _open(self) -> sqlite3.Connection:
        if not self._path.exists():
            return self._create()
        db = self._connect()
        (layout,) = db.execute("PRAGMA user_version").fetchone()
        if layout != LAYOUT:
            db.close()
            raise UnusableError(f"its layout is {layout}, this version's is {LAYOUT}")
        return db

    def _create(self) -> sqlite3.Connection:
        try:
            db = self._connect()
            db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {LAYOUT}; COMMIT;")
        except sqlite3.Error as error:
            raise OSError(f"{self._path}: {error}") from error
        return db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=1)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA wal_autocheckpoint = 0")
            db.execute("PRAGMA trusted_schema = OFF")
            db.execute("PRAGMA cell_size_check = ON")
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except sqlite3.Error:
            db.close()
            raise
        return db


class ServerNames:
    """The names of one server. See `core.dns.zone.Names`."""

    def __init__(self, db: sqlite3.Connection, server_id: int) -> None:
        self._execute = db.execute
        self._id = server_id

    def addresses(self, name: bytes, within: Span, limit: int) -> Sequence[bytes]:
        """Return at most `limit` addresses of a name, in order."""
        span = (*within, len(within.first), limit)
        if has_dot(name):
            rows = self._execute(_OF_NAME, (self._id, name, *span))
            return [address for (address,) in rows]
        rows = self._execute(_OF_HOST, (self._id, first_label(name), *span))
        return list(dict.fromkeys(address for (address,) in rows))  # one may be in two domains

    def has(self, name: bytes) -> bool:
        """Return whether a name has any address."""
        statement, key = (_HAS_NAME, name) if has_dot(name) else (_HAS_HOST, first_label(name))
        return self._execute(statement, (self._id, key)).fetchone() is not None

    def name_of(self, address: bytes) -> bytes | None:
        """Return the first name of an address."""
        row = self._execute(_OF_ADDRESS, (self._id, address)).fetchone()
        return bytes(row[0]) if row else None
