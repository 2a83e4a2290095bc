"""How the rows of a noun are shared: their owner, and the projects that use them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table, select

from lessor.errors import NotFound
from lessor.store.engine.tx import ReadTx


@dataclass(frozen=True, slots=True)
class Shareable:
    """The sharing of a noun.

    Attributes:
        table: of its rows, which have project_id and shared.
        title: its name in messages.
        used_by: what others make of it, in messages.
        users: asks for the projects that have made something of one, by its id.
    """

    table: Table
    title: str
    used_by: str
    users: Callable[[str], Any]

    def owner(self, tx: ReadTx, object_id: str) -> str:
        """Return the project of one, or raise NotFound."""
        owner = select(self.table.c.project_id).where(self.table.c.id == object_id)
        found = tx.conn.execute(owner).first()
        if found is None:
            raise NotFound(
                f"there is no {self.title} {object_id}",
                type_=f"{self.title.title().replace(' ', '')}NotFound",
            )
        return str(found[0])
