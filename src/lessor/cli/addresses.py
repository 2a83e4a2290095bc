"""`lessor address`: the state of each address; reservations by the operator."""

from __future__ import annotations

from typing import Annotated

import typer

from lessor.cli import ask, kinds
from lessor.layout import Column, by_address

app = typer.Typer(no_args_is_help=True, help="Addresses: list their states, reserve them.")

COLUMNS = (
    Column("ADDRESS", "address"),
    Column("STATE", "state"),
    Column("MAC", "mac_address"),
    Column("HOST", "host"),
    Column("LEASED UNTIL", "leased_until"),
    Column("PORT", "port_id"),
    Column("NETWORK", "network_id"),
)
Network = Annotated[str, typer.Option(help="Name or id.")]
Addresses = Annotated[list[str], typer.Argument(metavar="ADDRESS...")]


@app.command()
def reserve(
    network: Network, addresses: Addresses, server: ask.Server = ask.DEFAULT_SERVER
) -> None:
    """Reserve addresses: ports can't get them."""
    with ask.client(server) as api:
        there = ask.network_id(api, network)
        for address in addresses:
            api.create("addresses", {"network_id": there, "address": address})


@app.command()
def unreserve(
    network: Network, addresses: Addresses, server: ask.Server = ask.DEFAULT_SERVER
) -> None:
    """End the reservation of addresses."""
    with ask.client(server) as api:
        there = str(ask.network_id(api, network))
        for address in addresses:
            api.delete("addresses", there, address)


@app.command("list")
def list_(
    network: kinds.Text = None,
    state: Annotated[
        str | None, typer.Option(help="free, reserved, server, allocated, leased or releasing.")
    ] = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """List addresses that are or were in use or are reserved; all others are free."""
    with ask.client(server) as api:
        rows = api.list(
            "addresses", ask.given(network_id=ask.network_id(api, network), state=state)
        )
    ask.print_rows(rows, COLUMNS, json=json, order=by_address)
