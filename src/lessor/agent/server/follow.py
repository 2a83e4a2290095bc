"""Follows the server: long polls for the view, and keeps the last one.

Server away: the last view stands, whatever happens. Another store (a restored or a new database)
that would take away more than half of the ports served here is not believed before an operator
says so (`lessor agent accept`).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import structlog

from lessor.agent import unwritten
from lessor.agent.host.atomic import atomic_write
from lessor.agent.owner import Guard
from lessor.agent.server.viewstore import Kept, ViewStore
from lessor.agent.signal import Signal
from lessor.core.plan.view import request, share_lost
from lessor.errors import Conflict, LessorError
from lessor.model import View, ViewAnswer, ViewRequest

WAIT_S = 30.0
LONGEST_RETRY_S = 15.0
LOOK_S = 0.5  # between looks for an operator's word
# The next request waits so long for the pass that an answer led to, which is made in another thread:
# Python runs one of them at a time, and VMs wait for the pass.
HEAD_START_S = 0.005
MOST_LOST = 0.5
MOST_TOURS = 100  # that are remembered: they live for seconds


class Source(Protocol):
    """Who answers: the server."""

    async def view(self, request: ViewRequest) -> ViewAnswer:
        """Return what is newer than the request's cursors, after `wait_s` at the latest."""


