"""Other servers on a PostgreSQL database: their changes, which are there, which one keeps house.

Each server has one connection for this. It listens to what the others notify after a commit; it
holds a shared advisory lock that says "I am here"; and it tries to get the one that says "I keep
house": who has it does what must be done once, such as moving DHCP servers away from a dead host.
PostgreSQL ends the connection of a server that says nothing for `SILENCE_S`, so that a server which
hangs loses both locks as one that was killed does.
"""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from psycopg import Error as PsycopgError
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from lessor.store.engine import postgres
from lessor.store.engine.peers import EVERYONE

LOOK_S = 1.0
SILENCE_S = 5

_LISTEN = (
    f"LISTEN {postgres.CHANNEL}; SET idle_session_timeout = '{SILENCE_S}s'; "
    f"SELECT pg_advisory_lock_shared({postgres.LESSOR}, {postgres.PRESENT})"
)
_PRESENT = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND classid = %s::int AND objid = %s::int"""
_KEYS = (postgres.LESSOR, postgres.PRESENT)
_KEEP = f"SELECT pg_try_advisory_lock({postgres.LESSOR}, {postgres.KEEPING})"

log = structlog.get_logger("lessor.store")


class PostgresPeers:
    """The servers on one PostgreSQL database: `peers.Peers`; see the top."""

    several = True

    def __init__(
        self, engine: Engine, sender: str, subscriber: Callable[[frozenset[str]], None]
    ) -> None:
        self._engine = engine
        self._sender = sender
        self._subscriber = subscriber
        self._present: frozenset[int] = frozenset()
        self._departed = False
        self._stopping = False
        self.keeps = False
        self._ready = threading.Event()
        self._waker, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._work, name="lessor-peers", daemon=True)
        self._thread.start()
        self._ready.wait(postgres.PATIENCE_S)

    def departed(self) -> bool:
        """Tell whether a server has gone since the last call."""
        gone, self._departed = self._departed, False
        return gone

    def close(self) -> None:
        """Leave: another server may keep house at once."""
        if self._stopping:
            return
        self._stopping = True
        os.write(self._wake, b"x")
        self._thread.join()
        os.close(self._wake)
        os.close(self._waker)

    def _work(self) -> None:
        while not self._stopping:
            try:
                self._follow()
            except (DBAPIError, PsycopgError, OSError) as error:
                if self.keeps or self._ready.is_set():
                    log.warning("peers lost", retry_s=LOOK_S, error=str(error).partition("\n")[0])
            self.keeps = False
            self._departed = True  # whoever went while we did not look, went unseen
            self._pause()

    def _follow(self) -> None:
        pooled = self._engine.raw_connection()
        conn: Any = pooled.driver_connection
        pooled.detach()
        try:
            conn.execute(_LISTEN)
            self._subscriber(EVERYONE)  # notifications may have been lost meanwhile
            while not self._stopping:
                self._look(conn)
                self._ready.set()
                select.select([conn.fileno(), self._waker], [], [], LOOK_S)
                self._hear(conn)
        finally:
            with suppress(PsycopgError):
                conn.close()

    def _look(self, conn: Any) -> None:
        """Find the servers that are there, and keep house if none does."""
        present = frozenset(row[0] for row in conn.execute(_PRESENT, _KEYS))
        if self._present - present:
            self._departed = True
        self._present = present
        if not self.keeps:
            self.keeps = bool(conn.execute(_KEEP).fetchone()[0])

    def _hear(self, conn: Any) -> None:
        hosts: set[str] = set()
        for notice in conn.notifies(timeout=0):
            hosts |= postgres.hosts_in(self._sender, notice.payload)
        if hosts:
            self._subscriber(frozenset(hosts))

    def _pause(self) -> None:
        if not self._stopping:
            select.select([self._waker], [], [], LOOK_S)
