"""How statements are written so that SQLite and PostgreSQL both take them.

`insert` here is the one with `on_conflict_do_nothing` and `on_conflict_do_update`: PostgreSQL's
construct, which SQLAlchemy compiles for SQLite too (the two share the syntax). Where a statement
may break a constraint and the job goes on nevertheless, it stands in `attempt`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.dialects.postgresql import Insert
from sqlalchemy.exc import IntegrityError


def insert(table: Table) -> Insert:
    """Return an INSERT that can say what to do about a row that is there; it counts its rows."""
    return Insert(table).execution_options(preserve_rowcount=True)


def is_postgres(engine: Engine) -> bool:
    """Tell whether the database is PostgreSQL; if not, it is SQLite."""
    return engine.dialect.name == "postgresql"


@contextmanager
def attempt(conn: Connection) -> Iterator[None]:
    """Undo what stands in here if it breaks a constraint, and raise on.

    After a statement that failed PostgreSQL refuses every other one until the transaction, or a
    savepoint in it, is rolled back. So whoever catches an IntegrityError and then asks the database
    why, puts the statement in here.
    """
    conn.exec_driver_sql("SAVEPOINT attempt")
    try:
        yield
    except IntegrityError:
        conn.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")
        conn.exec_driver_sql("RELEASE SAVEPOINT attempt")
        raise
    conn.exec_driver_sql("RELEASE SAVEPOINT attempt")
