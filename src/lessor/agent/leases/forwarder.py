"""Takes lease events from the hook's spool to the lease table and to the server.

An event is first in the table (from which `init` answers a restarted DHCP server), then at the
server, and only then cut from the spool. Server away: the table goes on, the spool waits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from typing import Protocol

import structlog

from lessor.agent.leases.spool import Spool
from lessor.core.leases import SpooledEvent, coalesce
from lessor.errors import LessorError
from lessor.model import LeaseBatch, LeaseEvent

MOST = 1000  # events in one batch
LONGEST_RETRY_S = 15.0
REST = 4.0  # times as long as the table takes, to gather more: it is written whole each time
LONGEST_REST_S = 1.0


class Sink(Protocol):
    """Who is told: the server."""

    async def leases(self, batch: LeaseBatch) -> int:
        """Apply a batch; return the last sequence number applied."""


class Table(Protocol):
    """What the events are noted in before anybody else hears of them."""

    def catch_up(self) -> None:
        """Note all that the spool has, durably; OSError: it can't be written."""


class LeaseForwarder:
    """Forwards the events of one spool.

    Attributes:
        problem: why events wait, in words; "" if they don't.
        sent: called when the server has taken events.
    """

    def __init__(
        self,
        sink: Sink,
        spool: Spool,
        table: Table,
        network_of: Callable[[str, IPv4Address], str | None],
    ) -> None:
        """Prepare.

        Args:
            sink: the server.
            spool: where the hook writes.
            table: the lease table.
            network_of: the network that an address of a DHCP server (by its name) belongs to.
        """
        self._sink = sink
        self._spool = spool
        self._table = table
        self._network_of = network_of
        self._wake = asyncio.Event()
        self._log = structlog.get_logger()
        self.problem = ""
        self.sent: Callable[[], None] = _nobody

    def nudge(self) -> None:
        """Look at the spool: something was written."""
        self._wake.set()

    def pending(self) -> bool:
        """Tell whether there are events that the server hasn't got."""
        return bool(self._spool.read(1))

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
            retry_s = min(LONGEST_RETRY_S, 0.5 * 2 ** min(failures, 6)) if failures else None
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
        events = await asyncio.to_thread(self._spool.read, MOST)
        if not events:
            return False
        await asyncio.to_thread(self._spool.settle)
        last, started = events[-1].seq, time.monotonic()
        # after the reading: what is cut below is in the table, however fast more comes
        await asyncio.to_thread(self._table.catch_up)
        kept_s = time.monotonic() - started
        batch = LeaseBatch(epoch=self._spool.epoch, events=self._wire(events))
        if batch.events:
            await self._sink.leases(batch)
        await asyncio.to_thread(self._spool.cut, last)
        self.sent()
        await asyncio.sleep(min(LONGEST_REST_S, kept_s * REST))
        return True

    def _wire(self, events: Sequence[SpooledEvent]) -> tuple[LeaseEvent, ...]:
        """Return the events as the server takes them; those of unknown networks are left out."""
        wired, unknown = [], []
        for event in coalesce(events):
            network_id = self._network_of(event.instance, event.address)
            if network_id is None:
                unknown.append(event)
            else:
                wired.append(_wire(event, network_id))
        if unknown:
            server, address = unknown[0].instance, str(unknown[0].address)
            count = len(unknown)
            self._log.warning("lease of no network", server=server, address=address, count=count)
        return tuple(wired)


def _nobody() -> None:
    """Stands for whoever wants to know, as long as nobody does."""


def _wire(event: SpooledEvent, network_id: str) -> LeaseEvent:
    return LeaseEvent(
        seq=event.seq,
        action=event.action,
        network_id=network_id,
        address=event.address,
        mac_address=event.mac,
        expires_at=event.expires_at,
        at=event.at,
        hostname=event.hostname,
        client_id=event.client_id,
    )
