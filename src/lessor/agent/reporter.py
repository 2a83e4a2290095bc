"""Tells the server how this host is: a heartbeat, and news soon after they happen."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from lessor.core.ready import news
from lessor.errors import Conflict, LessorError
from lessor.model import PortReport, Report

GATHER_S = 0.02  # news that come together go together


class Sink(Protocol):
    """Who is told: the server."""

    async def report(self, report: Report) -> None:
        """Take a report, or raise a LessorError."""


@dataclass(slots=True)
class Status:
    """All that there is to say at the moment."""

    epoch: str = ""
    in_sync: bool = False
    ports: Mapping[str, PortReport] = field(default_factory=dict)
    applied: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] | None = ()  # None: not said yet
    counts: Mapping[str, int] = field(default_factory=dict)


class Reporter:
    """Sends what is new. What wasn't taken is sent again; a new store is told everything."""

    def __init__(
        self,
        sink: Sink,
        identity: Report,
        interval_s: float,
        *,
        events_sent: Callable[[], bool],
        told: Callable[[set[str]], None],
    ) -> None:
        """Prepare.

        Args:
            sink: the server.
            identity: a report with what never changes in a run.
            interval_s: seconds between heartbeats when there is nothing new.
            events_sent: whether all lease events of the time before have been sent.
            told: called with the networks whose `applied` the server has taken.
        """
        self._sink = sink
        self._identity = identity
        self._interval_s = interval_s
        self._events_sent = events_sent
        self._told = told
        self._status = Status()
        self._said = Status(problems=None)
        self._forgotten: set[str] = set()
        self._wake = asyncio.Event()
        self._log = structlog.get_logger()

    def say(self, status: Status) -> None:
        """Set what there is to say, and send what is new of it soon."""
        self._status = status
        self._wake.set()

    def forget(self, ports: Iterable[str]) -> None:
        """Say of these ports again how they are: the server has forgotten what it was told."""
        self._forgotten.update(ports)
        self._wake.set()

    def nudge(self) -> None:
        """Look again whether something can be said now."""
        self._wake.set()

    async def introduce(self, previous: tuple[str, ...]) -> None:
        """Introduce this run to the server, as the successor of one of these.

        Raises:
            Conflict: another live agent has this host's name.
            Unavailable: the server is away.
        """
        *others, last = previous
        for run_id in others:
            try:
                return await self._sink.report(replace(self._identity, previous_run_id=run_id))
            except Conflict:
                continue
        return await self._sink.report(replace(self._identity, previous_run_id=last))

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
        if status.epoch != self._said.epoch:
            self._said = Status(epoch=status.epoch, problems=None)
        forgotten, self._forgotten = self._forgotten, set()
        said = {k: v for k, v in self._said.ports.items() if k not in forgotten}
        ports = news(said if forgotten else self._said.ports, status.ports)
        applied = {
            key: revision
            for key, revision in status.applied.items()
            if self._said.applied.get(key) != revision and self._events_sent()
        }
        report = replace(
            self._identity,
            in_sync=status.in_sync,
            ports=ports,
            applied=applied,
            problems=None if self._said.problems == status.problems else status.problems,
            counts=dict(status.counts),
        )
        try:
            await self._sink.report(report)
        except LessorError:
            self._forgotten |= forgotten
            raise
        kept = {key: at for key, at in self._said.applied.items() if key in status.applied}
        self._said = replace(status, applied=kept | applied)
        if applied:
            self._told(set(applied))
