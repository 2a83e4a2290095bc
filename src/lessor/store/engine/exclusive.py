"""Transactions beside which no other server migrates or writes."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from lessor.store.engine import postgres, sqlite
from lessor.store.engine.dialect import is_postgres


def begin_alone(conn: Connection) -> None:
    """Begin a transaction that no other server migrates or writes beside."""
    if not is_postgres(conn.engine):
        conn.exec_driver_sql(sqlite.BEGIN)
        return
    conn.exec_driver_sql(postgres.BEGIN)
    for key in (postgres.MIGRATING, postgres.WRITING):
        conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({postgres.LESSOR}, {key})")


def undo(conn: Connection) -> None:
    """Roll back, where there is still something: whoever calls has an error to raise already."""
    with suppress(DBAPIError):
        if not conn.invalidated:
            conn.exec_driver_sql("ROLLBACK")
