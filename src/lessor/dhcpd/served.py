"""One server: its reservations, leases and counters, and what it does with a frame."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from lessor.core.dhcp.leases import Lease, Leases
from lessor.core.dhcp.limit import Bucket, Limit, take
from lessor.core.dhcp.packed import unpack
from lessor.core.dhcp.plain import answer_plain
from lessor.core.dhcp.responder import Outcome, answer
from lessor.core.dhcp.table import Row, Table, insert, remove
from lessor.core.lease_line import NONE, line_name
from lessor.dhcpd.database import Stored
from lessor.dhcpd.messages import PAGE, Entry, Header, Held
from lessor.dhcpd.sockets import Sockets, attached

UNKNOWN = Limit(rate=200, burst=400)  # of all MACs without a reservation together
FLOOD = "messages too many"
SENDER, CLIENT = slice(6, 12), slice(70, 76)  # of a frame: Ethernet source, chaddr
NO_MAC = bytes(6)


class Loaded(NamedTuple):
    """A reservation in memory, besides its row."""

    mac: bytes
    clients: tuple[bytes, ...]
    hostname: str  # as lines of events have it


class Served:
    """A server in memory.

    Args:
        header: the server.
        number: its id on disk; 0: it isn't there.
        revision: raised by every change.

    Attributes:
        unsaved: changes by address that are not on disk; None: the reservation is gone.
        header_unsaved: neither is the header.
        heard: messages.
        answered: messages that were answered.
    """

    def __init__(self, header: Header, number: int = 0, revision: int = 0) -> None:
        self.number = number
        self.revision = revision
        self.sockets: Sockets | None = None
        self.leases = Leases(complete=False)
        self.loaded: dict[bytes, Loaded] = {}
        self.unsaved: dict[bytes, Entry | None] = {}
        self.header_unsaved = False
        self.heard = self.answered = 0
        self.notes: Counter[str] = Counter()
        self.clients: dict[bytes, Counter[str]] = {}
        self._buckets: dict[bytes, Bucket] = {}
        self._unknown: Bucket | None = None
        self._shared: dict[bytes, bytes] = {}
        self.table = Table(NO_MAC)
        self.take_header(header)

    @property
    def name(self) -> str:
        """Its name."""
        return self.header.name

    def take_header(self, header: Header) -> None:
        """Have another header from now on; the reservations stay."""
        self.header = header
        self._limit = Limit(header.rate, header.burst)
        self.table = replace(
            self.table,
            servers=frozenset(header.servers),
            relays=frozenset(header.relays),
            rapid_commit=header.rapid_commit,
        )

    def take_sockets(self, sockets: Sockets) -> None:
        """Listen by these sockets, and no others; those that there were stay the caller's."""
        self.sockets = sockets
        self.attach()

    def listens_by(self, packet: socket.socket) -> bool:
        """Tell whether this is its socket."""
        return self.sockets is not None and self.sockets.packet is packet

    def attach(self) -> bool:
        """Learn the interface's MAC; return whether it listens there."""
        if self.sockets is None:
            return False
        mac = attached(self.sockets.packet, self.header.device.interface)
        if mac is not None and mac != self.table.mac:
            self.table = replace(self.table, mac=mac)
        return mac is not None

    def row(self, entry: Entry) -> Row:
        """Return the row of a reservation.

        Raises:
            Invalid: it is malformed.
        """
        return unpack(entry.row, self._shared)

    def put(self, entry: Entry, row: Row) -> None:
        """Have a reservation, instead of the one of its address."""
        before = self.loaded.get(entry.address)
        if before is not None:
            remove(self.table, before.mac, before.clients, entry.address)
            if before.mac != entry.mac:
                self._drop_bucket(before.mac)
                self.leases.forget(entry.address)
        self._load(entry.address, entry.mac, entry.clients, entry.hostname, row)

    def drop(self, address: bytes) -> None:
        """Have no reservation of this address, nor a lease."""
        before = self.loaded.pop(address, None)
        self.leases.forget(address)
        if before is not None:
            remove(self.table, before.mac, before.clients, address)
            self._drop_bucket(before.mac)

    def load(self, stored: Stored) -> None:
        """Have a reservation of the disk, unless memory knows its address better.

        Raises:
            Invalid: it is malformed.
        """
        address = stored.address
        if address not in self.loaded and address not in self.unsaved:
            row = unpack(stored.ready, self._shared)
            self._load(address, stored.mac, stored.clients, stored.hostname, row)

    def seed(self, leases: Iterable[Held], *, complete: bool) -> None:
        """Learn of leases from before a restart; what was given since counts more."""
        live = self.leases.live
        for one in leases:
            reserved = self.loaded.get(one.address)
            if one.address not in live and (reserved is None or reserved.mac == one.mac):
                live[one.address] = Lease(one.mac, one.client_id, one.expires_at)
                if one.expires_at is not None:
                    self.leases.ends[one.address] = one.expires_at
        if complete:
            self.leases = replace(self.leases, complete=True)

    def knows(self, mac: bytes) -> bool:
        """Tell whether a client is in memory."""
        return mac in self.table.by_mac

    def hear(self, frame: bytes, now: float, at: float) -> Outcome | None:
        """Return what follows from a frame; None: its sender sends too many.

        The events are recorded.

        Args:
            frame: as it came.
            now: seconds since 1970.
            at: seconds of a clock that does not go back.
        """
        self.heard += 1
        sender = frame[SENDER]
        if sender in self.table.relays:
            sender = frame[CLIENT]
        if sender in self.table.by_mac:
            bucket = take(self._buckets.get(sender), self._limit, at)
            if bucket is None:
                self._note(sender, FLOOD)
                return None
            self._buckets[sender] = bucket
        else:
            bucket = take(self._unknown, UNKNOWN, at)
            if bucket is None:
                self.notes[FLOOD] += 1
                return None
            self._unknown = bucket
        table, leases = self.table, self.leases
        outcome = answer_plain(table, leases, frame, now) or answer(table, leases, frame, now)
        for event in outcome.events:
            leases.record(event)
        for note in outcome.notes:
            self._note(sender, note.value)
        if outcome.frames:
            self.answered += 1
        return outcome

    def hostname(self, address: bytes) -> str:
        """Return the hostname of a reservation, as lines of events have it."""
        reserved = self.loaded.get(address)
        return reserved.hostname if reserved else NONE

    def _load(
        self, address: bytes, mac: bytes, clients: tuple[bytes, ...], hostname: str, row: Row
    ) -> None:
        insert(self.table, mac, clients, row)
        self.loaded[address] = Loaded(mac, clients, line_name(hostname))

    def _drop_bucket(self, mac: bytes) -> None:
        if mac not in self.table.by_mac:
            self._buckets.pop(mac, None)

    def _note(self, client: bytes, what: str) -> None:
        """Count what was noted, also by client: of the last ones only."""
        self.notes[what] += 1
        counts = self.clients.pop(client, None) or Counter()
        counts[what] += 1
        self.clients[client] = counts
        if len(self.clients) > PAGE:
            del self.clients[next(iter(self.clients))]
