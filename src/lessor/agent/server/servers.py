"""Which of several servers an agent uses: one, until it fails, and then the next.

All of them are servers of one store, so a change of server changes nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence

import structlog

from lessor.signal import Signal


class Servers:
    """The servers of a store, in the order in which they are tried. Threads may share it.

    Attributes:
        changed: the agent speaks to another one; emitted in the thread that found out.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = tuple(dict.fromkeys(url.rstrip("/") for url in urls))
        self._at = self._urls[0]
        self._lock = threading.Lock()
        self._answered = False
        self._log = structlog.get_logger()
        self.changed: Signal[[]] = Signal()

    @property
    def several(self) -> bool:
        """Whether there is a choice."""
        return len(self._urls) > 1

    @property
    def current(self) -> str:
        """The one that is asked first."""
        return self._at

    def order(self) -> tuple[str, ...]:
        """Return all, from the current one on."""
        at = self._urls.index(self._at)
        return self._urls[at:] + self._urls[:at]

    def answered(self, url: str, failed: Collection[str], why: str = "") -> None:
        """Stay with a server that answered where others, asked before it, did not.

        A late answer of a former server changes nothing: the current one did not fail.

        Args:
            url: who answered.
            failed: who had not.
            why: the errors of those.
        """
        with self._lock:
            former, first = self._at, not self._answered
            self._answered = True
            if former in failed:
                self._at = url
        if former in failed:
            self._log.warning("server changed", former=former, server=url, error=why)
            self.changed.emit()
        elif first and self.several:
            self._log.info("server answers", server=url)
