"""The report of a campaign: tables in Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tests.campaign.gaps import length, unexplained
from tests.campaign.history import (
    ACKED,
    DONE,
    DORA,
    NAKED,
    REBIND,
    REFUSED,
    RELEASE,
    RENEW,
    SILENT,
    UNKNOWN,
    History,
    Result,
)

SHOWN = 10  # violations of one invariant


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lay out a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def report(
    title: str, history: History, results: Sequence[Result], facts: Mapping[str, object]
) -> str:
    """Return the whole report."""
    parts = [
        f"# {title}",
        table(("", ""), facts.items()),
        "## Faults",
        _faults(history),
        "Each:",
        table(("from", "to", "fault", "target"), _timeline(history)),
        "## DHCP",
        _dhcp(history),
        "## API calls",
        _calls(history),
        "## Invariants",
        table(
            ("invariant", "checked", "violations"),
            ((r.invariant, r.checked, len(r.violations)) for r in results),
        ),
        *_violations(results),
    ]
    return "\n\n".join(parts) + "\n"


def _faults(history: History) -> str:
    counts = Counter(one.kind for one in history.faults)
    lasted = Counter[str]()
    for one in history.faults:
        lasted[one.kind] += round(one.ended - one.began)
    rows = [(kind, count, lasted[kind]) for kind, count in sorted(counts.items())]
    return table(("fault", "times", "seconds"), [*rows, ("all", counts.total(), lasted.total())])


def _timeline(history: History) -> list[Sequence[object]]:
    runs = sorted(history.faults, key=lambda one: one.began)
    return [(f"{one.began:.1f}", f"{one.ended:.1f}", one.kind, one.target) for one in runs]


def _dhcp(history: History) -> str:
    counts = Counter((one.what, one.outcome) for one in history.exchanges)
    rows: list[Sequence[object]] = [
        (what, *(counts[what, outcome] for outcome in (ACKED, SILENT, NAKED)))
        for what in (DORA, RENEW, REBIND)
    ]
    rows.append((RELEASE, sum(n for (what, _), n in counts.items() if what == RELEASE), 0, 0))
    longest = unexplained(history.spans, history.exchanges, history.faults)
    vm, gap = max(longest.items(), key=lambda pair: length(pair[1]), default=("", (0.0, 0.0)))
    words = f"Longest gap of a VM that no fault explains: {length(gap):.1f} s{f' ({vm})' if vm else ''}."
    return table(("asked", "answered", "unanswered", "NAK"), rows) + "\n\n" + words


def _calls(history: History) -> str:
    counts = Counter((one.what, one.outcome) for one in history.calls)
    outcomes = (DONE, REFUSED, UNKNOWN)
    whats = sorted({what for what, _ in counts})
    rows: list[Sequence[object]] = [
        (what, *(counts[what, one] for one in outcomes)) for what in whats
    ]
    rows.append(("all", *(sum(counts[what, one] for what in whats) for one in outcomes)))
    return table(("call", *outcomes), rows)


def _violations(results: Sequence[Result]) -> list[str]:
    broken = [one for one in results if one.violations]
    if not broken:
        return []
    lines = [f"* {one.invariant}: {text}" for one in broken for text in one.violations[:SHOWN]]
    return ["## Violations", "\n".join(lines)]
