"""The databases that a server is measured on: SQLite in its folder, and a PostgreSQL of our own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tests.postgres import cluster

# nothing else is set: like Debian's, it answers a write when it is on disk
SETTINGS = ("listen_addresses=", "max_connections=300")


@contextmanager
def sqlite() -> Iterator[str]:
    """Yield the `[database] connection` of a file in the server's folder."""
    yield ""


@contextmanager
def postgresql() -> Iterator[str]:
    """Run PostgreSQL in its own folder; yield the `[database] connection` of an empty database."""
    with cluster(SETTINGS) as made:
        yield made.url(made.blank())


DATABASES: dict[str, Callable[[], AbstractContextManager[str]]] = {
    "SQLite": sqlite,
    "PostgreSQL": postgresql,
}
