"""How a write transaction runs, and how rows get their revision.

A job is a function of a `Tx`; `groupcommit` runs jobs. One revision is given to a transaction, at
its end, so a reader that has seen it has seen all before it. A job may be run again, after its
transaction was lost: what it does outside of the database must bear that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from lessor.errors import Conflict, Invalid, Unavailable
from lessor.store.engine.tx import Tx

T = TypeVar("T")
Subscriber = Callable[[frozenset[str]], None]


@dataclass(frozen=True, slots=True)
class Written(Generic[T]):
    """What a job returned, and the revision of the rows it touched."""

    value: T
    revision: int
    touched: Collection[str]


class Writer(Protocol):
    """Runs jobs, each a whole transaction to its caller."""

    def run(self, job: Callable[[Tx], T]) -> Written[T]:
        """Run a job and return when what it wrote survives a power cut.

        Raises:
            LessorError: what the job raised; nothing of it was written.
            Unavailable: the database could not write.
        """

    def close(self) -> None:
        """End after the jobs that wait."""


def as_lessor_error(error: BaseException) -> BaseException:
    """Return what the caller of a job is to be raised."""
    cause = error.orig if isinstance(error, StatementError) else error
    if isinstance(cause, OverflowError):
        return Invalid(f"a number is larger than the database can keep: {cause}")
    if isinstance(error, IntegrityError):
        return Conflict(
            f"it contradicts what is stored ({message_of(error)}); look at it and try again"
        )
    if isinstance(error, DataError):
        return Invalid(
            f"a value is larger than the database can keep, or malformed: {message_of(error)}"
        )
    if isinstance(error, DBAPIError):
        return Unavailable(f"the database can't write now: {message_of(error)}")
    if isinstance(error, SQLAlchemyError):
        return Unavailable(f"the database can't write now: {error}")
    return error


def message_of(error: DBAPIError) -> str:
    """Return a database's message in one line: PostgreSQL adds details that repeat the values."""
    return str(error.orig).strip().partition("\n")[0]
