"""The live leases of this host's DHCP servers: one table a server, in the form it reads at `init`.

The tables follow the spool's events in order. They are on disk before the spool is cut, so tables
and spool together have every event, whenever the agent dies. An event applied once more changes
nothing: the last one of an address says what is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from lessor.agent.host.atomic import write_durably
from lessor.agent.leases.spool import Spool
from lessor.core.leases import LiveLease, SpooledEvent, apply_event, lease_table, read_table

MOST = 10_000  # tables of servers that were never prepared here


class LeaseBook:
    """The tables, in one folder.

    Args:
        folder: of the tables; made if it is missing.
        spool: where the hooks write.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, spool: Spool, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._spool = spool
        self._clock = clock
        self._lock = threading.RLock()
        self._last = 0
        self._unsaved: set[str] = set()
        self._live: dict[str, tuple[dict[IPv4Address, LiveLease], float]] = {}  # and until when
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._leases = {
            path.name: read_table(path.read_text())
            for path in folder.iterdir()
            if not path.name.startswith(".")
        }

    def table(self, instance: str) -> Path:
        """Return the file that the hook prints at `init`."""
        return self._folder / instance

    def catch_up(self) -> None:
        """Take all that the spool has.

        Raises:
            OSError: a table can't be written.
        """
        with self._lock:
            while events := self._spool.read(after=self._last):
                self._apply(events)
            self._save()

    def feed(self, events: Iterable[SpooledEvent]) -> None:
        """Take these events, in order; what was taken before is passed over.

        Raises:
            OSError: a table can't be written: the spool must not be cut.
        """
        with self._lock:
            self._apply(events)
            self._save()

    def live(self, instance: str) -> Mapping[IPv4Address, LiveLease]:
        """Return a server's live leases, by address: the same object until one changes."""
        now = self._clock()
        with self._lock:
            live, until = self._live.get(instance, ({}, float("-inf")))
            if now >= until:
                held = self._leases.get(instance, {})
                live = {address: lease for address, lease in held.items() if lease.alive(now)}
                ends = (lease.expires_at for lease in live.values())
                until = min((end for end in ends if end is not None), default=float("inf"))
                self._live[instance] = live, until
            return live

    def snapshot(self) -> list[tuple[str, LiveLease]]:
        """Return all live leases with the server that holds each."""
        with self._lock:
            return [
                (name, one) for name in sorted(self._leases) for one in self.live(name).values()
            ]

    def count(self) -> int:
        """Return how many leases are alive."""
        with self._lock:
            return sum(len(self.live(name)) for name in self._leases)

    def has_room(self) -> bool:
        """Tell whether the spool can take events."""
        return self._spool.has_room()

    def end(self, instance: str, leases: Iterable[LiveLease]) -> None:
        """End leases that no server holds any more: write it to the spool, as the server would."""
        for lease in leases:
            self._spool.add(instance, "del", lease)
        self.catch_up()

    def seed(self, instance: str, leases: Iterable[LiveLease]) -> None:
        """Take leases that another server gave, before this one starts.

        The server reports them when it has read them.
        """
        with self._lock:
            now = self._clock()
            given = {lease.address: lease for lease in leases if lease.alive(now)}
            self._leases[instance] = self._leases.get(instance, {}) | given
            self._unsaved.add(instance)
            self._live.pop(instance, None)
            self._save_if_possible()

    def forget(self, instance: str) -> None:
        """Know nothing any more of a server that was removed."""
        with self._lock:
            self.catch_up()
            self._leases.pop(instance, None)
            self._live.pop(instance, None)
            self._unsaved.discard(instance)
            self.table(instance).unlink(missing_ok=True)

    def prepare(self, instance: str) -> None:
        """Write the table for a server that is to start, when none runs.

        What expired meanwhile is ended: the new server will not know of it.

        Raises:
            OSError: the table can't be written: the server starts with the one of before, and clients
                renew by their reservations.
        """
        with self._lock:
            self._leases.setdefault(instance, {})
            with suppress(OSError):
                self.catch_up()
                held, live = self._leases.get(instance, {}), self.live(instance)
                self.end(instance, [lease for key, lease in held.items() if key not in live])
            self._unsaved.add(instance)
            self._save()

    def _apply(self, events: Iterable[SpooledEvent]) -> None:
        for event in events:
            if event.seq > self._last:
                self._last = event.seq
                if event.instance in self._leases or len(self._leases) < MOST:
                    apply_event(self._leases.setdefault(event.instance, {}), event)
                    self._unsaved.add(event.instance)
                    self._live.pop(event.instance, None)

    def _save_if_possible(self) -> None:
        """Write the tables; a full disk is said by who sends the leases, who tries again."""
        with suppress(OSError):
            self._save()

    def _save(self) -> None:
        """Write the tables that changed; one that can't be written is tried again next time."""
        for instance in sorted(self._unsaved):
            text = lease_table(self._leases.get(instance, {}).values(), self._clock())
            write_durably(self.table(instance), text.encode())
            self._unsaved.discard(instance)
