"""`lessor address-scope`: groups of subnet pools without overlapping prefixes."""

from __future__ import annotations

from typing import Annotated

import typer

from lessor.cli import ask, kinds
from lessor.layout import Column

app = typer.Typer(
    no_args_is_help=True, help="Address scopes: groups of subnet pools without overlap."
)

COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("SHARED", "shared"),
    Column("PROJECT", "project_id"),
)

Share = Annotated[
    bool | None, typer.Option("--share/--no-share", help="Let other projects use it.")
]


@app.command()
def create(
    name: Annotated[str, typer.Argument()],
    share: Share = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Create an address scope."""
    body = ask.given(name=name, shared=share)
    with ask.client(server) as api:
        row = api.create("address_scopes", {"ip_version": 4, **body})
    ask.print_row(row, json=json)


@app.command("list")
def list_(server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """List address scopes."""
    with ask.client(server) as api:
        rows = api.list("address_scopes")
    ask.print_rows(rows, COLUMNS, json=json, order=lambda row: str(row["name"]))


@app.command()
def show(
    address_scope: ask.Key, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False
) -> None:
    """Show an address scope."""
    ask.show(server, "address_scopes", address_scope, json=json)


@app.command("set")
def set_(
    address_scope: ask.Key,
    name: kinds.Text = None,
    share: Share = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Change an address scope; a shared one can't be unshared."""
    body = ask.given(name=name, shared=share)
    ask.change(server, "address_scopes", address_scope, body, json=json)


@app.command()
def delete(address_scopes: ask.Keys, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Delete address scopes; refused while they have subnet pools."""
    ask.delete(server, "address_scopes", address_scopes)
