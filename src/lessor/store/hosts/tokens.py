"""Tokens of agents. The database has their hashes alone."""

from __future__ import annotations

import hashlib
import secrets
import time
from functools import partial

from sqlalchemy import bindparam, select, update

from lessor.errors import NotFound
from lessor.store.engine.access import Database
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.tables import hosts

CACHE_S = 30.0  # for so long another server may accept a deleted host's token

_BEARER = select(hosts.c.name).where(hosts.c.token_hash == bindparam("digest"))


def digest_of(token: str) -> str:
    """Return the stored hash. A token is random and long, so a plain hash can't be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def new() -> tuple[str, str]:
    """Return a new token and its hash."""
    token = secrets.token_urlsafe(32)
    return token, digest_of(token)


def host_of(db: Database, token: str) -> str | None:
    """Return the host that a token is of, or None."""
    digest = digest_of(token)
    cached = db.fleet.tokens.get(digest)
    if cached is not None and time.monotonic() < cached[1]:
        return cached[0]
    name = db.read(_bearer, digest)
    if name is not None:
        db.fleet.tokens[digest] = (name, time.monotonic() + CACHE_S)
    return name


def _bearer(tx: ReadTx, digest: str) -> str | None:
    found: str | None = tx.conn.execute(_BEARER, {"digest": digest}).scalar()
    return found


def renew(tx: Tx, host: str) -> str:
    """Give a host a new token, which is not stored; the former is worth nothing from then on.

    Raises:
        NotFound: there is no such host.
    """
    token, digest = new()
    named = update(hosts).where(hosts.c.name == host, hosts.c.added)
    if not tx.conn.execute(named.values(token_hash=digest)).rowcount:
        raise NotFound(f"there is no host {host}", type_="HostNotFound")
    tx.after_commit(partial(tx.fleet.forget_tokens, host))
    tx.concerns([host])
    return token
