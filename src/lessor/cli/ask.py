"""What all commands share: where the server is, asking it, and saying what came of it."""

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

if TYPE_CHECKING:  # imported when a command asks: httpx takes longer than all of --help
    from lessor.client import Client

Row = Mapping[str, Any]

Server = Annotated[
    str,
    typer.Option("--server", envvar="LESSOR_SERVER", metavar="URL", help="Where the API is."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Keys = Annotated[list[str], typer.Argument(help="Names or ids.")]
Key = Annotated[str, typer.Argument(help="Name or id.")]
DEFAULT_SERVER = "http://127.0.0.1:9696"


def client(server: str) -> Client:
    """Return a client of the server, with the credentials of the environment.

    Where no server is named, it is the one that Keystone or OS_ENDPOINT tells.
    """
    from lessor.cli.credentials import credentials  # noqa: PLC0415 - as the next
    from lessor.client import Client  # noqa: PLC0415 - see above

    known = credentials(os.environ)
    url = known.endpoint if known.endpoint and server == DEFAULT_SERVER else server
    return Client(url, headers=known.headers, verify=known.verify)


def print_json(value: object) -> None:
    """Print a value as JSON, for programs."""
    print(jsons.dumps(value, indent=2))


def print_rows(
    rows: Sequence[Row],
    columns: Sequence[Column],
    *,
    json: bool,
    order: Callable[[Row], Any] | None = None,
) -> None:
    """Print rows as a table or as JSON, in `order`; None: as they came."""
    if order is not None:
        rows = sorted(rows, key=order)
    if json:
        print_json(rows)
    else:
        print_table(columns, rows)


def print_row(row: Row, *, json: bool) -> None:
    """Print all of one row."""
    if json:
        print_json(row)
    else:
        print(details(row))


def note(text: str) -> None:
    """Say something to the person that is not the answer."""
    print(printable(text), file=sys.stderr)


def show(server: str, plural: str, key: str, *, json: bool) -> None:
    """Find one by name or id and print it."""
    with client(server) as api:
        row = api.find(plural, key)
    print_row(row, json=json)


def delete(server: str, plural: str, keys: Sequence[str]) -> None:
    """Find all by name or id, then delete them one by one."""
    with client(server) as api:
        rows = [api.find(plural, key) for key in keys]
        for row in rows:
            api.delete(plural, row["name"] if plural == "hosts" else row["id"])


def change(server: str, plural: str, key: str, body: Row, *, json: bool) -> None:
    """Find one by name or id, change it, print it.

    Raises:
        typer.BadParameter: there is nothing to change.
    """
    if not body:
        raise typer.BadParameter("say what to change; --help lists the options")
    with client(server) as api:
        row = api.update(plural, str(api.find(plural, key)["id"]), dict(body))
    print_row(row, json=json)


def network_id(api: Client, key: str | None) -> str | None:
    """Return the id of a network given by name or id; None stays None."""
    return None if key is None else str(api.find("networks", key)["id"])


def given(**values: object) -> dict[str, Any]:
    """Return the values that were given, under the API's names: "binding__host_id" has a colon."""
    return {name.replace("__", ":"): v for name, v in values.items() if v is not None}


@contextmanager
def working(doing: str) -> Iterator[None]:
    """Show on a terminal that something takes long."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415 - only where it is shown

    with Console(stderr=True).status(doing):
        yield


@contextmanager
def counting(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far something is; what is yielded takes how many are done more."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only where it is shown
    from rich.progress import Progress  # noqa: PLC0415 - as above

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(doing, total=total)
        yield lambda more: progress.advance(task, more)
