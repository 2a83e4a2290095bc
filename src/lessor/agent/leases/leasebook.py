"""The live leases of this host's DHCP servers, by server, and the events the store lacks.

The book follows the spool's events in order. A lease is on disk, one file a server, before its
event is handed to the store and cut from the spool, so files and spool together have every event,
whenever the agent dies. An event may be applied twice: the last one of an address decides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lessor.agent.host.atomic import atomic_write
from lessor.agent.leases.leasefile import file_of, leases_of
from lessor.agent.leases.spool import Spool
from lessor.core.leases import LiveLease, apply_event
from lessor.model import LeaseEvent
from lessor.net.address import Address

MAX_SERVERS = 10_000  # whose leases are read from the spool; names there are not to be trusted


class LeaseBook:
    """The leases, in one folder. It alone reads and cuts the spool.

    Args:
        folder: of the files; made if it is missing.
        spool: where DHCP servers add events.
        clock: seconds since 1970.
    """

    def __init__(self, folder: Path, spool: Spool, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._spool = spool
        self._clock = clock
        self._lock = threading.RLock()
        self._last = 0
        self._unsaved: set[str] = set()
        self._live: dict[str, tuple[dict[Address, LiveLease], float]] = {}  # and until when
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._leases = {
            path.name: leases_of(path.read_bytes())
            for path in folder.iterdir()
            if not path.name.startswith(".")
        }

    @property
    def epoch(self) -> str:
        """The name of the spool: the events of another one have other numbers."""
        return self._spool.epoch

    def catch_up(self) -> None:
        """Apply all events of the spool.

        Raises:
            OSError: a file can't be written.
        """
        with self._lock:
            while events := self._spool.read(after=self._last):
                self._apply(events)
            self._save()

    def overran(self) -> bool:
        """Tell whether more events came than can be read, since the last call: some are lost."""
        return self._spool.overran()

    def waits(self) -> bool:
        """Tell whether the store lacks events."""
        return bool(self._spool.read(1))

    def unsent(self, limit: int) -> Sequence[LeaseEvent]:
        """Return the first events that the store lacks, once their leases are on disk.

        Raises:
            OSError: a file can't be written.
        """
        events = self._spool.read(limit)
        if events:
            self._spool.settle()
            self.catch_up()  # after the reading: what is cut later is on disk, however much comes
        return events

    def sent(self, upto: int) -> None:
        """Forget the events up to this number: the store has them."""
        self._spool.cut(upto)

    def live(self, server: str) -> Mapping[Address, LiveLease]:
        """Return a server's live leases, by address: the same object until one changes."""
        now = self._clock()
        with self._lock:
            live, until = self._live.get(server, ({}, float("-inf")))
            if now >= until:
                held = self._leases.get(server, {})
                live = {address: lease for address, lease in held.items() if lease.alive(now)}
                ends = (lease.expires_at for lease in live.values())
                until = min((end for end in ends if end is not None), default=float("inf"))
                self._live[server] = live, until
            return live

    def snapshot(self) -> list[tuple[str, LiveLease]]:
        """Return all live leases with the server that holds each."""
        with self._lock:
            return [
                (name, one) for name in sorted(self._leases) for one in self.live(name).values()
            ]

    def count(self) -> int:
        """Return the number of live leases."""
        with self._lock:
            return sum(len(self.live(name)) for name in self._leases)

    def has_room(self) -> bool:
        """Tell whether the spool can take events."""
        return self._spool.has_room()

    def end(self, server: str, leases: Iterable[LiveLease]) -> None:
        """End leases that the server no longer holds: report them as the server would."""
        for lease in leases:
            self._spool.add(server, "del", lease)
        self.catch_up()

    def end_expired(self, server: str) -> None:
        """End what expired while no server ran: one that starts now can't report it.

        With a full disk this is left undone; renewals correct it.
        """
        with self._lock, suppress(OSError):
            self._leases.setdefault(server, {})
            self.catch_up()
            held, live = self._leases[server], self.live(server)
            self.end(server, [lease for key, lease in held.items() if key not in live])

    def seed(self, server: str, leases: Iterable[LiveLease]) -> None:
        """Take leases of another server, before this one starts and reports them itself."""
        with self._lock:
            now = self._clock()
            given = {lease.address: lease for lease in leases if lease.alive(now)}
            self._leases[server] = self._leases.get(server, {}) | given
            self._unsaved.add(server)
            self._live.pop(server, None)
            with suppress(OSError):  # the forwarder reports a full disk, and tries again
                self._save()

    def forget(self, server: str) -> None:
        """Forget a server that was removed."""
        with self._lock:
            self.catch_up()
            self._leases.pop(server, None)
            self._live.pop(server, None)
            self._unsaved.discard(server)
            self._file(server).unlink(missing_ok=True)

    def _file(self, server: str) -> Path:
        return self._folder / server

    def _apply(self, events: Iterable[LeaseEvent]) -> None:
        for event in events:
            if event.seq > self._last:
                self._last = event.seq
                if event.server in self._leases or len(self._leases) < MAX_SERVERS:
                    apply_event(self._leases.setdefault(event.server, {}), event)
                    self._unsaved.add(event.server)
                    self._live.pop(event.server, None)

    def _save(self) -> None:
        """Write the files that changed; one that can't be written is tried again next time."""
        now = self._clock()
        for server in sorted(self._unsaved):
            alive = (one for one in self._leases.get(server, {}).values() if one.alive(now))
            atomic_write(self._file(server), file_of(alive), durable=True)
            self._unsaved.discard(server)
