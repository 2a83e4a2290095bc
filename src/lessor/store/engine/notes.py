"""Notes on the database itself, by name."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select, update

from lessor.store.tables import meta


def remembered(conn: Connection, name: str) -> str:
    """Return what was noted of the database under a name, "" if nothing was."""
    return conn.execute(select(meta.c.value).where(meta.c.name == name)).scalar() or ""


def remember(conn: Connection, name: str, value: str) -> None:
    """Note something of the database."""
    changed = conn.execute(update(meta).where(meta.c.name == name).values(value=value))
    if not changed.rowcount:
        conn.execute(insert(meta).values(name=name, value=value))


def forget(conn: Connection, name: str) -> None:
    """Drop a note."""
    conn.execute(delete(meta).where(meta.c.name == name))
