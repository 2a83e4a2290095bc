"""`lessor host`: the hosts of the fleet."""

from __future__ import annotations

import typer

from lessor.cli import ask, kinds
from lessor.cli.ages import age, problem_line
from lessor.layout import Column, Row, by_name

app = typer.Typer(no_args_is_help=True, help="Hosts of the fleet and their tokens.")


def state(row: Row) -> str:
    """Return the heartbeat state of a host's agent, for a cell."""
    match row["state"]:
        case "new":
            return "never seen"
        case "silent":
            return f"silent for {age(row['silent_s'])}"
        case "up" if not row.get("admin_state_up", True):
            return "up, taken down"
    return str(row["state"])


def last_seen(row: Row) -> str:
    """Return the age of a host's last report, for a cell."""
    return "" if row["silent_s"] is None else f"{age(row['silent_s'])} ago"


COLUMNS = (
    Column("NAME", "name"),
    Column("STATE", state),
    Column("LAST SEEN", last_seen),
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
    """Add a host and print the token of its agent; the token is shown only once.

    lessor host add h1 > agent-token
    """
    with ask.client(server) as api:
        row = api.create("hosts", {"name": name})
    _print_token(row, json=json)


@app.command()
def token(name: str, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Replace the token of a host and print the new one, once; the old one is invalid at once.

    lessor host token h1 > agent-token
    """
    with ask.client(server) as api:
        row = api.renew_token(name)
    _print_token(row, json=json)


def _print_token(row: Row, *, json: bool) -> None:
    if json:
        ask.print_json(row)
        return
    print(row["token"])
    ask.note(
        f"that is the token of {row['name']}, shown only once: write it on that host to the file "
        "of token_file (state_dir/agent-token), readable by root only"
    )


@app.command("list")
def list_(server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """List hosts."""
    with ask.client(server) as api:
        rows = api.list("hosts")
    ask.print_rows(rows, COLUMNS, json=json, order=by_name)


@app.command()
def show(name: str, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Show a host, with its problems."""
    with ask.client(server) as api:
        row = api.show("hosts", name)
    if not json:
        row = {**row, "problems": [problem_line(row, one) for one in row["problems"]]}
    ask.print_row(row, json=json)


@app.command("set")
def set_(
    name: str,
    up: kinds.OnOff = None,
    description: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Take a host down or up, or set its description.

    The DHCP servers of vxlan networks on a host taken down move to other hosts, with their
    addresses, and it gets no new ones. Its ports stay, and flat networks of which it is the network
    host.
    """
    body = ask.given(admin_state_up=up, description=description)
    if not body:
        raise typer.BadParameter("nothing to change; --help lists the options")
    with ask.client(server) as api:
        api.update("agents", api.show("hosts", name)["id"], body)
        row = api.show("hosts", name)
    ask.print_row(row, json=json)


@app.command()
def delete(names: ask.Keys, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Delete hosts; their tokens become invalid."""
    ask.delete(server, "hosts", names)
