"""Projects: known by the rows that they own, since there is no register of them."""

from __future__ import annotations

from sqlalchemy import select, union

from lessor.store.engine.tx import ReadTx
from lessor.store.tables import quotas


def known(tx: ReadTx) -> list[str]:
    """Return the ids of the projects that own something, or that somebody set quotas for."""
    owning = [noun.table for noun in tx.nouns.values()]
    each = (
        select(table.c.project_id).where(table.c.project_id != "") for table in (*owning, quotas)
    )
    return sorted(tx.conn.execute(union(*each)).scalars())
