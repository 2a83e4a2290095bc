"""All servers of the process, in memory and on disk.

Memory decides: it serves whatever the disk does. A change that can't be written is kept, and
written again later. What the disk has is in memory soon after a start: a client's reservation when
it first asks, and all of them by and by.
"""

from __future__ import annotations

import gc
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import TypeVar

from lessor.core.dhcp.packed import LAYOUT
from lessor.dhcpd.background import Background
from lessor.dhcpd.database import Database, Stored
from lessor.dhcpd.messages import HEADER, Entry, Header, encode, read
from lessor.dhcpd.served import Served
from lessor.dhcpd.sockets import Sockets
from lessor.errors import Invalid

T = TypeVar("T")
LAST = b"\xff" * 4
CHUNK = 200  # reservations loaded or removed at a time: about a millisecond


class Servers:
    """The servers by name.

    Args:
        database: the table on disk.
        opened: sockets by the names of all servers that there are to be; None: there is no such
            interface now. Those of servers that are not on disk are closed.
        background: a thread, started or not.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        database: Database,
        opened: Mapping[str, Sockets | None],
        background: Background,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._background = background
        self._clock = clock
        self._last = 0  # reservation that was loaded last
        self._removed: set[int] = set()  # ids on disk whose reservations are to be removed
        self.by_name: dict[str, Served] = {}
        self._by_number: dict[int, Served] = {}
        self.filled = False  # all that is on disk is in memory
        self._begin(opened)

    def _begin(self, opened: Mapping[str, Sockets | None]) -> None:
        for number, name, header, revision in self._ask(self._database.servers) or []:
            if name in opened and (known := _header(header)) and known.layout == LAYOUT:
                served = Served(known, number, revision)
                if (sockets := opened[name]) is not None:
                    served.take_sockets(sockets)
                self.by_name[name] = self._by_number[number] = served
            else:  # removed by an agent while no process ran, or of another layout: fed again
                self._removed.add(number)
                self._ask(partial(self._database.close_server, number))
        for name, sockets in opened.items():
            if sockets is not None and name not in self.by_name:
                self._background.submit(sockets.close)
        for stored in self._ask(self._database.with_clients) or []:
            self._load(stored)

    @property
    def problem(self) -> str:
        """Why the table on disk was begun again, or can't be used; "": neither."""
        return self._database.problem

    @property
    def busy(self) -> bool:
        """Tell whether `work` has something to do."""
        return not self.filled or bool(self._removed)

    def work(self) -> None:
        """Load or remove a few reservations of the disk."""
        if not self.filled:
            asked = self._ask(lambda: self._database.following(self._last, CHUNK))
            found, self._last = asked or ([], self._last)
            for stored in found:
                self._load(stored)
            if not found:
                self.filled = True
                gc.freeze()  # no look of the collector is at all of them
        elif self._removed:
            number = next(iter(self._removed))
            if not self._ask(lambda: self._database.purge(number, CHUNK)):
                self._removed.discard(number)

    def find(self, served: Served, mac: bytes) -> None:
        """Load what a client has, if that is not in memory yet."""
        if not self.filled and not served.knows(mac):
            for stored in self._ask(lambda: self._database.of_mac(served.number, mac)) or []:
                self._load(stored)

    def open(self, header: Header, sockets: Sockets | None) -> Served:
        """Add a server, or change its header and, if some are given, its sockets."""
        served = self.by_name.get(header.name)
        if served is None:
            served = self.by_name[header.name] = Served(header)
            served.revision = self._stamp(0)
        else:
            served.take_header(header)
            served.revision = self._stamp(served.revision)
        if sockets is not None:
            if served.sockets is not None:
                self._background.submit(served.sockets.close)
            served.take_sockets(sockets)
        served.header_unsaved = True
        self.save(served)
        return served

    def close(self, served: Served) -> None:
        """Remove a server."""
        del self.by_name[served.name]
        if served.sockets is not None:
            self._background.submit(served.sockets.close)  # the kernel takes its time
            served.sockets = None
        if served.number:
            del self._by_number[served.number]
            self._removed.add(served.number)
            self._ask(lambda: self._database.close_server(served.number))

    def put(self, served: Served, entries: Iterable[Entry]) -> str:
        """Add or replace reservations; return why they are not on disk, "" if they are.

        Raises:
            Invalid: one is malformed; nothing was changed.
        """
        rows = [(entry, served.row(entry)) for entry in entries]
        for entry, row in rows:
            served.put(entry, row)
            served.unsaved[entry.address] = entry
        return self._change(served)

    def drop(self, served: Served, addresses: Iterable[bytes]) -> str:
        """Remove reservations; return why that is not on disk, "" if it is."""
        for address in addresses:
            served.drop(address)
            served.unsaved[address] = None
        return self._change(served)

    def texts(self, served: Served, after: bytes, limit: int) -> tuple[dict[bytes, bytes], bool]:
        """Return the texts of reservations that follow an address, and whether there are more.

        Once all is in memory: before, there are none, and more.
        """
        if not self.filled:
            return {}, True
        found: dict[bytes, bytes] = {}
        more = True
        while more and not found:
            disk = self._texts(served, after, limit)
            more = len(disk) == limit
            upto = max(disk) if more else LAST
            found = {address: text for address, text in disk.items() if address in served.loaded}
            for address, entry in served.unsaved.items():
                if entry is not None and after < address <= upto:
                    found[address] = entry.reservation
            after = upto
        return dict(sorted(found.items())), more

    def _texts(self, served: Served, after: bytes, limit: int) -> dict[bytes, bytes]:
        return self._ask(lambda: self._database.texts(served.number, after, limit)) or {}

    def save_all(self) -> None:
        """Try again to write what could not be written; have the disk take what was written."""
        if self._database.changed:
            self._database.changed = False
            self._background.submit(self._database.checkpoint)
        for served in self.by_name.values():
            if served.unsaved or served.header_unsaved:
                self.save(served)

    def save(self, served: Served) -> str:
        """Write what is not on disk yet; return why that fails."""
        try:
            if served.header_unsaved:
                packed = encode(served.header)
                served.number = self._database.open(served.name, packed, served.revision)
                served.header_unsaved = False
                self._by_number[served.number] = served
            if served.unsaved:
                self._database.write(served.number, served.revision, served.unsaved)
                served.unsaved.clear()
        except sqlite3.Error as error:
            self._note_damage(error)
            return f"not on disk yet: {error}"
        return ""

    def _change(self, served: Served) -> str:
        served.revision = self._stamp(served.revision)
        return self.save(served)

    def _stamp(self, before: int) -> int:
        """Return a higher revision: one by the clock, so that none comes twice after a loss."""
        return max(before + 1, int(self._clock() * 1e6))

    def _load(self, stored: Stored) -> None:
        served = self._by_number.get(stored.server)
        if served is None:
            self._removed.add(stored.server)
            return
        with suppress(Invalid, TypeError):  # its driver finds that it is missing
            served.load(stored)

    def _ask(self, question: Callable[[], T]) -> T | None:
        """Ask the disk; None: it fails, and memory has to do."""
        try:
            return question()
        except sqlite3.Error as error:
            self._note_damage(error)
            return None

    def _note_damage(self, error: sqlite3.Error) -> None:
        """Go on without the disk if the file is damaged, until the process is started again."""
        if type(error) is sqlite3.DatabaseError:  # its subclasses are of the moment: a full disk
            self._database.problem = (
                f"the table on disk is damaged ({error}); start the process again"
            )
            self.filled = True
            self._removed.clear()
            self._database.remove()


def _header(data: bytes) -> Header | None:
    with suppress(Invalid):
        return read(HEADER, data)
    return None
