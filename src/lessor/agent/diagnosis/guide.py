"""Answers the server's requests for tours of a network in the background."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from lessor.agent.diagnosis.tour import ReadStatus, tour
from lessor.agent.host.run import run
from lessor.core.plan.desired import Desired
from lessor.errors import LessorError
from lessor.model import Piece, View
from lessor.settings import AgentSettings

WAIT_S = 0.1
Known = tuple[View, Desired]


class Asker(Protocol):
    """Who asked: the server."""

    async def tour(self, tour_id: str, pieces: Sequence[Piece]) -> None:
        """Take an answer, or raise a LessorError."""


class Guide:
    """Takes questions in the event loop, and answers one after the other.

    Args:
        asker: who asks.
        settings: of the agent.
        dhcp: reads the status of a DHCP server.
        known: returns what the agent knows and wants; None: nothing yet.
    """

    def __init__(
        self,
        asker: Asker,
        settings: AgentSettings,
        dhcp: ReadStatus,
        known: Callable[[], Known | None],
    ) -> None:
        self._asker = asker
        self._settings = settings
        self._dhcp = dhcp
        self._known = known
        self._questions: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._log = structlog.get_logger()

    def ask(self, tour_id: str, network_id: str) -> None:
        """Take a question."""
        self._questions.put_nowait((tour_id, network_id))

    async def _first_known(self) -> Known:
        """Return what is known; a starting agent has to look at its host first."""
        while (known := self._known()) is None:  # noqa: ASYNC110 - for the first second of a run
            await asyncio.sleep(WAIT_S)
        return known

    async def run(self) -> None:
        """Answer until cancelled. Walks are taken in a thread: programs are waited for there."""
        while True:
            tour_id, network_id = await self._questions.get()
            known = await self._first_known()
            try:
                pieces = await asyncio.to_thread(
                    tour, network_id, *known, self._settings, run=run, dhcp=self._dhcp
                )
                await self._asker.tour(tour_id, pieces)
            except (LessorError, OSError, ValueError) as error:
                self._log.warning("tour not answered", network=network_id, error=str(error))
