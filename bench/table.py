"""Lays figures out, for a person and for a program."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict

from bench.figure import Figure, Limit

HEADS = ("what", "figure", "n", "peer", "ratio", "load", "expected")
LEFT = {0, 3, 6}  # columns of words


def text(figures: Iterable[Figure]) -> str:
    """Return the table: a line a figure, as wide as it must be."""
    rows = [HEADS, *(_row(figure) for figure in figures)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADS))]
    return "\n".join(_line(row, widths) for row in rows)


def as_json(figures: Iterable[Figure]) -> str:
    """Return the figures as a list of objects, with `ratio` and `met`."""
    rows = [asdict(one) | {"ratio": one.ratio, "met": one.met} for one in figures]
    return json.dumps(rows, indent=1) + "\n"


def number(value: float) -> str:
    """Write a number with about three digits that count: 0.0123, 1.23, 12.3, 1,230."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def _row(figure: Figure) -> tuple[str, ...]:
    spread = ""
    if figure.low is not None and figure.high is not None:
        spread = f" ({number(figure.low)}-{number(figure.high)})"
    peer = figure.peer
    return (
        figure.what,
        f"{number(figure.value)} {figure.unit}{spread}",
        f"{figure.n:,}",
        f"{number(peer.value)} {figure.unit} ({peer.name})" if peer else "",
        f"{number(figure.ratio)}x" if figure.ratio is not None else "",
        f"{figure.load:.1f}" if figure.load is not None else "",
        _expectation(figure, figure.expected) if figure.expected else "",
    )


def _expectation(figure: Figure, limit: Limit) -> str:
    sign = ">=" if limit.least else "<="
    unit = "x" if limit.of_ratio else f" {figure.unit}"
    return f"{sign} {number(limit.value)}{unit}: {'met' if figure.met else 'MISSED'}"


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (
        cell.ljust(width) if at in LEFT else cell.rjust(width)
        for at, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()
