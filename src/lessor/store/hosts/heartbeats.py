"""Heartbeats of hosts: in memory, and written in batches, without revisions."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import bindparam, func, update

from lessor.store.engine.tx import Tx
from lessor.store.tables import hosts

_WRITE = (
    update(hosts)
    .where(
        hosts.c.name == bindparam("host_name"),
        # another server may have a later one
        func.coalesce(hosts.c.heartbeat_at, 0.0) < bindparam("at"),
    )
    .values(heartbeat_at=bindparam("at"))
)


class Heartbeats:
    """When hosts reported to this server last, in seconds since 1970."""

    def __init__(self) -> None:
        self._unwritten: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def record(self, host: str, now: float) -> None:
        """Record that a host reported."""
        self._unwritten[host] = now

    def last(self, host: str, stored: float | None = None) -> float:
        """Return a host's last heartbeat, 0 without one; `stored`: what its row has."""
        latest = max(self._unwritten.get(host, 0.0), self._written.get(host, 0.0))
        return max(latest, stored or 0.0)

    def forget(self, host: str) -> None:
        """Forget a deleted host."""
        self._unwritten.pop(host, None)
        self._written.pop(host, None)

    @property
    def unwritten(self) -> bool:
        """Whether there are heartbeats to be written."""
        return bool(self._unwritten)

    def write(self, tx: Tx) -> dict[str, float]:
        """Write the heartbeats that are new, and return them for `mark_written`."""
        new = dict(self._unwritten)
        if new:
            tx.conn.execute(_WRITE, [{"host_name": h, "at": at} for h, at in new.items()])
        return new

    def mark_written(self, heartbeats: Mapping[str, float]) -> None:
        """Note that heartbeats are in the database."""
        self._written |= heartbeats
        for host, at in heartbeats.items():
            if self._unwritten.get(host) == at:
                del self._unwritten[host]


class SilenceWatch:
    """Decides when a silent host counts as dead: not while this server may have been away."""

    def __init__(self, down_s: float) -> None:
        self._down_s = down_s
        self._last: float | None = None
        self._quiet_until = 0.0

    def look(self, now: float, *, disturbed: bool = False) -> bool:
        """Record a look at the hosts; return whether a silent host counts as dead.

        It doesn't for `down_s` after the start, and after a gap between looks, in which reports may
        be lost: the clock jumped, or the machine slept (semantics.md B13).

        Args:
            now: seconds since 1970.
            disturbed: another server left with its heartbeats; its hosts will come to this one.
        """
        last, self._last = self._last, now
        if disturbed or last is None or not 0 <= now - last <= self._down_s / 2:
            self._quiet_until = now + self._down_s
        return now >= self._quiet_until
