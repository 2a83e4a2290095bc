"""What a store has to know of other servers on its database, and what it knows where it is alone."""

from __future__ import annotations

from typing import Protocol

EVERYONE = frozenset({"*"})  # instead of hosts' names: what changed is not known


class Peers(Protocol):
    """What a store knows of the other servers."""

    @property
    def several(self) -> bool:
        """Whether there can be other servers."""

    @property
    def keeps(self) -> bool:
        """Whether this server does what one server has to do."""

    def departed(self) -> bool:
        """Tell whether a server has gone since the last call: its hosts are silent for a while."""

    def close(self) -> None:
        """Leave."""


class Alone:
    """On SQLite there is one server."""

    several = False
    keeps = True

    def departed(self) -> bool:
        """Nobody can have gone."""
        return False

    def close(self) -> None:
        """There is nobody to leave."""
