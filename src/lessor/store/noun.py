"""A noun's declaration: its rules, and what quotas, tags, sharing and lists need of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sqlalchemy import ColumnElement, Table

from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.query import Query
from lessor.store.sharing.quotas import Quota
from lessor.store.sharing.shareable import Shareable


class Row(Protocol):
    """The row of a noun."""

    @property
    def id(self) -> str:
        """Its id."""


R = TypeVar("R", bound=Row)  # the row, as `model` has it
V = TypeVar(
    "V", bound=Mapping[str, object]
)  # the values to make or change one, as `values` has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Noun(Generic[R, V]):
    """The declaration of a noun.

    Attributes:
        name: in the API, singular ("port").
        table: of its rows, by `id`.
        get, find, create, update, delete: its rules, each in a transaction of its caller.
        quota: how many a project may have; None: any number.
        visible: which rows a project may see.
        shareable: how its rows are shared with other projects; None: they are not.
        shown_on: the hosts whose view has a row.
    """

    name: str
    table: Table
    get: Callable[[ReadTx, str], R]
    find: Callable[[ReadTx, Query], list[R]]
    create: Callable[[Tx, Sequence[V]], list[R]]
    update: Callable[[Tx, str, V], R]
    delete: Callable[[Tx, str], None]
    visible: Callable[[str], ColumnElement[bool]]
    quota: Quota | None = None
    shareable: Shareable | None = None
    shown_on: Callable[[Tx, str], Iterable[str | None]] | None = None
