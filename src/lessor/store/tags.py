"""Tags of rows, for all nouns in one table.

A kind is a noun's name ("port"); its rows have a `revision` and `updated_at`.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import insert, select, update

from lessor.errors import Invalid, NotFound
from lessor.store.engine.tx import Tx
from lessor.store.tables import tags
from lessor.store.tagrows import forget, of

MOST = 50  # of one row, and of characters: Neutron's limits
LONGEST = 255


def write_new(tx: Tx, row_id: str, wanted: Collection[str]) -> None:
    """Write the tags of a row that was just made.

    Raises:
        Invalid: a tag is empty or too long, or there are too many.
    """
    if wanted:
        tx.conn.execute(insert(tags), [{"resource_id": row_id, "tag": w} for w in _checked(wanted)])


def replace_all(tx: Tx, kind: str, row_id: str, wanted: Collection[str]) -> None:
    """Give a row these tags and no others; see `write_new`.

    Raises:
        NotFound: there is no such row.
    """
    present = _present(tx, kind, row_id)
    if present != set(wanted):
        forget(tx, row_id)
        write_new(tx, row_id, wanted)
        _changed(tx, kind, row_id)


def add(tx: Tx, kind: str, row_id: str, wanted: Collection[str]) -> None:
    """Give a row further tags; see `replace_all`."""
    replace_all(tx, kind, row_id, _present(tx, kind, row_id) | set(wanted))


def remove(tx: Tx, kind: str, row_id: str, tag: str) -> None:
    """Take a tag from a row.

    Raises:
        NotFound: there is no such row, or it has no such tag.
    """
    present = _present(tx, kind, row_id)
    if tag not in present:
        raise missing(row_id, tag)
    replace_all(tx, kind, row_id, present - {tag})


def missing(row_id: str, tag: str) -> NotFound:
    """Return the error that a row has no such tag."""
    return NotFound(f"{row_id} has no tag {tag!r}", type_="TagNotFound")


def _present(tx: Tx, kind: str, row_id: str) -> set[str]:
    table = tx.nouns[kind].table
    if tx.conn.execute(select(table.c.id).where(table.c.id == row_id)).first() is None:
        raise NotFound(f"there is no {kind} {row_id} to have tags", type_="TagResourceNotFound")
    return set(of(tx, [row_id]).get(row_id, ()))


def _changed(tx: Tx, kind: str, row_id: str) -> None:
    """Give the row a new revision: clients compare revisions."""
    noun = tx.nouns[kind]
    changed = update(noun.table).where(noun.table.c.id == row_id)
    tx.conn.execute(changed.values(updated_at=tx.now))
    tx.touch(noun.table.name, row_id)
    if noun.shown_on is not None:
        tx.concerns(noun.shown_on(tx, row_id))


def _checked(wanted: Collection[str]) -> list[str]:
    found = sorted(set(wanted))
    if len(found) > MOST:
        raise Invalid(f"{len(found)} tags; the most is {MOST}")
    for tag in found:
        if not 0 < len(tag) <= LONGEST:
            raise Invalid(f"a tag of {len(tag)} characters; give 1 to {LONGEST}")
        if "\0" in tag:
            raise Invalid("a tag with the character NUL, which can't be stored; leave it out")
    return found
