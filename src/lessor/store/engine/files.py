"""Files of SQLite databases: copied, found damaged, missing or replaced."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from lessor.errors import Unavailable

RESTORE = "put a back-up in its place (`lessor db backup` makes them)"
LEAST_ROOM = 1 << 16  # bytes
_BEFORE = "-before-"  # a copy that a migration starts from
_COPIED = "UPDATE meta SET value = 'copy' WHERE name = 'place'"


class Damaged(Unavailable):
    """A database's file can't be what was written to it."""


def reason(error: OSError | sqlite3.Error, path: Path) -> str:
    """Say what hinders the file at `path`, and what would help."""
    message = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    if isinstance(error, sqlite3.Error):  # its -shm file without room is an I/O error
        full = "disk is full" in message or (
            "disk I/O" in message and _free(path.parent) < LEAST_ROOM
        )
    return f"{message}; make room on the disk of {path.parent}" if full else message


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def refuse_lost(path: Path, *, known: bool) -> None:
    """Refuse an empty or missing file where a database was.

    Raises:
        Damaged: nothing is there, although a database was.
    """
    size = path.stat().st_size if path.exists() else None
    if known and not size:
        raise lost(path, "is missing" if size is None else "is empty")


def lost(path: Path, how: str) -> Damaged:
    """Return the error of a database that was in a file and is not any more."""
    return Damaged(
        f"the database {path} {how}, and {path.name}-place beside it says that one was here; "
        f"{RESTORE}, or run `lessor db new` for a new, empty one"
    )


def without_wal(path: Path) -> Damaged:
    """Return the error of a file whose last transactions were in a -wal file that is lost."""
    return Damaged(
        f"the database {path} lost its -wal file, and with it what was written last; put "
        f"{path.name}-wal back, {RESTORE}, or run `lessor db restored` to go on with what is left"
    )


def check_sound(conn: sqlite3.Connection, path: Path) -> None:
    """Look whether a file's pages fit together: 40 ms for 20,000 ports.

    Raises:
        Damaged: they don't.
    """
    try:
        found = [str(row[0]) for row in conn.execute("PRAGMA quick_check(1)")]
    except sqlite3.DatabaseError as error:
        found = [str(error)]
    if found != ["ok"]:
        raise damaged(path, found[0].strip().splitlines()[-1] if found else "no answer")


def damaged(path: Path, how: str) -> Damaged:
    """Return the error of a file that can't be what was written to it."""
    return Damaged(
        f"can't open the database {path}: it is damaged ({how}); {RESTORE}, or see what can be "
        "read of it with `sqlite3 FILE .recover`"
    )


def is_damage(error: BaseException | None) -> bool:
    """Tell whether SQLite says that a file is damaged, or none of its own."""
    return getattr(error, "sqlite_errorcode", None) in {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    }


def identity(path: Path) -> tuple[int, int]:
    """Tell one file from another of the same name; (0, 0): there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - at each commit: Path.stat() takes twice as long
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def replaced(path: Path) -> Unavailable:
    """Return the error of a file that was removed or replaced under a running server."""
    how = "replaced by another file" if path.exists() else "removed"
    return Unavailable(
        f"the database {path} was {how} while the server runs, so nothing is written; "
        f"stop the server, {RESTORE} if the right one isn't there, and start it again"
    )


def before(path: Path, version: str) -> Path:
    """Return where a migration from `version` leaves a copy of the database."""
    return path.with_name(f"{path.name}{_BEFORE}{version}")


def copy(source: Path, target: Path) -> None:
    """Copy a database, which others may write meanwhile, to a file; whole or not at all.

    The copy says that it is one: a server that finds it in a database's place begins a new epoch.

    Raises:
        Unavailable: it can't be read or written; nothing is left of it.
    """
    fresh = target.with_name(f".{target.name}.new")
    try:
        os.close(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        _copy(source, fresh)
        with closing(sqlite3.connect(fresh)) as copied:
            check_sound(copied, source)
        _to_disk(fresh)
        fresh.replace(target)
        _to_disk(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise Unavailable(f"can't copy {source} to {target}: {reason(error, target)}") from error
    finally:
        for name in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):  # what failed before is on its way to the caller
                fresh.with_name(fresh.name + name).unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy in one step, which sees one state and holds no writer up (WAL)."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE")  # one file, without a -wal beside it
        with new:
            if new.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
                new.execute(_COPIED)


def _to_disk(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
