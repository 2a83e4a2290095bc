"""The Peers interface to other servers on the database, and its single-server implementation."""

from __future__ import annotations

from typing import Protocol

EVERYONE = frozenset({"*"})  # stands for all hosts


class Peers(Protocol):
    """The other servers on the database."""

    @property
    def several(self) -> bool:
        """Whether there can be other servers."""

    @property
    def keeps(self) -> bool:
        """Whether this server does the housekeeping, which one server of them does."""

    def departed(self) -> bool:
        """Tell whether a server left since the last call: its hosts are silent for a while."""

    def close(self) -> None:
        """Leave."""


class Alone:
    """The only server on a database: on SQLite."""

    several = False
    keeps = True

    def departed(self) -> bool:
        """Return False: there is no other server."""
        return False

    def close(self) -> None:
        """Do nothing."""
