"""Follows the server: long polls for the view, and stores the last one.

While the server is unreachable, the last view holds. Another store (a restored or a new database)
that lacks more than half of the ports served here is refused until an operator accepts it (`lessor
agent accept`).
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

from lessor.agent.host import unwritten
from lessor.agent.host.atomic import atomic_write
from lessor.agent.server.owner import Guard
from lessor.agent.server.viewstore import StoredView, ViewStore
from lessor.core.plan.view import request, share_lost
from lessor.errors import Conflict, LessorError
from lessor.model import View, ViewAnswer, ViewRequest
from lessor.signal import Signal

WAIT_S = 30.0
MAX_RETRY_S = 15.0
LOOK_S = 0.5  # between looks whether an operator has accepted
# The next request waits so long for the pass after an answer, which runs in another thread: Python
# runs one thread at a time, and VMs wait for the pass.
HEAD_START_S = 0.005
MAX_LOST = 0.5  # share of the ports served here
MAX_TOURS = 100  # that are remembered: they live for seconds


class Source(Protocol):
    """The server."""

    async def view(self, request: ViewRequest) -> ViewAnswer:
        """Return what is newer than the request's cursors, after `wait_s` at the latest."""


class Follower:
    """The present view of one agent.

    Attributes:
        stored: the view, or None as long as there never was one.
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
        """Load what was stored.

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
        self._offered, self._accepted = _files(store.folder)
        self.stored: StoredView | None = self._own(store.load())
        self.answered_at = 0.0  # when the last answer came, in seconds since 1970
        self.problem = "" if self.stored else "the server has not answered yet"
        self.in_sync = False
        if self.stored:
            store.save(self.stored)

    def passed(self) -> None:
        """Note that a pass for the present view is over."""
        self._passed.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        failures = 0
        while True:
            try:
                answer = await self._source.view(request(self._view, self._wait_s, self._tours))
                if await self._meets(answer.epoch):
                    continue  # the next answer is newer than that report
            except (LessorError, OSError) as error:
                failures += 1
                await self._away(str(error), failures)
                continue
            failures = 0
            self.answered_at = time.time()
            self._pass_on(answer.tours)
            self._check_owner(answer)
            if self._is_acceptable(answer):
                self._take(answer)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._passed.wait(), HEAD_START_S)
            else:
                await self._acceptance(answer.epoch)
                self._met = ""  # what is in use here stays so: the server must not forget it

    async def _meets(self, epoch: str) -> bool:
        """Report what is in use here to a server with a new epoch, once; return whether now."""
        if epoch in {self._view.epoch, self._met}:
            return False
        await self._meet(epoch, self._view)
        self._met = epoch
        return True

    def _own(self, stored: StoredView | None) -> StoredView | None:
        """Return the stored view; None: the host serves another store since."""
        return stored if not stored or not self._guard or self._guard.knows(stored) else None

    def _pass_on(self, tours: Mapping[str, str]) -> None:
        """Emit new questions; the server repeats each until a request names it."""
        for tour_id, network_id in tours.items():
            self._tours = (*self._tours, tour_id)[-MAX_TOURS:]
            self.asked.emit(tour_id, network_id)

    @property
    def view(self) -> View | None:
        """The view; None as long as there never was one."""
        return self.stored.view if self.stored else None

    @property
    def _view(self) -> View:
        return self.view or View()

    @property
    def _wait_s(self) -> float:
        """Seconds to wait for news; 0 for the first answer of a run: it says we are in sync."""
        return WAIT_S if self.in_sync else 0.0

    async def _away(self, problem: str, failures: int) -> None:
        retry_s = min(MAX_RETRY_S, 0.5 * 2 ** min(failures, 6))
        retry_s *= random.uniform(0.5, 1)  # noqa: S311 - spreads retries, no secret
        if self.in_sync or failures == 1:
            self._log.warning("server away", error=problem, retry_s=round(retry_s, 1))
        self.in_sync = False
        self.problem = problem
        self.changed.emit()
        await asyncio.sleep(retry_s)

    def _check_owner(self, answer: ViewAnswer) -> None:
        """End this agent before it touches what another store's agent made.

        Raises:
            Conflict: the host serves another store, and no operator has accepted this one.
        """
        if not self._guard or self.stored or _read(self._accepted) == answer.epoch:
            return
        try:
            self._guard.check(answer)
        except Conflict:
            unwritten.attempt(self._offered, lambda: _write(self._offered, answer.epoch))
            raise

    def _is_acceptable(self, answer: ViewAnswer) -> bool:
        if not self.stored or answer.epoch == self.stored.view.epoch:
            return True
        lost = share_lost(self.stored.view, self.stored.after(answer).view)
        if lost <= MAX_LOST or _read(self._accepted) == answer.epoch:
            return True
        self.problem = (
            f"the server has another store ({answer.epoch}) without {lost:.0%} of the ports served "
            "here; nothing is changed until an operator runs 'lessor agent accept' on this host"
        )
        self._log.error("another store", epoch=answer.epoch, lost=round(lost, 2))
        unwritten.attempt(self._offered, lambda: _write(self._offered, answer.epoch))
        self.changed.emit()
        return False

    async def _acceptance(self, epoch: str) -> None:
        """Wait for an operator to accept a store; not for ever: the store may change again."""
        for _ in range(round(MAX_RETRY_S / LOOK_S)):
            if _read(self._accepted) == epoch:
                return
            await asyncio.sleep(LOOK_S)

    def _take(self, answer: ViewAnswer) -> None:
        fresh = not self.in_sync
        before = self.stored
        self.stored = (before or StoredView(view=View())).after(answer)
        self.problem = ""
        self.in_sync = True
        if before is None or answer.scopes or answer.left or answer.epoch != before.view.epoch:
            if self._guard and self.stored.view.scopes:
                self._guard.keep(answer.epoch)  # before the view is on disk: see `Guard.knows`
            self._store.append(answer, self.stored)
            with suppress(OSError):
                self._offered.unlink(missing_ok=True)
            self._renew(before, answer)
            self._passed.clear()
            self.changed.emit()
        elif fresh:
            self.stored = replace(before, revision=answer.revision)
            self.changed.emit()

    def _renew(self, before: StoredView | None, answer: ViewAnswer) -> None:
        known = before.view.scopes if before else {}
        whole = [change for key, change in answer.scopes.items() if change.whole and key in known]
        if whole:
            self.renewed.emit([port.id for change in whole for port in change.ports])


def accept(folder: Path) -> str | None:
    """Accept the store that was last offered; return its epoch, None if none was."""
    offered, accepted = _files(folder)
    epoch = _read(offered)
    if epoch:
        _write(accepted, epoch)
    return epoch or None


def _files(folder: Path) -> tuple[Path, Path]:
    """Return the files with the epoch that was offered, and with the one that was accepted."""
    return folder / "offered-epoch", folder / "accepted-epoch"


def _write(path: Path, epoch: str) -> None:
    atomic_write(path, epoch.encode(), durable=False)


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