class Follower:
    """The present view of one agent.

    Attributes:
        kept: the view, or None as long as there never was one.
        problem: why the view may be old; "" if it is not.
        changed: one of them changed.
        renewed: a network came whole although we had it: its owner changed, maybe there and back,
            and the server has forgotten the reports of these ports.
        asked: the server wants to know the status of a network: the ids of the question and of the
            network, once a question.
    """

    def __init__(
        self,
        source: Source,
        store: ViewStore,
        guard: Guard | None = None,
        *,
        meet: Callable[[str, View], Awaitable[None]],
    ) -> None:
        """Load what was kept.

        Args:
            source: the server.
            store: of the view.
            guard: tells what the host serves already; None: nothing of another store.
            meet: is awaited with a new epoch and the view so far, before any of its views is taken:
                the server has to know first what is in use here.
        """
        self._source = source
        self._guard = guard
        self._store = store
        self._meet = meet
        self.changed: Signal[[]] = Signal()
        self.asked: Signal[[str, str]] = Signal()
        self.renewed: Signal[[Iterable[str]]] = Signal()
        self._met = ""  # the epoch that was
        self._passed = asyncio.Event()
        self._passed.set()
        self._tours: tuple[str, ...] = ()
        self._log = structlog.get_logger()
        self._offered, self._accepted = _words(store.folder)
        self.kept: Kept | None = self._own(store.load())
        self.answered_at = 0.0  # when the last answer came, in seconds since 1970
        self.problem = "" if self.kept else "the server has not answered yet"
        self.in_sync = False
        if self.kept:
            store.save(self.kept)

    def passed(self) -> None:
        """Take that the host was looked at, and brought to the view as far as it goes."""
        self._passed.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        failures = 0
        while True:
            try:
                answer = await self._source.view(request(self._view, self._wait_s, self._tours))
                if await self._meets(answer.epoch):
                    continue  # the next answer is newer than what the server was told
            except (LessorError, OSError) as error:
                failures += 1
                await self._away(str(error), failures)
                continue
            failures = 0
            self.answered_at = time.time()
            self._pass_on(answer.tours)
            self._check_owner(answer)
            if self._believed(answer):
                self._take(answer)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._passed.wait(), HEAD_START_S)
            else:
                await self._word(answer.epoch)
                self._met = ""  # what is in use here stays so: the server must not forget it

    async def _meets(self, epoch: str) -> bool:
        """Tell a server with a new epoch, once, what is in use here; return whether that was now."""
        if epoch in {self._view.epoch, self._met}:
            return False
        await self._meet(epoch, self._view)
        self._met = epoch
        return True

    def _own(self, kept: Kept | None) -> Kept | None:
        """Return a view that the host is to be served by; None: it serves another store since."""
        return kept if not kept or not self._guard or self._guard.knows(kept) else None

    def _pass_on(self, tours: Mapping[str, str]) -> None:
        """Hand new tours over; the server names each until it is told that we have it."""
        for tour_id, network_id in tours.items():
            self._tours = (*self._tours, tour_id)[-MOST_TOURS:]
            self.asked.emit(tour_id, network_id)

    @property
    def view(self) -> View | None:
        """The view; None as long as there never was one."""
        return self.kept.view if self.kept else None

    @property
    def _view(self) -> View:
        return self.view or View()

    @property
    def _wait_s(self) -> float:
        """The first answer of a run comes at once: it says that we are in sync."""
        return WAIT_S if self.in_sync else 0.0

    async def _away(self, problem: str, failures: int) -> None:
        retry_s = min(LONGEST_RETRY_S, 0.5 * 2 ** min(failures, 6)) * random.uniform(0.5, 1)  # noqa: S311 - spreads retries, guards nothing
        if self.in_sync or failures == 1:
            self._log.warning("server away", error=problem, retry_s=round(retry_s, 1))
        self.in_sync = False
        self.problem = problem
        self.changed.emit()
        await asyncio.sleep(retry_s)

    def _check_owner(self, answer: ViewAnswer) -> None:
        """End this agent before it touches what another store's agent made.

        Raises:
            Conflict: the host serves another store, and no operator has said otherwise.
        """
        if not self._guard or self.kept or _read(self._accepted) == answer.epoch:
            return
        try:
            self._guard.check(answer)
        except Conflict:
            unwritten.attempt(self._offered, lambda: _write(self._offered, answer.epoch))
            raise

    def _believed(self, answer: ViewAnswer) -> bool:
        if not self.kept or answer.epoch == self.kept.view.epoch:
            return True
        lost = share_lost(self.kept.view, self.kept.after(answer).view)
        if lost <= MOST_LOST or _read(self._accepted) == answer.epoch:
            return True
        self.problem = (
            f"the server has another store ({answer.epoch}) without {lost:.0%} of the ports served "
            "here; nothing is changed until an operator runs 'lessor agent accept' on this host"
        )
        self._log.error("another store", epoch=answer.epoch, lost=round(lost, 2))
        unwritten.attempt(self._offered, lambda: _write(self._offered, answer.epoch))
        self.changed.emit()
        return False

    async def _word(self, epoch: str) -> None:
        """Wait for an operator to accept a store; not for ever, since it may be replaced too."""
        for _ in range(round(LONGEST_RETRY_S / LOOK_S)):
            if _read(self._accepted) == epoch:
                return
            await asyncio.sleep(LOOK_S)

    def _take(self, answer: ViewAnswer) -> None:
        fresh = not self.in_sync
        before = self.kept
        self.kept = (before or Kept(view=View())).after(answer)
        self.problem = ""
        self.in_sync = True
        if before is None or answer.scopes or answer.left or answer.epoch != before.view.epoch:
            if self._guard and self.kept.view.scopes:
                self._guard.keep(answer.epoch)  # before the view is on disk: see `Guard.knows`
            self._store.append(answer, self.kept)
            with suppress(OSError):
                self._offered.unlink(missing_ok=True)
            self._renew(before, answer)
            self._passed.clear()
            self.changed.emit()
        elif fresh:
            self.kept = replace(before, revision=answer.revision)
            self.changed.emit()

    def _renew(self, before: Kept | None, answer: ViewAnswer) -> None:
        known = before.view.scopes if before else {}
        whole = [change for key, change in answer.scopes.items() if change.whole and key in known]
        if whole:
            self.renewed.emit([port.id for change in whole for port in change.ports])


def accept(folder: Path) -> str | None:
    """Believe the store that was last offered; return its epoch, None if none was."""
    offered, accepted = _words(folder)
    epoch = _read(offered)
    if epoch:
        _write(accepted, epoch)
    return epoch or None


def _words(folder: Path) -> tuple[Path, Path]:
    """Return the files with the epoch that was offered, and with the one that was accepted."""
    return folder / "offered-epoch", folder / "accepted-epoch"


def _write(path: Path, epoch: str) -> None:
    atomic_write(path, epoch.encode(), durable=False)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
