"""Sends the lease events of this host's DHCP servers to the store.

The lease book has an event on disk before it is sent, and forgets it only after the store has it.
While no server answers, the book goes on and the events wait in the spool.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import structlog

from lessor.core.leases import coalesce
from lessor.errors import LessorError
from lessor.model import LeaseBatch, LeaseEvent
from lessor.net.address import Address
from lessor.signal import Signal

MAX_EVENTS = 1000  # in one batch
MAX_RETRY_S = 15.0
REST = 4.0  # times as long as the book took to write, to gather more: it writes whole files
MAX_REST_S = 1.0


class Sink(Protocol):
    """The server."""

    async def leases(self, batch: LeaseBatch) -> int:
        """Apply a batch; return the last sequence number applied."""


class Book(Protocol):
    """The lease book, as far as the forwarder needs it."""

    @property
    def epoch(self) -> str:
        """The name of the spool that numbers the events."""

    def waits(self) -> bool:
        """Tell whether the store lacks events."""

    def unsent(self, limit: int) -> Sequence[LeaseEvent]:
        """Return the first events that the store lacks, once their leases are on disk.

        Raises:
            OSError: a file can't be written.
        """

    def sent(self, upto: int) -> None:
        """Forget the events up to this number: the store has them."""


class LeaseForwarder:
    """Forwards the events of one lease book.

    Attributes:
        problem: why events wait; "" if they don't.
        sent: the server has taken events.
    """

    def __init__(
        self, sink: Sink, book: Book, network_of: Callable[[str, Address], str | None]
    ) -> None:
        """Prepare.

        Args:
            sink: the server.
            book: has the events.
            network_of: the network that an address of a DHCP server (by its name) belongs to.
        """
        self._sink = sink
        self._book = book
        self._network_of = network_of
        self._wake = asyncio.Event()
        self._log = structlog.get_logger()
        self.problem = ""
        self.sent: Signal[[]] = Signal()

    def nudge(self) -> None:
        """Look at the spool: something was written."""
        self._wake.set()

    def pending(self) -> bool:
        """Tell whether the server lacks events."""
        return self._book.waits()

    async def run(self) -> None:
        """Forward until cancelled."""
        failures = 0
        while True:
            self._wake.clear()
            try:
                while await self._send():
                    failures = 0
                self.problem = ""
            except (LessorError, OSError) as error:
                failures += 1
                self._wait(str(error))
            retry_s = min(MAX_RETRY_S, 0.5 * 2 ** min(failures, 6)) if failures else None
            try:
                async with asyncio.timeout(retry_s):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def _wait(self, error: str) -> None:
        if not self.problem:
            self._log.warning("lease events wait", error=error)
        self.problem = f"lease events wait in the spool: {error}"

    async def _send(self) -> bool:
        """Send one batch; return whether there may be more."""
        started = time.monotonic()
        events = await asyncio.to_thread(self._book.unsent, MAX_EVENTS)
        if not events:
            return False
        took_s = time.monotonic() - started
        batch = LeaseBatch(epoch=self._book.epoch, events=self._addressed(events))
        if batch.events:
            await self._sink.leases(batch)
        await asyncio.to_thread(self._book.sent, events[-1].seq)
        self.sent.emit()
        await asyncio.sleep(min(MAX_REST_S, took_s * REST))
        return True

    def _addressed(self, events: Sequence[LeaseEvent]) -> tuple[LeaseEvent, ...]:
        """Return the events with their networks; those of unknown networks are left out."""
        found, unknown = [], []
        for event in coalesce(events):
            network_id = self._network_of(event.server, event.address)
            if network_id is None:
                unknown.append(event)
            else:
                found.append(replace(event, server="", network_id=network_id))
        if unknown:
            server, address = unknown[0].server, str(unknown[0].address)
            count = len(unknown)
            self._log.warning("lease of no network", server=server, address=address, count=count)
        return tuple(found)
