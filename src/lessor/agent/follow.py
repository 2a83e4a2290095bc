"""Follows the server: long polls for the view, and keeps the last one.

Server away: the last view stands, whatever happens. Another store (a restored or a new database)
that would take away more than half of the ports served here is not believed before an operator
says so (`lessor agent accept`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import structlog

from lessor.agent.viewstore import Kept, ViewStore
from lessor.core.view import request, share_lost
from lessor.errors import LessorError
from lessor.model import View, ViewAnswer, ViewRequest

WAIT_S = 30.0
LONGEST_RETRY_S = 15.0
LOOK_S = 0.5  # between looks for an operator's word
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
        problem: why the view may be old, in words; "" if it is not.
        changed: called when one of them changed.
        renewed: called with the ports of a network that came whole although we had it: who owns it
            changed, maybe there and back, and the server has forgotten what it was told of them.
        asked: called with a tour's id and its network's, once for each.
    """

    def __init__(self, source: Source, store: ViewStore) -> None:
        self._source = source
        self._store = store
        self.changed: Callable[[], None] = _nobody
        self.asked: Callable[[str, str], None] = lambda _tour, _network: None
        self.renewed: Callable[[Iterable[str]], None] = lambda _ports: None
        self._tours: tuple[str, ...] = ()
        self._log = structlog.get_logger()
        self._offered, self._accepted = _words(store.folder)
        self.kept: Kept | None = store.load()
        self.problem = "" if self.kept else "the server has not answered yet"
        self.in_sync = False
        if self.kept:
            store.save(self.kept)

    async def run(self) -> None:
        """Poll until cancelled."""
        failures = 0
        while True:
            try:
                answer = await self._source.view(request(self._view, self._wait_s, self._tours))
            except LessorError as error:
                failures += 1
                await self._away(str(error), failures)
                continue
            failures = 0
            self._pass_on(answer.tours)
            if self._believed(answer):
                self._take(answer)
            else:
                await self._word(answer.epoch)

    def _pass_on(self, tours: Mapping[str, str]) -> None:
        """Hand new tours over; the server names each until it is told that we have it."""
        for tour_id, network_id in tours.items():
            self._tours = (*self._tours, tour_id)[-MOST_TOURS:]
            self.asked(tour_id, network_id)

    @property
    def _view(self) -> View:
        return self.kept.view if self.kept else View()

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
        self.changed()
        await asyncio.sleep(retry_s)

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
        self._offered.write_text(answer.epoch)
        self.changed()
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
            self._store.append(answer, self.kept)
            self._offered.unlink(missing_ok=True)
            self._renew(before, answer)
            self.changed()
        elif fresh:
            self.changed()

    def _renew(self, before: Kept | None, answer: ViewAnswer) -> None:
        known = before.view.scopes if before else {}
        whole = [change for key, change in answer.scopes.items() if change.whole and key in known]
        if whole:
            self.renewed([port.id for change in whole for port in change.ports])

    def settle(self, networks: set[str]) -> None:
        """Forget that these networks were left: the server knows that they are done here."""
        if self.kept and networks & self.kept.owed.keys():
            owed = {key: at for key, at in self.kept.owed.items() if key not in networks}
            self.kept = Kept(view=self.kept.view, owed=owed)
            self._store.save(self.kept)


def _nobody() -> None:
    """Stands for whoever wants to know, as long as nobody does."""


def accept(folder: Path) -> str | None:
    """Believe the store that was last offered; return its epoch, None if none was."""
    offered, accepted = _words(folder)
    epoch = _read(offered)
    if epoch:
        accepted.write_text(epoch)
    return epoch or None


def _words(folder: Path) -> tuple[Path, Path]:
    """Return the files with the epoch that was offered, and with the one that was accepted."""
    return folder / "offered-epoch", folder / "accepted-epoch"


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
