"""Formats rows as tables. Pure except for `print_table`, which reads the terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from lessor.printable import printable_line

Row = Mapping[str, Any]
GAP = "  "
SHORT = 20  # characters: fits a MAC or a time, not an id
LEAST = 13  # minimum width of the other columns, in characters: two parts of an id
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
    """A column of a table: its title, and its cell of a row.

    `what` is a key of the row, or a function of the row. An `optional` column is omitted if all
    its cells are empty.
    """

    title: str
    what: str | Callable[[Row], object]
    optional: bool = False

    def cell(self, row: Row) -> str:
        """Return the cell of a row as text; "-" if it is empty."""
        value = self.what(row) if callable(self.what) else row.get(self.what)
        return said(value) or "-"


def shown(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns without the optional ones that are empty in all rows."""
    return [c for c in columns if not c.optional or any(c.cell(row) != "-" for row in rows)]


def said(value: object) -> str:
    """Format a JSON value for a cell: lists with commas, yes and no, "" for null."""
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
    """Return the sort key by name."""
    return str(row["name"])


def by_address(row: Row) -> tuple[str, int, int]:
    """Return the sort key by network, then by address as a number: 10.0.0.9 before 10.0.0.10."""
    address = ip_address(row["address"])
    return str(row["network_id"]), address.version, int(address)


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Format rows as plain text with aligned columns: a line of titles, then a line each."""
    columns = shown(columns, rows)
    lines = [[column.title for column in columns]]
    lines += [[column.cell(row) for column in columns] for row in rows]
    widths = [max(len(line[n]) for line in lines) for n in range(len(columns))]
    return "\n".join(
        GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def details(row: Row) -> str:
    """Format one row: a line for each field; a list of objects has a line for each object."""
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
    """Print rows: fitted to the terminal, or plain and in full without one."""
    if not sys.stdout.isatty():
        print(table(columns, rows))
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal

    console = Console()
    console.print(_fitted(columns, rows, console.width))


def _fitted(columns: Sequence[Column], rows: Sequence[Row], width: int) -> Any:
    """Return a table whose cells wrap to `width`: ids and text first, addresses and times last."""
    from rich.table import Table  # noqa: PLC0415 - only for a terminal
    from rich.text import Text  # noqa: PLC0415 - as above

    columns = shown(columns, rows)
    lines = [[column.cell(row) for column in columns] for row in rows]
    whole = _whole(columns, lines, width)
    # rich respects NO_COLOR
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, len(GAP), 0, 0))
    for n, column in enumerate(columns):
        made.add_column(column.title, overflow="fold", no_wrap=n in whole)
    for line in lines:
        made.add_row(*(Text(cell, style=COLOURS.get(cell.partition(" ")[0], "")) for cell in line))
    return made


def _whole(columns: Sequence[Column], lines: Sequence[Sequence[str]], width: int) -> set[int]:
    """Return the columns that do not wrap: the short ones, if the rest keep LEAST characters."""
    widest = [
        max(len(cell) for cell in (columns[n].title, *(line[n] for line in lines)))
        for n in range(len(columns))
    ]
    short = {n for n, size in enumerate(widest) if size <= SHORT}
    others = len(columns) - len(short)
    need = sum(widest[n] for n in short) + others * LEAST + len(columns) * len(GAP)
    return short if need <= width else set()
