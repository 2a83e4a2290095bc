"""Tells whether a database is where it last was, or a copy that was put there: a restored back-up.

It is the second line: `history` notices every copy that lacks something. This one is there before
the first agent asks.

A PostgreSQL database is identified by its server's identifier and its own number: what pg_restore
fills is another one, and the timeline says that it was set back to an earlier time. SQLite's file
has a token, changed at each start and each minute, that a small file beside it has as well: a
back-up that is put in place of the file has an older one. A whole folder that is put back, both
files with it, can't be detected: that is what `lessor db restored` is for.

A file that lost its -wal has an older token, too. It differs from a back-up by its run and its
schema cookie, which are noted beside it when both are in the file itself: each copy that SQLite
makes has another cookie, and a file that was copied while no server ran has an earlier run.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from sqlalchemy import Connection, Engine

from lessor.errors import Unavailable
from lessor.store.engine import files
from lessor.store.engine.dialect import is_postgres

BESIDE = "-place"  # what the name of the file beside ends in
OPEN, CLOSED = "open", "closed:"  # how the file was left; "open:RUN:COOKIE" by a server
_POSTGRES = """SELECT system_identifier || '/' || (SELECT oid FROM pg_database
WHERE datname = current_database()) || '/' || left(pg_walfile_name(pg_current_wal_lsn()), 8)
FROM pg_control_system()"""


def is_known(conn: Connection, place: str) -> bool:
    """Tell whether a database that noted `place` is where it was then."""
    if is_postgres(conn.engine):
        here = _of_postgres(conn)
        return place in {here, here.rpartition("/")[0]}  # once it was noted without the timeline
    return place in _tokens(beside(file_of(conn.engine)))


def new(conn: Connection, before: str) -> str:
    """Return what the database is to note now; until `settle`, what it noted before counts too."""
    if is_postgres(conn.engine):
        return _of_postgres(conn)
    token = secrets.token_hex(8)
    path = beside(file_of(conn.engine))
    _write(path, [before, token, _open_state(path)])
    return token


def settle(engine: Engine, place: str) -> None:
    """Let only this count: it is in the database now."""
    if not is_postgres(engine):
        path = beside(file_of(engine))
        _write(path, [place, _open_state(path)])


def mark(conn: Connection, run: str) -> None:
    """Note which run a file is of, if all of its -wal could be moved to it; SQLite only."""
    _, pages, moved = conn.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
    path = beside(file_of(conn.engine))
    tokens = [token for token in _tokens(path) if not _is_state(token)]
    _write(path, [*tokens, f"{OPEN}:{run}:{_cookie(conn)}" if pages == moved else OPEN])


def lacks_wal(file: Path) -> bool:
    """Tell whether nothing is in the -wal of a file that a server left without closing it."""
    return _open_state(beside(file)) != OPEN and not (
        _wal(file).exists() and _wal(file).stat().st_size
    )


def lost_wal(conn: Connection, run: str, place: str) -> bool:
    """Tell whether a file that lacks its -wal is the one of the last run, at an earlier time."""
    state = _open_state(beside(file_of(conn.engine)))
    return state == f"{OPEN}:{run}:{_cookie(conn)}" and not is_known(conn, place)


def _cookie(conn: Connection) -> int:
    return int(conn.exec_driver_sql("PRAGMA schema_version").scalar_one())


def _open_state(path: Path) -> str:
    """Return what a server noted of the file it has, or had, open."""
    return next((token for token in _tokens(path) if token.startswith(f"{OPEN}:")), OPEN)


def close(engine: Engine) -> None:
    """Close all connections, and note how the file was left, if it was: others may have it open."""
    engine.dispose()
    if is_postgres(engine):
        return
    file = file_of(engine)
    tokens = _tokens(beside(file))
    if tokens and file.exists() and not _wal(file).exists():
        with suppress(Unavailable):  # a full disk: the next start begins a new epoch
            _write(beside(file), [*(t for t in tokens if not _is_state(t)), _left(file)])


def was_changed(file: Path) -> bool:
    """Tell whether a closed file is not as it was left: put back, or without its WAL."""
    states = [token for token in _tokens(beside(file)) if _is_state(token)]
    if not states or not file.exists() or _wal(file).exists():
        return False
    return states[0] != _left(
        file
    )  # "open..." without a WAL: SQLite removes it at a clean end only


def _is_state(token: str) -> bool:
    return token == OPEN or token.startswith((f"{OPEN}:", CLOSED))


def _left(file: Path) -> str:
    found = file.stat()
    return f"{CLOSED}{found.st_size}:{found.st_mtime_ns}"


def _wal(file: Path) -> Path:
    return file.with_name(file.name + "-wal")


def was_known(file: Path) -> bool:
    """Tell whether a database was noted beside a file, whatever the file is now."""
    return bool(_tokens(beside(file)))


def forget(file: Path) -> None:
    """Drop what is noted beside a file."""
    beside(file).unlink(missing_ok=True)


def _of_postgres(conn: Connection) -> str:
    return str(conn.exec_driver_sql(_POSTGRES).scalar_one())


def file_of(engine: Engine) -> Path:
    """Return the file of an SQLite database."""
    return Path(str(engine.url.database))


def beside(file: Path) -> Path:
    """Return the note beside a database's file."""
    return file.with_name(file.name + BESIDE)


def _tokens(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _write(path: Path, tokens: list[str]) -> None:
    fresh = path.with_name(path.name + ".new")
    try:
        made = os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(made, "w") as out:  # noqa: PTH123 - its mode from the start
            out.write("\n".join(tokens) + "\n")
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(path)
    except OSError as error:
        raise Unavailable(f"can't write {path}: {files.reason(error, path)}") from error
