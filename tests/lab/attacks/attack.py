"""An attack as a value, what came of it, and whether the promise that it is against held."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one attempt: frames, connections or requests."""

    tried: int
    passed: int  # of these, what came where it should not
    controls: int  # what is like them and allowed: shows that silence is no deaf listener
    controls_passed: int
    allowed: int = 0  # so many may pass, where the promise is a limit
    detail: str = ""  # of what passed


class Verdict(StrEnum):
    HELD = "held"
    NOT_HELD = "NOT HELD"
    UNPROVEN = "UNPROVEN"  # a control did not pass, or nothing was tried
    FAILED = "FAILED"  # the attempt itself


@dataclass(frozen=True, slots=True)
class Attack(Generic[S]):
    name: str
    finding: str  # number in the security review; "" if the attempt failed there already
    promise: str  # of docs/reference/security.md
    attempt: Callable[[S], Tally]
    slow: bool = False  # takes seconds: left out of the short part


@dataclass(frozen=True, slots=True)
class Outcome:
    attack: Attack[Any]
    tally: Tally
    verdict: Verdict
    took_s: float

    @property
    def good(self) -> bool:
        return self.verdict is Verdict.HELD


def judge(tally: Tally) -> Verdict:
    if tally.passed > tally.allowed:
        return Verdict.NOT_HELD
    if not tally.tried or not tally.controls or tally.controls_passed < tally.controls:
        return Verdict.UNPROVEN
    return Verdict.HELD


def run(attacks: Iterable[Attack[S]], scene: S) -> Iterator[Outcome]:
    """Try one after the other; what fails by itself does not end the others."""
    for attack in attacks:
        began = time.monotonic()
        try:
            tally = attack.attempt(scene)
            verdict = judge(tally)
        except Exception as error:  # noqa: BLE001 - it is in the table, and no promise held
            tally, verdict = Tally(0, 0, 0, 0, detail=f"{error!r}"[:300]), Verdict.FAILED
        yield Outcome(attack, tally, verdict, time.monotonic() - began)
