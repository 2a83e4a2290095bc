"""Statements that SQLite and PostgreSQL both take.

`insert` here is the one with `on_conflict_do_nothing` and `on_conflict_do_update`: PostgreSQL's
construct, which SQLAlchemy compiles for SQLite too (the two share the syntax). Where a statement
may break a constraint and the job goes on nevertheless, it stands in `attempt`. A column is
compared with the members of a list by `among`: SQLAlchemy's `in_` writes a statement anew for each
length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import msgspec
from sqlalchemy import (
    BindParameter,
    Boolean,
    ColumnElement,
    Connection,
    Dialect,
    Engine,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import ARRAY, Insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine


def insert(table: Table) -> Insert:
    """Return an INSERT that can say what to do about a row that is there; it counts its rows."""
    return Insert(table).execution_options(preserve_rowcount=True)


def is_postgres(engine: Engine) -> bool:
    """Tell whether the database is PostgreSQL; if not, it is SQLite."""
    return engine.dialect.name == "postgresql"


class _ListOf(TypeDecorator[Any]):
    """A list in one parameter: an array of PostgreSQL's, JSON for SQLite."""

    impl = Text
    cache_ok = True

    def __init__(self, item: TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return what the database takes."""
        return ARRAY(self.item) if dialect.name == "postgresql" else Text()

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return what the driver takes."""
        return list(value) if dialect.name == "postgresql" else msgspec.json.encode(value).decode()


class _Among(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Self:  # noqa: ARG002 - SQLAlchemy's
        """Stay as it is: with the "= 1" of a function's result SQLite would use no index."""
        return self


def among(column: ColumnElement[Any], key: str, values: Any = None) -> ColumnElement[bool]:
    """Return the condition that a column has one of the values of a list.

    Args:
        column: texts or numbers.
        key: of the list among the values that the statement is executed with.
        values: the list, where it is known already.
    """
    kind = _ListOf(column.type)
    listed: BindParameter[Any] = (
        BindParameter(key, type_=kind)
        if values is None
        else BindParameter(key, values, type_=kind, unique=True)
    )
    return _Among(column, listed)


@compiles(_Among, "sqlite")
def _among_json(element: _Among, compiler: SQLCompiler, **how: Any) -> str:
    column, listed = (compiler.process(one, **how) for one in element.clauses)
    found = f"SELECT value FROM json_each({listed})"  # noqa: S608 - the compiler's
    return f"{column} IN ({found})"


@compiles(_Among, "postgresql")
def _among_array(element: _Among, compiler: SQLCompiler, **how: Any) -> str:
    column, listed = (compiler.process(one, **how) for one in element.clauses)
    return f"{column} = ANY ({listed})"


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
