"""The table on disk: reservations and servers in one SQLite file, which this process alone opens.

A change is one transaction. It is safe from the end of the process at once, and from the host's
after the next checkpoint, which another thread makes: only that one waits for the disk.

Source: sqlite.org/wal.html, sqlite.org/pragma.html.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from lessor.dhcpd.messages import Entry

APPLICATION, VERSION = 0x4C446864, 1
DYING_S = 0.2  # for which an open file is waited for
CACHE = 4096  # KiB of pages in memory
SETTINGS = (
    "PRAGMA temp_store = MEMORY",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 0",
    f"PRAGMA cache_size = -{CACHE}",
)
SCHEMA = f"""
BEGIN;
CREATE TABLE server (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    header BLOB NOT NULL,
    revision INTEGER NOT NULL
);
CREATE TABLE reservation (
    id INTEGER PRIMARY KEY,
    server INTEGER NOT NULL,
    address BLOB NOT NULL,
    mac BLOB NOT NULL,
    clients BLOB,
    hostname TEXT NOT NULL,
    ready BLOB NOT NULL,
    reservation BLOB NOT NULL,
    UNIQUE (server, address)
);
CREATE INDEX by_mac ON reservation (server, mac);
CREATE INDEX by_client ON reservation (server) WHERE clients IS NOT NULL;
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""
_LOAD = "SELECT server, address, mac, clients, hostname, ready, id FROM reservation"
_LOAD_CLIENTS = f"{_LOAD} WHERE clients IS NOT NULL"
_LOAD_MAC = f"{_LOAD} WHERE server = ? AND mac = ?"
_LOAD_NEXT = f"{_LOAD} WHERE id > ? ORDER BY id LIMIT ?"
_PUT = "INSERT OR REPLACE INTO reservation VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)"
_DROP = "DELETE FROM reservation WHERE server = ? AND address = ?"
_REVISE = "UPDATE server SET revision = ? WHERE id = ?"
_OPEN = """
INSERT INTO server VALUES (NULL, ?, ?, ?)
ON CONFLICT (name) DO UPDATE SET header = excluded.header, revision = excluded.revision
RETURNING id
"""
_TEXTS = """
SELECT address, reservation FROM reservation WHERE server = ? AND address > ?
ORDER BY address LIMIT ?
"""
_PURGE = """
DELETE FROM reservation WHERE id IN (SELECT id FROM reservation WHERE server = ? LIMIT ?)
"""
_CLIENTS = msgspec.msgpack.Decoder(tuple[bytes, ...])


class Damaged(Exception):
    """The file is damaged, or of a newer program."""


class Stored(NamedTuple):
    """A reservation of the file, without its text."""

    server: int
    address: bytes
    mac: bytes
    clients: tuple[bytes, ...]
    hostname: str
    ready: bytes


