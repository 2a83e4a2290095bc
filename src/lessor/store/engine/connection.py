"""A connection that compiles a statement once, where SQLAlchemy looks it up at each execution.

Most statements are constants of their modules. SQLAlchemy spends 30 µs on each execution of one,
the databases' drivers 5 (SQLite). A statement that comes a second time is compiled for good: its
text, its parameters in order, and what turns the driver's values into Python's. What is built for
one execution, and what has a list to expand, goes SQLAlchemy's way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from weakref import WeakKeyDictionary

import sqlalchemy
from sqlalchemy import BindParameter, Dialect, Engine
from sqlalchemy.engine.result import IteratorResult, SimpleResultMetaData
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import SelectBase
from sqlalchemy.types import TypeEngine

Values = Mapping[str, Any]
Process = Callable[[Any], Any] | None
Names = tuple[str, ...]


@dataclass(slots=True)
class Compiled:
    """A statement as a driver takes it.

    Attributes:
        text: the SQL.
        binds: its parameters in order: the name in the SQL, the key of the caller's value, what it
            is if the caller gives none, and what makes the driver's value of it.
        by_name: whether the driver takes parameters by their names.
        rows: the names of its columns; None: it returns no rows.
        types: of its columns.
        results: columns, by their places, with what makes Python's value of the driver's. None: not
            known before the driver said what it returns.
    """

    text: str
    binds: tuple[tuple[str, str, Any, Process], ...]
    by_name: bool
    rows: SimpleResultMetaData | None
    types: tuple[TypeEngine[Any], ...]
    results: tuple[tuple[int, Callable[[Any], Any]], ...] | None = None

    def parameters(self, values: Values) -> Any:
        """Return what the driver takes as parameters."""
        given = [
            values.get(key, default) if process is None else process(values.get(key, default))
            for _, key, default, process in self.binds
        ]
        if not self.by_name:
            return given
        return dict(zip([name for name, *_ in self.binds], given, strict=True))

    def read(self, cursor: Any, dialect: Dialect) -> Sequence[Any]:
        """Return the rows of a cursor with Python's values."""
        if self.results is None:
            self.results = _processes(self.types, cursor.description, dialect)
        found: list[Any] = cursor.fetchall()
        if not self.results:
            return found
        return [self._processed(row) for row in found]

    def _processed(self, row: Sequence[Any]) -> tuple[Any, ...]:
        values = list(row)
        for at, process in self.results or ():
            values[at] = process(values[at])
        return tuple(values)


def _processes(
    types: Sequence[TypeEngine[Any]], description: Sequence[Any], dialect: Dialect
) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    found = (
        (at, kind.dialect_impl(dialect).result_processor(dialect, column[1]))
        for at, (kind, column) in enumerate(zip(types, description, strict=True))
    )
    return tuple((at, process) for at, process in found if process is not None)


@dataclass(slots=True)
class Statements:
    """The statements of an engine that came so far, by themselves, then by what is given to them.

    A statement is forgotten with its owner.
    """

    known: WeakKeyDictionary[Any, dict[Names, Compiled | None]] = field(
        default_factory=WeakKeyDictionary
    )

    def of(self, statement: Any, values: Values, dialect: Dialect) -> Compiled | None:
        """Return a statement compiled; None: it comes for the first time, or can't be."""
        forms = self.known.get(statement)
        if forms is None:
            if isinstance(statement, SelectBase | UpdateBase):
                self.known[statement] = {}
            return None
        names = tuple(values)
        if names in forms:
            return forms[names]
        return forms.setdefault(names, compiled(statement, names, dialect))


def compiled(statement: SelectBase | UpdateBase, names: Names, dialect: Dialect) -> Compiled | None:
    """Compile a statement to which values of these names are given.

    Returns None for one of which the text depends on the values.
    """
    keys = list(names) if isinstance(statement, UpdateBase) else None
    made: SQLCompiler = statement.compile(dialect=dialect, column_keys=keys)
    binds = {name: bind for bind, name in made.bind_names.items()}
    if made.escaped_bind_names or any(_varies(bind, names) for bind in binds.values()):
        return None
    order = made.positiontup if made.positional else list(binds)
    columns = statement.exported_columns
    return Compiled(
        made.string,
        tuple(
            (
                name,
                binds[name].key if binds[name].key in names else name,
                binds[name].effective_value,
                binds[name].type.dialect_impl(dialect).bind_processor(dialect),
            )
            for name in order or ()
        ),
        not made.positional,
        SimpleResultMetaData(list(map(str, columns.keys()))) if columns else None,
        tuple(column.type for column in columns),
    )


def _varies(bind: BindParameter[Any], names: Names) -> bool:
    """Tell whether a parameter is SQLAlchemy's: a list, a call, or one that is not given."""
    missing = bind.required and bind.key not in names
    return bool(bind.expanding or bind.literal_execute or bind.callable or missing)


class Found(IteratorResult[Any]):
    """What a statement returned, read already."""

    rowcount: int

    def __init__(self, rows: SimpleResultMetaData, found: Sequence[Any], rowcount: int) -> None:
        super().__init__(rows, iter(found))
        self.rowcount = rowcount


_NOTHING = SimpleResultMetaData([])


class Connection(sqlalchemy.Connection):
    """See the top. Transactions begin and end where our callers say so, by statements."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._statements: Statements = engine.get_execution_options()["statements"]

    def __enter__(self) -> Self:
        return self

    def execute(self, statement: Any, parameters: Any = None, **options: Any) -> Any:
        """Execute a statement; see SQLAlchemy."""
        values = parameters or {}
        if isinstance(values, dict) and not options and not self._has_listeners:
            known = self._statements.of(statement, values, self.dialect)
            if known is not None:
                cursor = self._run(known.text, known.parameters(values))
                if known.rows is None:
                    return Found(_NOTHING, (), cursor.rowcount)
                return Found(known.rows, known.read(cursor, self.dialect), cursor.rowcount)
        return super().execute(statement, parameters, **options)

    def exec_driver_sql(
        self, statement: str, parameters: Any = None, execution_options: Any = None
    ) -> Any:
        """Execute a driver's own SQL; see SQLAlchemy."""
        if execution_options or self._has_listeners or isinstance(parameters, list | dict):
            return super().exec_driver_sql(statement, parameters, execution_options)
        cursor = self._run(statement, parameters or ())
        if cursor.description is None:
            return Found(_NOTHING, (), cursor.rowcount)
        names = SimpleResultMetaData([column[0] for column in cursor.description])
        return Found(names, cursor.fetchall(), cursor.rowcount)

    @property
    def _has_listeners(self) -> bool:
        """Whether somebody wants to hear of each statement, which only SQLAlchemy tells."""
        return bool(self.engine._has_events)  # noqa: SLF001 - as its own connection asks it

    def _run(self, text: str, parameters: Any) -> Any:
        driver: Any = self.connection.dbapi_connection
        if not self.in_transaction():
            self.begin()  # SQLAlchemy's own, without a statement: it decides what follows an error
        try:
            return driver.execute(text, parameters)
        except BaseException as error:  # noqa: BLE001 - it is raised again, as SQLAlchemy raises it
            self._handle_dbapi_exception(error, text, parameters, None, None)
