"""`lessor host`: the machines of the fleet."""

from __future__ import annotations

import typer

from lessor.cli import ask
from lessor.cli.layout import Column, Row, by_name

app = typer.Typer(no_args_is_help=True, help="Hosts of the fleet and their tokens.")


def state(row: Row) -> str:
    """Say how a host is: up, down, or what its agent still has to do."""
    if row["heartbeat_at"] is None:
        return "never seen"
    if not row["alive"]:
        return "down"
    return "up" if row["in_sync"] and not row["problems"] else "pending"


COLUMNS = (
    Column("NAME", "name"),
    Column("STATE", state),
    Column("LAST SEEN", "heartbeat_at"),
    Column("VERSION", "version"),
    Column("ZONE", "availability_zone"),
    Column("PHYSICAL NETWORKS", "physical_networks"),
    Column("LOCAL IP", "local_ip", optional=True),
    Column("PORTS", lambda row: row["counts"].get("ports")),
    Column("DHCP SERVERS", lambda row: row["counts"].get("dhcp_servers")),
    Column("SERVER", "server", optional=True),
)


@app.command()
def add(name: str, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Make a host known and print the token of its agent, which is shown only this once.

    lessor host add h1 > agent-token
    """
    with ask.client(server) as api:
        row = api.create("hosts", {"name": name})
    if json:
        ask.print_json(row)
        return
    print(row["token"])
    ask.note(
        f"that is the token of {name}, shown only now: put it into the file that token_file "
        "names there (state_dir/agent-token), readable by root only"
    )


@app.command("list")
def list_(server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """List hosts."""
    with ask.client(server) as api:
        rows = api.list("hosts")
    ask.print_rows(rows, COLUMNS, json=json, order=by_name)


@app.command()
def show(name: str, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Show a host, with what is pending there and why."""
    with ask.client(server) as api:
        row = api.show("hosts", name)
    ask.print_row(row, json=json)


@app.command()
def delete(names: ask.Keys, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Delete hosts; their tokens are worth nothing from then on."""
    ask.delete(server, "hosts", names)
