"""Stores the last view on disk, so that an agent without its server goes on serving.

`view.json` is a whole view; `view.log` has, a line each, the answers merged since. An answer is on
disk before it is acted upon. Merging is idempotent, so a crash between writing the whole and
emptying the log changes nothing; a torn last line is an answer that was never acted upon.

Where the disk refuses, the agent goes on with what it has in memory. Nothing is added to a log
that may have a torn line then: the whole is written when there is room.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lessor.agent.host import unwritten
from lessor.agent.host.atomic import atomic_write
from lessor.core.plan.view import merge
from lessor.errors import Invalid
from lessor.model import View, ViewAnswer
from lessor.wire import decode, encode

MIN_LOG_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredView:
    """A view, and the revision of the last answer in it."""

    view: View
    revision: int = 0

    def after(self, answer: ViewAnswer) -> StoredView:
        """Return the view after an answer."""
        return StoredView(view=merge(self.view, answer), revision=answer.revision)


class ViewStore:
    """The view of one agent, in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._whole = folder / "view.json"
        self._log = folder / "view.log"

    def load(self) -> StoredView | None:
        """Return the stored view; None: there never was one.

        Raises:
            Invalid: the file is damaged; it says which.
        """
        if not self._whole.exists():
            return None
        try:
            stored = decode(self._whole.read_bytes(), StoredView)
        except Invalid as error:
            raise Invalid(
                f"{self._whole} is damaged ({error}); remove it to start without a view"
            ) from error
        for answer in self._answers():
            stored = stored.after(answer)
        return stored

    def append(self, answer: ViewAnswer, stored: StoredView) -> None:
        """Store an answer; `stored` is the view after it."""
        least = self._whole.stat().st_size if self._whole.exists() else 0
        if not least or unwritten.waits(self._whole) or not self._add(answer, least):
            self.save(stored)

    def _add(self, answer: ViewAnswer, least: int) -> bool:
        """Add a line to the log; False: it has outgrown the whole, or it can't be written."""
        before = self._log.stat().st_size if self._log.exists() else 0
        try:
            with self._log.open("ab", buffering=0) as log:
                line = encode(answer) + b"\n"
                whole = log.write(line) == len(line)
        except OSError:
            whole = False
        if not whole:
            with suppress(OSError):
                os.truncate(self._log, before)
        return whole and before + len(line) <= max(MIN_LOG_BYTES, least)

    def save(self, stored: StoredView) -> None:
        """Write the whole and empty the log, now or when there is room."""
        unwritten.attempt(self._whole, lambda: self._write(stored))

    def _write(self, stored: StoredView) -> None:
        atomic_write(self._whole, encode(stored), durable=True)
        self._log.unlink(missing_ok=True)

    def _answers(self) -> list[ViewAnswer]:
        if not self._log.exists():
            return []
        answers = []
        for line in self._log.read_bytes().splitlines():
            try:
                answers.append(decode(line, ViewAnswer))
            except Invalid:
                break
        return answers
