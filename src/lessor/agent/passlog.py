"""Logs what passes did: each change once, a lasting failure at growing intervals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from structlog.typing import FilteringBoundLogger

from lessor.agent.outcome import Outcome, Problem, few

FIRST_REPEAT = 4  # tries after which a failure is logged again; then after 8, 16 ...


@dataclass(frozen=True, slots=True)
class _Standing:
    """A problem that was logged: its text without figures, and how often it was met in a row."""

    text: str
    tries: int = 1


class PassLog:
    """Remembers which problems were logged."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._standing: dict[tuple[str, str], _Standing] = {}
        self._unwritten: list[str] = []

    def tell(self, outcome: Outcome, took_s: float) -> None:
        """Log what a pass changed, what drift it repaired, and what failed.

        Args:
            outcome: of the pass.
            took_s: how long it took, in seconds.
        """
        for kind, done in outcome.done.items():
            self._log.info(
                "applied",
                kind=kind,
                created=len(done.created),
                replaced=len(done.replaced),
                deleted=len(done.deleted),
                names=few(done.names),
                took_ms=round(took_s * 1000),
            )
        for kind, names in outcome.put_back.items():
            why = "; ".join(few(outcome.faults(kind, names))) or "somebody else changed it"
            self._log.warning("put back", kind=kind, names=few(names), why=why)
        problems = {(problem.kind, problem.key): problem for problem in outcome.problems}
        self._standing = {key: self._problem(key, problem) for key, problem in problems.items()}

    def tell_unwritten(self, problems: Sequence[str]) -> None:
        """Log which state is not on disk, when that changes."""
        if list(problems) == self._unwritten:
            return
        for problem in problems:
            self._log.warning("state not written", error=problem)
        if not problems:
            self._log.info("state written again")
        self._unwritten = list(problems)

    def _problem(self, key: tuple[str, str], problem: Problem) -> _Standing:
        text = re.sub(r"\d+", "#", f"{problem.pending} {problem.message}")
        known = self._standing.get(key)
        if known is None or known.text != text:
            self._say("pending" if problem.pending else "apply failed", problem)
            return _Standing(text)
        tries = known.tries + 1
        if not problem.pending and tries >= FIRST_REPEAT and not tries & (tries - 1):
            self._say("still failing", problem, tries=tries)
        return replace(known, tries=tries)

    def _say(self, words: str, problem: Problem, **more: int) -> None:
        say = self._log.info if problem.pending else self._log.warning
        say(words, kind=problem.kind, name=problem.key, error=problem.message, **more)