class Database:
    """The file. Any call may raise sqlite3.Error; `write` then has changed nothing.

    One that can't be opened (a full disk) is made anew by a later call: what it had was not loaded,
    so its servers are fed again.

    Args:
        path: it is made if it is missing, and made anew if it is damaged.

    Attributes:
        problem: why it was begun again, or can't be used; "": neither.
        changed: something was written since the last checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._made: sqlite3.Connection | None = None
        self.problem = ""
        self.changed = False
        try:
            self._made = self._open()
        except (sqlite3.Error, Damaged) as error:
            self.problem = f"the table on disk was begun again: {error}"
            with suppress(sqlite3.Error):
                self._begin_again()

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._made or self._begin_again()

    def _begin_again(self) -> sqlite3.Connection:
        self.remove()
        try:
            self._made = self._open()
        except Damaged as error:  # a file system on which SQLite can have no log
            raise sqlite3.OperationalError(str(error)) from error
        return self._made

    def remove(self) -> None:
        """Remove the file."""
        for suffix in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def servers(self) -> list[tuple[int, str, bytes, int]]:
        """Return id, name, header and revision of all servers."""
        return list(self._connection.execute("SELECT id, name, header, revision FROM server"))

    def with_clients(self) -> list[Stored]:
        """Return the reservations that are known by a client identifier."""
        return [_stored(row) for row in self._connection.execute(_LOAD_CLIENTS)]

    def of_mac(self, server: int, mac: bytes) -> list[Stored]:
        """Return the reservations of a MAC."""
        return [_stored(row) for row in self._connection.execute(_LOAD_MAC, (server, mac))]

    def following(self, last: int, limit: int) -> tuple[list[Stored], int]:
        """Return reservations of any server, none at the end, and what to pass as `last` next."""
        rows = self._connection.execute(_LOAD_NEXT, (last, limit)).fetchall()
        return list(map(_stored, rows)), rows[-1][-1] if rows else last

    def texts(self, server: int, after: bytes, limit: int) -> dict[bytes, bytes]:
        """Return the texts of reservations by address, from the one after `after` on."""
        return dict(self._connection.execute(_TEXTS, (server, after, limit)).fetchall())

    def open(self, name: str, header: bytes, revision: int) -> int:
        """Write a server's header; return its id."""
        (found,) = self._connection.execute(_OPEN, (name, header, revision)).fetchall()
        self.changed = True
        return int(found[0])

    def close_server(self, server: int) -> None:
        """Remove a server; `purge` removes its reservations."""
        self._connection.execute("DELETE FROM server WHERE id = ?", (server,))
        self.changed = True

    def purge(self, server: int, limit: int) -> bool:
        """Remove reservations of a removed server; return whether there were any."""
        self.changed = True
        return self._connection.execute(_PURGE, (server, limit)).rowcount > 0

    def write(self, server: int, revision: int, changes: Mapping[bytes, Entry | None]) -> None:
        """Write reservations of a server by their addresses, and its revision, or nothing.

        Args:
            server: its id.
            revision: its new one.
            changes: None: there is no reservation any more.
        """
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            self._connection.executemany(_PUT, _rows(server, changes))
            gone = [(server, address) for address, entry in changes.items() if entry is None]
            self._connection.executemany(_DROP, gone)
            run(_REVISE, (revision, server))
            run("COMMIT")
        except sqlite3.Error:
            with suppress(sqlite3.Error):  # SQLite may have done so itself
                run("ROLLBACK")
            raise
        self.changed = True

    def _open(self) -> sqlite3.Connection:
        # a process that was killed a moment ago may still have it
        connection = sqlite3.connect(
            self._path, timeout=DYING_S, isolation_level=None, cached_statements=32
        )
        for setting in SETTINGS:
            connection.execute(setting)
        (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise Damaged(f"journal mode {mode}")
        kind = tuple(
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("application_id", "user_version")
        )
        if kind == (0, 0) and not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            connection.executescript(SCHEMA)
        elif kind != (APPLICATION, VERSION):
            raise Damaged(f"it is of application {kind[0]:#x}, version {kind[1]}")
        connection.execute("PRAGMA busy_timeout = 0")
        return connection

    def checkpoint(self) -> None:
        """Copy what was written into the file, and let the log begin again. For another thread.

        PASSIVE holds up no writer. TRUNCATE does, but has nothing left to copy.
        """
        with suppress(sqlite3.Error):  # a full disk: after the next change again
            connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
            with closing(connection):
                connection.execute("PRAGMA synchronous = NORMAL")
                found = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                if found[1] == found[2]:
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def _stored(row: tuple[int, bytes, bytes, bytes | None, str, bytes, int]) -> Stored:
    server, address, mac, clients, hostname, ready, _ = row
    return Stored(
        server, address, mac, _CLIENTS.decode(clients) if clients else (), hostname, ready
    )


def _rows(
    server: int, changes: Mapping[bytes, Entry | None]
) -> Iterable[tuple[int, bytes, bytes, bytes | None, str, bytes, bytes]]:
    return [
        (
            server,
            address,
            entry.mac,
            msgspec.msgpack.encode(entry.clients) if entry.clients else None,
            entry.hostname,
            entry.row,
            entry.reservation,
        )
        for address, entry in changes.items()
        if entry is not None
    ]
