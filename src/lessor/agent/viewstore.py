"""Keeps the last view on disk, so that an agent without its server goes on serving.

`view.json` is a whole view; `view.log` has, a line each, the answers merged since. An answer is on
disk before it is acted upon. Merging is idempotent, so a crash between writing the whole and
emptying the log changes nothing; a torn last line is an answer that was never acted upon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lessor.agent.atomic import write_durably
from lessor.core.view import merge
from lessor.errors import Invalid
from lessor.model import View, ViewAnswer
from lessor.wire import decode, encode

LEAST_LOG_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What an agent remembers: its view, and the networks it left but hasn't yet reported so.

    `owed` has the revision at which each was left, by network id.
    """

    view: View
    owed: dict[str, int] = field(default_factory=dict)

    def after(self, answer: ViewAnswer) -> Kept:
        """Return what is to be remembered after an answer."""
        view = merge(self.view, answer)
        owed = self.owed if answer.epoch == self.view.epoch else {}
        owed = {key: at for key, at in owed.items() if key not in answer.scopes}
        return Kept(view=view, owed=owed | dict.fromkeys(answer.left, answer.revision))


class ViewStore:
    """The view of one agent, in one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._whole = folder / "view.json"
        self._log = folder / "view.log"

    def load(self) -> Kept | None:
        """Return what was kept last, or None if there never was a view.

        Raises:
            Invalid: the file is damaged; it says which.
        """
        if not self._whole.exists():
            return None
        try:
            kept = decode(self._whole.read_bytes(), Kept)
        except Invalid as error:
            raise Invalid(f"{self._whole} is damaged ({error}); remove it to start anew") from error
        for answer in self._answers():
            kept = kept.after(answer)
        return kept

    def append(self, answer: ViewAnswer, kept: Kept) -> None:
        """Keep an answer; `kept` is what it came to."""
        line = encode(answer) + b"\n"
        with self._log.open("ab") as log:
            log.write(line)
            size = log.tell()
        least = self._whole.stat().st_size if self._whole.exists() else 0
        if not least or size > max(LEAST_LOG_BYTES, least):
            self.save(kept)

    def save(self, kept: Kept) -> None:
        """Write the whole and empty the log."""
        write_durably(self._whole, encode(kept))
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
