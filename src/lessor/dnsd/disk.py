"""The SQLite file of the names, or memory in its place where the disk has no room or fails.

Names in memory answer as well. They are written once there is room, and the agent feeds a process
that ended before that: the file's revisions are old.

Source: sqlite.org/rescode.html.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from lessor.dnsd.checkpoints import Checkpoints

CACHE_KIB = 4096
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")  # the last one: a table is missing
_SETTINGS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 0",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA cache_size = -{CACHE_KIB}",
)
T = TypeVar("T")


class Disk:
    """The connection, for one thread of one process.

    Args:
        path: of the file, in a folder of this process's user.
        schema: statements that make the tables.
        layout: number of that schema; a file of another one is begun again.
        probe: a statement that reads all tables.

    Attributes:
        problem: why the file was begun again, or is not used; "": neither.
        db: the connection at present.
    """

    def __init__(self, path: Path, schema: str, layout: int, probe: str) -> None:
        self.problem = ""
        self._path = path
        self._script = f"BEGIN; {schema} PRAGMA user_version = {layout}; COMMIT;"
        self._layout = layout
        self._probe = probe
        self._checkpoints: Checkpoints | None = None
        try:
            self.db = self._open()
        except sqlite3.Error as error:
            self.db = self._begin_again(error) if _is_damage(error) else self._use_memory(error)

    @property
    def in_memory(self) -> bool:
        """Whether the file is not used."""
        return self._checkpoints is None

    def write(self, do: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in one transaction, in memory if the file can't be written."""
        try:
            return self._commit(do)
        except sqlite3.Error as error:
            if self.in_memory or _is_damage(error):
                raise
            memory = self._use_memory(error)
            self.db.backup(memory)
            self._close_file()
            self.db = memory
            return self._commit(do)

    def settle(self) -> None:
        """Use the file again, if it is not used and there is room now."""
        if not self.in_memory:
            return
        new = self._path.with_name(f"{self._path.name}-new")
        try:
            new.unlink(missing_ok=True)
            written = sqlite3.connect(new)
            try:
                self.db.backup(written)
            finally:
                written.close()
            self._remove("-wal", "-shm")
            os.replace(new, self._path)  # noqa: PTH105 - it takes the other's place
            file = self._open()
        except (OSError, sqlite3.Error):
            return
        self.db.close()
        self.db = file
        self.problem = ""

    def discard(self, error: sqlite3.Error) -> NoReturn:
        """End this process, for the file can't be read: the next one begins it again.

        Raises:
            SystemExit: always.
        """
        self._remove("", "-wal", "-shm")
        raise SystemExit(f"{self._path.name}: {error}; begun again") from error

    def close(self) -> None:
        """Close the connection."""
        self._close_file()

    def _commit(self, do: Callable[[sqlite3.Connection], T]) -> T:
        with self.db:
            self.db.execute("BEGIN IMMEDIATE")
            done = do(self.db)
        if self._checkpoints is not None:
            self._checkpoints.written()
        return done

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, isolation_level=None, timeout=1)
        try:
            for setting in _SETTINGS:
                db.execute(setting)
            (tables,) = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            (layout,) = db.execute("PRAGMA user_version").fetchone()
            if not tables:
                db.executescript(self._script)
            elif layout != self._layout:
                raise _layout_error(layout, self._layout)
            db.execute(self._probe).fetchone()
        except sqlite3.Error:
            db.close()
            raise
        self._checkpoints = Checkpoints(self._path)
        return db

    def _begin_again(self, error: sqlite3.Error) -> sqlite3.Connection:
        self._remove("", "-wal", "-shm")
        try:
            db = self._open()
        except sqlite3.Error as again:
            return self._use_memory(again)
        self.problem = f"{self._path.name}: {error}; begun again, the agent has to feed it"
        return db

    def _use_memory(self, error: sqlite3.Error) -> sqlite3.Connection:
        self.problem = f"{self._path.name}: {error}; names are in memory until it can be written"
        memory = sqlite3.connect(":memory:", isolation_level=None)
        if not hasattr(self, "db"):
            memory.executescript(self._script)
        return memory

    def _close_file(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.close()
            self._checkpoints = None
        self.db.close()

    def _remove(self, *suffixes: str) -> None:
        for suffix in suffixes:
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)


def _is_damage(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorname", "SQLITE_ERROR").startswith(_DAMAGE)


def _layout_error(found: int, expected: int) -> sqlite3.Error:
    return sqlite3.DatabaseError(f"its layout is {found}, this version's is {expected}")
