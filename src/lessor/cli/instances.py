"""`lessor instance`: the metadata of a VM."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Any

import typer

from lessor.cli import ask, kinds
from lessor.layout import Column, by_name

app = typer.Typer(no_args_is_help=True, help="Metadata of VMs.")

COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("HOSTNAME", "hostname"),
    Column("KEYS", lambda row: sorted(row["public_keys"])),
    Column("USER DATA", lambda row: row["user_data"] is not None),
    Column("METADATA", "metadata"),
)

PublicKey = Annotated[
    list[Any] | None,
    typer.Option(
        "--public-key",
        parser=kinds.pair,
        metavar="NAME=KEY",
        help="NAME=@FILE reads the key from a file; repeatable.",
    ),
]
Meta = Annotated[
    list[Any] | None,
    typer.Option("--meta", parser=kinds.pair, metavar="NAME=VALUE", help="Repeatable."),
]
UserData = Annotated[
    Path | None,
    typer.Option(exists=True, dir_okay=False, help="File with the VM's user data."),
]


def _body(
    public_key: list[tuple[str, str]] | None,
    meta: list[tuple[str, str]] | None,
    user_data: Path | None,
    **rest: object,
) -> dict[str, Any]:
    return ask.given(
        public_keys={n: kinds.text_or_file(v) for n, v in public_key} if public_key else None,
        metadata=dict(meta) if meta else None,
        user_data=base64.b64encode(user_data.read_bytes()).decode() if user_data else None,
        **rest,
    )


@app.command()
def create(  # noqa: PLR0917 - typer makes the options of the arguments
    name: Annotated[str, typer.Argument(help="Name of the VM.")],
    id_: Annotated[
        str | None, typer.Option("--id", help="The device_id of its ports; default: a new id.")
    ] = None,
    hostname: kinds.Text = None,
    availability_zone: kinds.Text = None,
    project_id: kinds.Text = None,
    public_key: PublicKey = None,
    user_data: UserData = None,
    meta: Meta = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Create a VM's metadata; give its ports the id: lessor port set PORT --device ID."""
    body = _body(
        public_key,
        meta,
        user_data,
        id=id_,
        name=name,
        hostname=hostname,
        availability_zone=availability_zone,
        project_id=project_id,
    )
    with ask.client(server) as api:
        row = api.create("instances", body)
    ask.print_row(row, json=json)


@app.command("list")
def list_(server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """List instances."""
    with ask.client(server) as api:
        rows = api.list("instances")
    ask.print_rows(rows, COLUMNS, json=json, order=by_name)


@app.command()
def show(
    instance: ask.Key, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False
) -> None:
    """Show an instance."""
    ask.show(server, "instances", instance, json=json)


@app.command("set")
def set_(  # noqa: PLR0917 - as create
    instance: ask.Key,
    name: kinds.Text = None,
    hostname: kinds.Text = None,
    availability_zone: kinds.Text = None,
    public_key: PublicKey = None,
    user_data: UserData = None,
    meta: Meta = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Change an instance; --public-key and --meta replace all previous values."""
    body = _body(
        public_key,
        meta,
        user_data,
        name=name,
        hostname=hostname,
        availability_zone=availability_zone,
    )
    ask.change(server, "instances", instance, body, json=json)


@app.command()
def delete(instances: ask.Keys, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Delete instances; the metadata of their VMs is then made from their ports."""
    ask.delete(server, "instances", instances)
