"""Collections: the rows of a noun, each call one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from lessor.store import tagrows, tags
from lessor.store.engine import row_revision
from lessor.store.engine.access import Database
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.noun import Noun, R, V
from lessor.store.query import Query
from lessor.store.sharing import quotas

T = TypeVar("T")  # of nouns that are read alone
ALL = Query()


class Rows(Generic[T]):
    """The rows of a noun that are only read one by one or in lists."""

    def __init__(
        self,
        db: Database,
        get: Callable[[ReadTx, str], T],
        find: Callable[[ReadTx, Query], list[T]],
    ) -> None:
        self._db = db
        self._get = get
        self._find = find

    def get(self, row_id: str) -> T:
        """Return a row, or raise NotFound."""
        return self._db.read(self._get, row_id)

    def find(self, query: Query = ALL) -> list[T]:
        """Return the rows that a query asks for."""
        return self._db.read(self._find, query)


class Collection(Rows[R], Generic[R, V]):
    """The rows of a noun: find, get, create, update, delete.

    `expected` of a change is the revision that the row must have; another one raises Outdated.
    """

    def __init__(self, db: Database, noun: Noun[R, V]) -> None:
        super().__init__(db, noun.get, noun.find)
        self.noun = noun

    def create(self, many: Sequence[V]) -> list[R]:
        """Create all rows, with their tags, or none."""
        values, tags_of_each = tagrows.parted(many)
        return self._db.write(self._create, values, tags_of_each)

    def _create(self, tx: Tx, many: Sequence[V], tags_of_each: Sequence[Any]) -> list[R]:
        quotas.check(tx, self.noun.name, many)
        rows = self.noun.create(tx, many)
        for row, its in zip(rows, tags_of_each, strict=True):
            tags.write_new(tx, row.id, its)
        return rows

    def update(self, row_id: str, values: V, expected: int | None = None) -> R:
        """Change a row."""
        return self._db.write(self._update, row_id, values, expected)

    def _update(self, tx: Tx, row_id: str, values: V, expected: int | None) -> R:
        row_revision.expect(tx, self.noun.table, row_id, expected)
        return self.noun.update(tx, row_id, values)

    def delete(self, row_id: str, expected: int | None = None) -> None:
        """Delete a row."""
        self._db.write(self._delete, row_id, expected)

    def _delete(self, tx: Tx, row_id: str, expected: int | None) -> None:
        row_revision.expect(tx, self.noun.table, row_id, expected)
        self.noun.delete(tx, row_id)


class Declared(Generic[R, V]):
    """Declares a noun in the body of a `Database`: the attribute is its `Collection` there."""

    def __init__(self, noun: Noun[R, V]) -> None:
        self.noun = noun

    def __get__(self, db: Database, _: type) -> Collection[R, V]:
        return Collection(db, self.noun)
