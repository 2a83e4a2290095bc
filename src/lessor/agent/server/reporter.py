"""Reports this host's status to the server: heartbeats, and changes soon after they happen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from lessor.core.plan.ready import news
from lessor.errors import Conflict, LessorError
from lessor.model import HostBlock, PortReport, Problem, Report
from lessor.signal import Signal

GATHER_S = 0.02  # changes within it go into one report


class Sink(Protocol):
    """The server."""

    async def report(self, report: Report) -> None:
        """Take a report, or raise a LessorError."""


@dataclass(slots=True)
class Status:
    """The present status of this host."""

    epoch: str = ""
    in_sync: bool = False
    ports: Mapping[str, PortReport] = field(default_factory=dict)
    applied: Mapping[str, int] = field(default_factory=dict)
    settled: int = 0  # the revision up to which all is done on this host; 0: not known now
    problems: tuple[Problem, ...] | None = ()  # None: not reported yet
    unserved: Mapping[str, str] | None = field(default_factory=dict)  # None: not reported yet
    blocks: tuple[HostBlock, ...] | None = None  # the host's own; None: not known
    counts: Mapping[str, int] = field(default_factory=dict)


class Reporter:
    """Sends what has changed. What failed is sent again; a new store gets everything.

    Attributes:
        confirmed: the server has taken this run; emitted once.
    """

    def __init__(
        self,
        sink: Sink,
        identity: Report,
        interval_s: float,
        *,
        events_sent: Callable[[], bool],
    ) -> None:
        """Prepare.

        Args:
            sink: the server.
            identity: a report with what never changes in a run.
            interval_s: seconds between heartbeats when there is nothing new.
            events_sent: whether all lease events of the time before have been sent.
        """
        self._sink = sink
        self._identity = identity
        self._interval_s = interval_s
        self._events_sent = events_sent
        self.confirmed: Signal[[]] = Signal()
        self._status = Status()
        self._sent = Status(problems=None, unserved=None)
        self._is_confirmed = False
        self._problems_at = 0.0
        self._forgotten: set[str] = set()
        self._wake = asyncio.Event()
        self._log = structlog.get_logger()

    def say(self, status: Status) -> None:
        """Set the status, and send what is new of it soon."""
        self._status = status
        self._wake.set()

    def forget(self, ports: Iterable[str]) -> None:
        """Report these ports again: the server has dropped what it had of them."""
        self._forgotten.update(ports)
        self._wake.set()

    def nudge(self) -> None:
        """Check again whether there is anything to send."""
        self._wake.set()

    async def introduce(self) -> None:
        """Introduce this run to the server, before there is a status.

        Raises:
            Conflict: another live agent has this host's name.
            Unavailable: the server is unreachable.
        """
        await self._report(self._identity)

    async def _report(self, report: Report) -> None:
        """Send a report; it names the unconfirmed runs before until the server has taken one."""
        await self._sink.report(report)
        if not self._is_confirmed:
            self._is_confirmed = True
            self._identity = replace(self._identity, unconfirmed_run_ids=())
            self.confirmed.emit()

    async def run(self) -> None:
        """Send heartbeats and news until cancelled.

        Raises:
            Conflict: another live agent has taken this host's name.
        """
        while True:
            try:
                async with asyncio.timeout(self._interval_s):
                    await self._wake.wait()
                await asyncio.sleep(GATHER_S)
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self._send(self._status)
            except Conflict:
                raise
            except LessorError as error:
                self._log.debug("report failed", error=str(error))
                await asyncio.sleep(1)

    async def _send(self, status: Status) -> None:
        if status.epoch != self._sent.epoch:
            self._sent = Status(epoch=status.epoch, problems=None, unserved=None)
        forgotten, self._forgotten = self._forgotten, set()
        sent = {k: v for k, v in self._sent.ports.items() if k not in forgotten}
        ports = news(sent if forgotten else self._sent.ports, status.ports)
        applied = {
            key: revision
            for key, revision in status.applied.items()
            if self._sent.applied.get(key) != revision and self._events_sent()
        }
        further = status.settled > self._sent.settled and self._events_sent()
        settled = status.settled if further else 0
        report = replace(
            self._identity,
            epoch=status.epoch,
            in_sync=status.in_sync,
            ports=ports,
            applied=applied,
            settled=settled,
            problems=self._problems(status),
            unserved=None
            if self._sent.unserved == status.unserved
            else dict(status.unserved or {}),
            blocks=None if self._sent.blocks == status.blocks else status.blocks,
            counts=dict(status.counts),
        )
        try:
            await self._report(report)
        except LessorError:
            self._forgotten |= forgotten
            raise
        problems = self._sent.problems if report.problems is None else report.problems
        if report.problems is not None:
            self._problems_at = time.monotonic()
        kept = {key: at for key, at in self._sent.applied.items() if key in status.applied}
        settled = max(settled, self._sent.settled)
        self._sent = replace(status, applied=kept | applied, settled=settled, problems=problems)

    def _problems(self, status: Status) -> tuple[Problem, ...] | None:
        """Return the problems if they changed, or if the server's last look at them is old."""
        sent, now = self._sent.problems, status.problems
        if sent is None or now is None or _unseen(sent) != _unseen(now):
            return now
        due = time.monotonic() - self._problems_at >= self._interval_s
        return now if due and sent != now else None


def _unseen(problems: tuple[Problem, ...]) -> list[Problem]:
    return [replace(one, seen=0.0) for one in problems]
