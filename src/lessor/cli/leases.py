"""`lessor lease`: DHCP leases and their history."""

from __future__ import annotations

from typing import Annotated

import typer

from lessor.cli import ask, kinds
from lessor.errors import NotFound
from lessor.layout import Column, by_address

app = typer.Typer(no_args_is_help=True, help="Live leases and the history of leases.")

LIVE = (
    Column("ADDRESS", "address"),
    Column("MAC", "mac_address"),
    Column("HOSTNAME", "hostname"),
    Column("SINCE", "started_at"),
    Column("UNTIL", lambda row: row["expires_at"] or "never"),
    Column("DHCP HOST", "host"),
    Column("ID", "id"),
)
HISTORY = (
    Column("ADDRESS", "address"),
    Column("MAC", "mac_address"),
    Column("HOSTNAME", "hostname"),
    Column("SINCE", "started_at"),
    Column("ENDED", "ended_at"),
    Column("WHY", "end_reason"),
    Column("PORT", "port_id"),
)

At = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Leases at a time: 2026-11-22T03:35:00 (UTC) or seconds."),
]


@app.command("list")
def list_(  # noqa: PLR0917 - typer makes the options of the arguments
    network: kinds.Text = None,
    address: kinds.Address = None,
    mac: kinds.Text = None,
    port: Annotated[str | None, typer.Option(help="Name or id.")] = None,
    host: Annotated[str | None, typer.Option(help="Host of the DHCP server.")] = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """List live leases."""
    with ask.client(server) as api:
        rows = api.list(
            "leases",
            ask.given(
                live=True,
                network_id=ask.network_id(api, network),
                address=address,
                mac_address=mac,
                port_id=port and api.find("ports", port)["id"],
                host=host,
            ),
        )
    ask.print_rows(rows, LIVE, json=json, order=by_address)


@app.command()
def history(  # noqa: PLR0917 - as list
    network: kinds.Text = None,
    address: kinds.Address = None,
    mac: kinds.Text = None,
    port: Annotated[str | None, typer.Option(help="Id, also of a deleted port.")] = None,
    at: At = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """List live and ended leases: who had an address at a given time."""
    with ask.client(server) as api:
        rows = api.list(
            "leases",
            ask.given(
                network_id=ask.network_id(api, network),
                address=address,
                mac_address=mac,
                port_id=port,
                at=at,
                sort_key="started_at",
            ),
        )
    ask.print_rows(rows, HISTORY, json=json)


@app.command()
def show(lease_id: str, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Show a lease."""
    with ask.client(server) as api:
        row = api.show("leases", lease_id)
    ask.print_row(row, json=json)


@app.command()
def release(
    leases: Annotated[list[str], typer.Argument(help="Ids, or addresses with --network.")],
    network: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
) -> None:
    """End live leases, as if their VMs had released them."""
    with ask.client(server) as api:
        if network is not None:
            there = ask.network_id(api, network)
            found = []
            for address in leases:
                filters = {"network_id": there, "address": address, "live": True}
                rows = api.list("leases", filters)
                if not rows:
                    raise NotFound(f"network {network} has no live lease of {address}")
                found += [row["id"] for row in rows]
            leases = found
        for lease in leases:
            api.delete("leases", lease)
