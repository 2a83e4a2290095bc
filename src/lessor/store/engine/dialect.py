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
    LargeBinary,
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

from lessor.net.keys import WIDTH


def insert(table: Table) -> Insert:
    """Return an INSERT that can say what to do about a row that is there; it counts its rows."""
    return Insert(table).execution_options(preserve_rowcount=True)


def is_postgres(engine: Engine) -> bool:
    """Tell whether the database is PostgreSQL; if not, it is SQLite."""
    return engine.dialect.name == "postgresql"


class _ListOf(TypeDecorator[Any]):
    """A list in one parameter: an array of PostgreSQL's; for SQLite JSON, or keys in a row."""

    impl = Text
    cache_ok = True

    def __init__(self, item: TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return what the database takes."""
        if dialect.name == "postgresql":
            return ARRAY(self.item)
        return LargeBinary() if self.of_keys else Text()

    @property
    def of_keys(self) -> bool:
        """Whether its members are keys of addresses, which JSON has no form for."""
        return isinstance(self.item, LargeBinary)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return what the driver takes."""
        if dialect.name == "postgresql":
            return list(value)
        return b"".join(value) if self.of_keys else msgspec.json.encode(value).decode()


class _Among(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    @property
    def of_keys(self) -> bool:
        """Whether its list has keys of addresses."""
        return any(isinstance(one.type, _ListOf) and one.type.of_keys for one in self.clauses)

    def self_group(self, against: Any = None) -> Self:  # noqa: ARG002 - SQLAlchemy's
        """Stay as it is: with the "= 1" of a function's result SQLite would use no index."""
        return self


def among(column: ColumnElement[Any], key: str, values: Any = None) -> ColumnElement[bool]:
    """Return the condition that a column has one of the values of a list.

    Args:
        column: texts, numbers, or keys of addresses (`address_column.raw`).
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
    if not element.of_keys:
        return f"{column} IN (SELECT value FROM json_each({listed}))"  # noqa: S608 - the compiler's
    again = compiler.process([*element.clauses][1], **how)  # its value is needed twice
    return (
        f"{column} IN (WITH RECURSIVE places(n) AS (SELECT 1 UNION ALL SELECT n + {WIDTH} "  # noqa: S608 - the compiler's
        f"FROM places WHERE n + {WIDTH} < length({listed})) "
        f"SELECT substr({again}, n, {WIDTH}) FROM places)"
    )


@compiles(_Among, "postgresql")
def _among_array(element: _Among, compiler: SQLCompiler, **how: Any) -> str:
    column, listed = (compiler.process(one, **how) for one in element.clauses)
    return f"{column} = ANY ({listed})"


class hex_of(FunctionElement[str]):  # noqa: N801 - a function's name
    """Bytes as hexadecimal text, in lower case."""

    type = Text()
    inherit_cache = True


@compiles(hex_of, "sqlite")
def _hex(element: hex_of, compiler: SQLCompiler, **how: Any) -> str:
    return f"lower(hex({compiler.process(element.clauses, **how)}))"


@compiles(hex_of, "postgresql")
def _encode(element: hex_of, compiler: SQLCompiler, **how: Any) -> str:
    return f"encode({compiler.process(element.clauses, **how)}, 'hex')"


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
