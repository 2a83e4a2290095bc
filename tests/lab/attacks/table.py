"""Outcomes as a table for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tests.lab.attacks.attack import Outcome

TITLES = ("ATTACK", "FINDING", "TRIED", "PASSED", "CONTROLS", "VERDICT")


def table(title: str, outcomes: Sequence[Outcome]) -> str:
    """Lay outcomes out, under the promises that they are against."""
    rows = [(one.attack.promise, _cells(one), one.tally.detail) for one in outcomes]
    cells = [TITLES, *(row for _, row, _ in rows)]
    widths = [max(len(row[n]) for row in cells) for n in range(len(TITLES))]
    lines, last = [f"## {title}", "", _line(TITLES, widths)], ""
    for promise, row, detail in rows:
        if promise != last:
            lines.append(f"{promise}:")
            last = promise
        lines.append(_line(row, widths) + (f"  {detail}" if detail else ""))
    bad = sum(not one.good for one in outcomes)
    lines += ["", f"{len(outcomes)} attacks, {bad} not shown to be held off", ""]
    return "\n".join(lines)


def as_json(runs: Mapping[str, Sequence[Outcome]]) -> str:
    rows = [
        {
            "run": title, "attack": one.attack.name, "finding": one.attack.finding,
            "promise": one.attack.promise, "verdict": one.verdict.value,
            "tried": one.tally.tried, "passed": one.tally.passed, "allowed": one.tally.allowed,
            "controls": one.tally.controls, "controls_passed": one.tally.controls_passed,
            "detail": one.tally.detail, "took_s": round(one.took_s, 2),
        }
        for title, outcomes in runs.items()
        for one in outcomes
    ]  # fmt: skip
    return json.dumps(rows, indent=1)


def _cells(one: Outcome) -> tuple[str, ...]:
    tally = one.tally
    passed = f"{tally.passed} (of {tally.allowed})" if tally.allowed else str(tally.passed)
    controls = f"{tally.controls_passed}/{tally.controls}"
    return (
        f"  {one.attack.name}", one.attack.finding or "-", str(tally.tried), passed, controls,
        one.verdict.value,
    )  # fmt: skip


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, rest = row[0].ljust(widths[0]), row[1:-1]
    middle = "  ".join(text.rjust(width) for text, width in zip(rest, widths[1:-1], strict=True))
    return f"{first}  {middle}  {row[-1].ljust(widths[-1])}".rstrip()
