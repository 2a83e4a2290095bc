"""Lays rows out for a person. Pure but for `print_table`, which knows the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

from lessor.printable import printable_line

Row = Mapping[str, Any]
GAP = "  "
SHORT = 20  # characters: a MAC or a time, no id
LEAST = 13  # characters that the other columns need to be read: two parts of an id
COLOURS = {
    "ACTIVE": "green",
    "up": "green",
    "leased": "green",
    "DOWN": "yellow",
    "pending": "yellow",
    "down": "red",
    "silent": "red",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: its title, and how a row's cell is said.

    `what` is a key of the row, or a function of the row. An `optional` one is left out of a table
    in which no row has anything for it.
    """

    title: str
    what: str | Callable[[Row], object]
    optional: bool = False

    def cell(self, row: Row) -> str:
        """Return the cell of a row as text, "-" if there is nothing."""
        value = self.what(row) if callable(self.what) else row.get(self.what)
        return said(value) or "-"


def shown(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns that a table of these rows has."""
    return [c for c in columns if not c.optional or any(c.cell(row) != "-" for row in rows)]


def said(value: object) -> str:
    """Say a JSON value in a cell: lists with commas, yes and no, nothing for null."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(said(one) for one in value)
        case dict():
            return ", ".join(f"{printable_line(name)}={said(one)}" for name, one in value.items())
    return printable_line(str(value))


def by_name(row: Row) -> str:
    """Order rows by name."""
    return str(row["name"])


def by_address(row: Row) -> tuple[str, int]:
    """Order rows by network, then by address as a number: 10.0.0.9 before 10.0.0.10."""
    return str(row["network_id"]), int(IPv4Address(row["address"]))


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Lay rows out as plain text, columns aligned; a line each, after a line of titles."""
    columns = shown(columns, rows)
    lines = [[column.title for column in columns]]
    lines += [[column.cell(row) for column in columns] for row in rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    return "\n".join(
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def details(row: Row) -> str:
    """Lay one row out: a line for each field, lists of objects with a line for each object."""
    width = max((len(name) for name in row), default=0)
    lines = []
    for name, value in row.items():
        for n, line in enumerate(_lines(value)):
            lines.append(f"{name if n == 0 else '':<{width}}{GAP}{line}".rstrip())
    return "\n".join(lines)


def _lines(value: object) -> list[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [said(one) for one in value]
    if isinstance(value, list) and any(" " in str(one) for one in value):  # sentences
        return [said(one) for one in value]
    if isinstance(value, dict):
        return [f"{printable_line(name)}={json.dumps(one)}" for name, one in value.items()] or [""]
    if isinstance(value, str):
        return [printable_line(line) for line in value.splitlines()] or [""]
    return [said(value)]


def print_table(columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Print rows: fitted to the terminal, or plain and whole where there is none."""
    if not sys.stdout.isatty():
        print(table(columns, rows))
        return
    from rich.console import Console  # noqa: PLC0415 - only where it is shown

    console = Console()
    console.print(_fitted(columns, rows, console.width))


def _fitted(columns: Sequence[Column], rows: Sequence[Row], width: int) -> Any:
    """Return a table whose cells wrap to `width`: ids and words first, addresses and times last."""
    from rich.table import Table  # noqa: PLC0415 - only where it is shown
    from rich.text import Text  # noqa: PLC0415 - as above

    columns = shown(columns, rows)
    lines = [[column.cell(row) for column in columns] for row in rows]
    whole = _whole(columns, lines, width)
    # it heeds NO_COLOR
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(GAP), 0, 0))
    for n, column in enumerate(columns):
        made.add_column(column.title, overflow="fold", no_wrap=n in whole)
    for line in lines:
        made.add_row(*(Text(cell, style=COLOURS.get(cell.partition(" ")[0], "")) for cell in line))
    return made


def _whole(columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int) -> set[int]:
    """Return the columns that are best not wrapped: the short ones, if that leaves the rest room."""
    widest = [
        max(len(cell) for cell in (columns[n].title, *(line[n] for line in lines)))
        for n in range(len(columns))
    ]
    short = {n for n, size in enumerate(widest) if size <= SHORT}
    others = len(columns) - len(short)
    need = sum(widest[n] for n in short) + others * LEAST + len(columns) * len(GAP)
    return short if need <= width else set()
