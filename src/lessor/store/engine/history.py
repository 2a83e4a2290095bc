"""Detects a database that went back in time: agents show positions that it issued and lost.

Each view says at which *position* of the store's history it is true: the run (a start of a server)
and the revision, signed with a secret of the database. The agent shows it with its next question.
A position that is signed, of this epoch, and not in the history means that what was written up to
it was lost: an older copy of the database was put in place, whatever its age, and however far its
counter has come since. Only the store signs, so a host can show no position that was never reached.
"""

from __future__ import annotations

import hmac
import secrets
import uuid
from dataclasses import dataclass, field

from sqlalchemy import Connection, ScalarSelect, bindparam, delete, func, insert, select

from lessor.store.engine import notes
from lessor.store.tables import counter, meta, runs

SECRET = "secret"  # noqa: S105 - the name that it is noted under
EPOCH = "epoch"
_SIGNED_CHARS = 32


@dataclass(frozen=True, slots=True)
class Now:
    """How far the database is, as one transaction sees it."""

    epoch: str
    revision: int
    run: str
    secret: str = field(repr=False)

    @property
    def position(self) -> str:
        """A signed position, for an agent to show with its next question."""
        return f"{self.run}:{self.revision}:{_signed(self, self.run, self.revision)}"


def noted(name: str) -> ScalarSelect[str]:
    """Return the subquery of what is noted of the database under a name."""
    return select(meta.c.value).where(meta.c.name == name).scalar_subquery()


_NOW = select(
    counter.c.revision,
    noted(EPOCH),
    noted(SECRET),
    select(runs.c.id).order_by(runs.c.seq.desc()).limit(1).scalar_subquery(),
)
_SEQ = select(runs.c.seq).where(runs.c.id == bindparam("run"))
_NEXT = select(func.min(runs.c.began)).where(
    runs.c.seq > select(runs.c.seq).where(runs.c.id == bindparam("run")).scalar_subquery()
)


def now(conn: Connection) -> Now:
    """Return how far the database is."""
    revision, epoch, secret, run = conn.execute(_NOW).one()
    return Now(epoch, int(revision), run, secret)


def is_lost(conn: Connection, at: Now, shown: str) -> bool:
    """Tell whether a position is one that this store signed in this epoch and no longer has."""
    run, _, rest = shown.partition(":")
    digits, _, signed = rest.partition(":")
    if not digits.isdecimal() or not digits.isascii():
        return False
    revision = int(digits[:20])
    if not hmac.compare_digest(signed.encode(), _signed(at, run, revision).encode()):
        return False
    if run == at.run:
        return revision > at.revision
    if conn.execute(_SEQ, {"run": run}).scalar() is None:
        return True
    return revision > int(conn.execute(_NEXT, {"run": run}).scalar_one())


def _signed(at: Now, run: str, revision: int) -> str:
    text = f"{at.epoch} {run} {revision}"
    return hmac.digest(at.secret.encode(), text.encode(), "sha256").hex()[:_SIGNED_CHARS]


def begin_run(conn: Connection) -> None:
    """Note that a server starts; the caller's transaction writes alone."""
    if not notes.remembered(conn, SECRET):  # of an epoch that began before there were any
        notes.remember(conn, SECRET, secrets.token_hex(32))
    seq = conn.execute(select(func.coalesce(func.max(runs.c.seq), 0) + 1)).scalar_one()
    began = conn.execute(select(counter.c.revision)).scalar_one()
    conn.execute(insert(runs).values(id=uuid.uuid4().hex[:12], seq=seq, began=began))


def begin_epoch(conn: Connection) -> str:
    """Give the database a new epoch, in which no earlier position counts; return it."""
    epoch = str(uuid.uuid4())
    notes.remember(conn, EPOCH, epoch)
    notes.remember(conn, SECRET, secrets.token_hex(32))
    conn.execute(delete(runs))
    begin_run(conn)
    return epoch
