"""Tells whether a database is where it last was, or a copy that was put there: a restored back-up.

A PostgreSQL database is told by its server's identifier and its own number: what pg_restore fills
is another one. SQLite's file has a token, changed at each start and now and then, that a small file
beside it has as well: a back-up that is put in place of the file has an older one. A whole folder
that is put back, both files with it, can't be told: that is what `lessor db restored` is for.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from sqlalchemy import Connection

from lessor.store.dialect import is_postgres

BESIDE = "-place"  # what the name of the file beside ends in
_POSTGRES = """SELECT system_identifier || '/' || (SELECT oid FROM pg_database
WHERE datname = current_database()) FROM pg_control_system()"""


def is_known(conn: Connection, place: str) -> bool:
    """Tell whether a database that noted `place` is where it was then."""
    if is_postgres(conn.engine):
        return place == _of_postgres(conn)
    return place in _tokens(_beside(conn))


def new(conn: Connection, before: str) -> str:
    """Return what the database is to note now; until `settle`, what it noted before counts too."""
    if is_postgres(conn.engine):
        return _of_postgres(conn)
    token = secrets.token_hex(8)
    _write(_beside(conn), [before, token])
    return token


def settle(conn: Connection, place: str) -> None:
    """Let only this count: it is in the database now."""
    if not is_postgres(conn.engine):
        _write(_beside(conn), [place])


def _of_postgres(conn: Connection) -> str:
    return str(conn.exec_driver_sql(_POSTGRES).scalar_one())


def _beside(conn: Connection) -> Path:
    file = Path(str(conn.engine.url.database))
    return file.with_name(file.name + BESIDE)


def _tokens(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _write(path: Path, tokens: list[str]) -> None:
    fresh = path.with_name(path.name + ".new")
    with open(os.open(fresh, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:  # noqa: PTH123 - its mode from the start
        out.write("\n".join(tokens) + "\n")
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(path)
