"""The revision that a caller expects of a row, checked in the transaction that changes it."""

from __future__ import annotations

from sqlalchemy import Table, select

from lessor.errors import Outdated
from lessor.store.engine.tx import Tx


def expect(tx: Tx, table: Table, row_id: str, expected: int | None) -> None:
    """Raise Outdated unless the row has revision `expected`; None skips the check.

    A missing row passes: the change itself raises NotFound. The row is locked where the database
    has such locks: of two callers with the same revision, one passes.

    Raises:
        Outdated: it has changed since.
    """
    if expected is None:
        return
    if row_id in tx.earlier:
        raise Outdated(
            f"constrained to revision {expected}, but {table.name.removesuffix('s')} {row_id} is "
            "being changed at this moment; read it again"
        )
    found = select(table.c.revision).where(table.c.id == row_id).with_for_update()
    revision = tx.conn.execute(found).scalar()
    if revision is not None and revision != expected:
        raise Outdated(
            f"constrained to revision {expected}, but {table.name.removesuffix('s')} {row_id} has "
            f"revision {revision} now; read it again"
        )
