"""Turns a `Query` into SQL, the same for all nouns, by the columns that each declares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Row,
    Select,
    and_,
    false,
    func,
    or_,
)

from lessor.errors import Invalid, NotFound
from lessor.store import tagrows
from lessor.store.engine.tx import ReadTx
from lessor.store.query import Query

Condition = Callable[[tuple[Any, ...]], ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Listing:
    """How rows of one noun are found.

    Attributes:
        noun: for messages ("port").
        base: the statement without conditions and order.
        key: the column that a marker names.
        fields: what a list can be filtered by and sorted by.
        conditions: filters that aren't "column has one of the values".
        nullable: fields that sort as "" where they are NULL, on every database.
        visible: what a project may see (`visible`); None: nothing.
    """

    noun: str
    base: Select[Any]
    key: ColumnElement[Any]
    fields: Mapping[str, ColumnElement[Any]]
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    nullable: Mapping[str, Any] = field(default_factory=dict)
    visible: Callable[[str], ColumnElement[bool]] | None = None

    def rows(self, tx: ReadTx, query: Query) -> list[Row[Any]]:
        """Return the rows of a list in its order.

        Raises:
            Invalid: there is no such filter or sort key.
            NotFound: the marker is no row's.
        """
        base = self._seen_by(query.visible_to)
        statement = base.where(*self._where(query.filters))
        order = self._order(query.sort)
        if query.page_reverse:
            order = [(column, not descending) for column, descending in order]
        if query.marker is not None:
            statement = statement.where(self._after(tx, base, query.marker, order))
        statement = statement.order_by(*(c.desc() if down else c.asc() for c, down in order))
        if query.limit is not None:
            statement = statement.limit(query.limit)
        rows = list(tx.conn.execute(statement).all())
        return rows[::-1] if query.page_reverse else rows

    def _seen_by(self, project_id: str | None) -> Select[Any]:
        if project_id is None:
            return self.base
        return self.base.where(self.visible(project_id) if self.visible else false())

    def _where(self, filters: Mapping[str, tuple[Any, ...]]) -> list[ColumnElement[bool]]:
        return [self._condition(name, values) for name, values in filters.items()]

    def _condition(self, name: str, values: tuple[Any, ...]) -> ColumnElement[bool]:
        if name in tagrows.FILTERS:
            return tagrows.condition(name, self.key, values)
        if name == "changed_since":
            since: ColumnElement[bool] = self.fields["updated_at"] >= min(values)
            return since
        if name in self.conditions:
            return self.conditions[name](values)
        if name not in self.fields:
            raise Invalid(f"{self.noun}s can't be filtered by {name!r}")
        return one_of(self.fields[name], values)

    def _order(self, sort: tuple[tuple[str, bool], ...]) -> list[tuple[ColumnElement[Any], bool]]:
        if unknown := [name for name, _ in sort if name not in self.fields]:
            raise Invalid(f"{self.noun}s can't be sorted by {unknown[0]!r}")
        return [(self._sortable(name), down) for name, down in sort] + [(self.key, False)]

    def _sortable(self, name: str) -> ColumnElement[Any]:
        column = self.fields[name]
        return func.coalesce(column, self.nullable[name]) if name in self.nullable else column

    def _after(
        self,
        tx: ReadTx,
        base: Select[Any],
        marker: str,
        order: list[tuple[ColumnElement[Any], bool]],
    ) -> ColumnElement[bool]:
        """Return the condition for rows that come after the marker in this order."""
        columns = [column for column, _ in order]
        at = tx.conn.execute(base.with_only_columns(*columns).where(self.key == marker)).first()
        if at is None:
            raise NotFound(
                f"there is no {self.noun} {marker} to go on from; its id may have been deleted",
                type_=f"{self.noun.title().replace(' ', '')}NotFound",
            )
        steps = []
        for n, (column, down) in enumerate(order):
            same = [c == v for (c, _), v in zip(order[:n], at, strict=False)]
            steps.append(and_(*same, column < at[n] if down else column > at[n]))
        return or_(*steps)


def one_of(column: ColumnElement[Any], values: tuple[Any, ...]) -> ColumnElement[bool]:
    """Return the condition that a column has one of the values; None is NULL."""
    known = [value for value in values if _fits(column, value)]
    parts: list[ColumnElement[bool]] = []
    if known:
        parts.append(column == known[0] if len(known) == 1 else column.in_(known))
    if None in values:
        parts.append(column.is_(None))
    return or_(*parts) if parts else false()


def _fits(column: ColumnElement[Any], value: Any) -> bool:
    """Tell whether a column can have a value at all; PostgreSQL refuses to compare with others."""
    if isinstance(value, str):
        return "\0" not in value
    bits = 63 if isinstance(column.type, BigInteger) else 31
    is_number = isinstance(value, int) and isinstance(column.type, Integer)
    return value is not None and not (is_number and value.bit_length() > bits)
