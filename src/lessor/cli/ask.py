"""Shared by all commands: the server's URL, requests, and output."""

from __future__ import annotations

import json as jsons
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessor.layout import Column, details, print_table
from lessor.printable import printable

if TYPE_CHECKING:  # imported at the first request: httpx takes longer than all of --help
    from lessor.client import Client

Row = Mapping[str, Any]

Server = Annotated[
    str,
    typer.Option("--server", envvar="LESSOR_SERVER", metavar="URL", help="URL of the API."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Keys = Annotated[list[str], typer.Argument(help="Names or ids.")]
Key = Annotated[str, typer.Argument(help="Name or id.")]
DEFAULT_SERVER = "http://127.0.0.1:9696"


def client(server: str) -> Client:
    """Return a client of the server, with the credentials of the environment.

    Without a URL it is the endpoint of Keystone's catalog or OS_ENDPOINT.
    """
    from lessor.cli.credentials import credentials  # noqa: PLC0415 - as the next
    from lessor.client import Client  # noqa: PLC0415 - see above

    known = credentials(os.environ)
    url = known.endpoint if known.endpoint and server == DEFAULT_SERVER else server
    return Client(url, headers=known.headers, verify=known.verify)


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print(jsons.dumps(value, indent=2))


def print_rows(
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    json: bool,
    order: Callable[[Row], Any] | None = None,
) -> None:
    """Print rows as a table or as JSON, sorted by `order`; None: in the server's order."""
    if order is not None:
        rows = sorted(rows, key=order)
    if json:
        print_json(rows)
    else:
        print_table(columns, rows)


def print_row(row: Row, *, json: bool) -> None:
    """Print all fields of one row."""
    if json:
        print_json(row)
    else:
        print(details(row))


def note(text: str) -> None:
    """Print a note to the operator, on standard error."""
    print(printable(text), file=sys.stderr)


def show(server: str, plural: str, key: str, *, json: bool) -> None:
    """Print one row, given by name or id."""
    with client(server) as api:
        row = api.find(plural, key)
    print_row(row, json=json)


def delete(server: str, plural: str, keys: Sequence[str]) -> None:
    """Find all rows by name or id, then delete them one by one."""
    with client(server) as api:
        rows = [api.find(plural, key) for key in keys]
        for row in rows:
            api.delete(plural, row["name"] if plural == "hosts" else row["id"])


def change(server: str, plural: str, key: str, body: Row, *, json: bool) -> None:
    """Change one row, given by name or id, and print it.

    Raises:
        typer.BadParameter: `body` is empty.
    """
    if not body:
        raise typer.BadParameter("nothing to change; --help lists the options")
    with client(server) as api:
        row = api.update(plural, str(api.find(plural, key)["id"]), dict(body))
    print_row(row, json=json)


def network_id(api: Client, key: str | None) -> str | None:
    """Return the id of a network given by name or id; None stays None."""
    return None if key is None else str(api.find("networks", key)["id"])


def given(**values: object) -> dict[str, Any]:
    """Return the values that aren't None, by the API's names: "__" stands for a colon."""
    return {name.replace("__", ":"): v for name, v in values.items() if v is not None}


@contextmanager
def working(doing: str) -> Iterator[None]:
    """Show a spinner on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal

    with Console(stderr=True).status(doing):
        yield


@contextmanager
def counting(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yield a function that advances it by a number."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only for a terminal
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda more: progress.advance(task, more)
