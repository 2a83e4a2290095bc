"""`lessor subnet`: blocks of addresses on networks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import ip_address, ip_network
from typing import Annotated, Any

import typer

from lessor.cli import ask, kinds
from lessor.layout import Column, Row
from lessor.net.address import place, place_of_block

app = typer.Typer(no_args_is_help=True, help="Subnets: blocks of addresses on networks.")

MOST_SERVERS = 3  # maximum number listed by address
COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("CIDR", "cidr"),
    Column("GATEWAY", "gateway_ip"),
    Column("DHCP SERVER", "served_at"),
    Column("DHCP", "enable_dhcp"),
    Column("NETWORK", "network_id"),
)


def with_servers(
    subnets: Sequence[Row], networks: Sequence[Row], ports: Sequence[Row]
) -> list[dict[str, Any]]:
    """Return subnets with the addresses of their DHCP servers.

    Args:
        subnets: from the API.
        networks: all of them.
        ports: those of DHCP servers. Each has its own address on overlay networks, and on
            multi-host ones unless they share the gateway's.
    """
    own = {
        row["id"]
        for row in networks
        if row["provider:network_type"] == "vxlan"
        or (row["lessor:multi_host"] and not row["lessor:share_address"])
    }
    there: dict[str, list[str]] = {}
    for port in ports:
        for ip in port["fixed_ips"]:
            there.setdefault(ip["subnet_id"], []).append(ip["ip_address"])
    return [{**row, "served_at": _served_at(row, own, there.get(row["id"], []))} for row in subnets]


def _served_at(row: Row, own: Collection[str], there: Sequence[str]) -> str | None:
    if not row["enable_dhcp"]:
        return None
    if row["network_id"] not in own:
        return str(row["lessor:dhcp_server"] or row["gateway_ip"])
    if len(there) > MOST_SERVERS:
        return f"{len(there)} hosts' own"
    return ", ".join(sorted(there, key=lambda text: place(ip_address(text)))) or None


def by_block(row: Row) -> tuple[tuple[int, int, int], str]:
    """Return the sort key by block."""
    return place_of_block(ip_network(row["cidr"])), str(row["network_id"])


Gateway = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help='Or "none"; default: the first address.')
]
Dns = Annotated[
    list[str] | None,
    typer.Option("--dns", metavar="ADDRESS", help="Name server of the VMs; repeatable."),
]
Route = Annotated[
    list[Any] | None,
    typer.Option(
        "--route",
        parser=kinds.route,
        metavar="BLOCK,GATEWAY",
        help="Route of the VMs, by DHCP; repeatable.",
    ),
]
Pool = Annotated[
    list[Any] | None,
    typer.Option(
        "--pool",
        parser=kinds.address_range,
        metavar="FIRST-LAST",
        help="Addresses for automatic allocation; repeatable; default: all.",
    ),
]
DhcpServer = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="An address other than the gateway's: the gateway is then an external router.",
    ),
]
Dhcp = Annotated[bool | None, typer.Option("--dhcp/--no-dhcp")]


def _body(
    gateway: str | None,
    dns: list[str] | None,
    route: list[dict[str, str]] | None,
    pool: list[dict[str, str]] | None,
    dhcp_server: str | None,
    **rest: object,
) -> dict[str, Any]:
    body = ask.given(
        dns_nameservers=dns or None,
        host_routes=route or None,
        allocation_pools=pool or None,
        lessor__dhcp_server=dhcp_server,
        **rest,
    )
    if gateway is not None:
        body["gateway_ip"] = None if gateway == "none" else gateway
    return body


@app.command()
def create(  # noqa: PLR0917 - typer makes the options of the arguments
    network: Annotated[str, typer.Option(help="Name or id.")],
    cidr: Annotated[Any, typer.Option(parser=kinds.block, metavar="CIDR")] = None,
    subnetpool: Annotated[str | None, typer.Option(help="Pool to allocate the block from.")] = None,
    prefixlen: Annotated[
        int | None, typer.Option(min=0, max=32, help="Prefix length of that block.")
    ] = None,
    name: kinds.Text = None,
    gateway: Gateway = None,
    dns: Dns = None,
    route: Route = None,
    pool: Pool = None,
    dhcp_server: DhcpServer = None,
    enable_dhcp: Dhcp = None,
    description: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Create a subnet on a network."""
    body = _body(
        gateway,
        dns,
        route,
        pool,
        dhcp_server,
        name=name,
        enable_dhcp=enable_dhcp,
        description=description,
    )
    with ask.client(server) as api:
        there = ask.network_id(api, network)
        block = ask.given(
            cidr=None if cidr is None else str(cidr),
            subnetpool_id=subnetpool and api.find("subnetpools", subnetpool)["id"],
            prefixlen=prefixlen,
        )
        row = api.create("subnets", {"network_id": there, "ip_version": 4, **block, **body})
    ask.print_row(row, json=json)


@app.command("list")
def list_(
    network: kinds.Text = None, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False
) -> None:
    """List subnets."""
    with ask.client(server) as api:
        rows = api.list("subnets", {"network_id": ask.network_id(api, network)})
        if not json:
            ports = api.list("ports", {"device_owner": "network:dhcp"})
            rows = with_servers(rows, api.list("networks"), ports)
    ask.print_rows(rows, COLUMNS, json=json, order=by_block)


@app.command()
def show(subnet: ask.Key, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Show a subnet."""
    ask.show(server, "subnets", subnet, json=json)


@app.command("set")
def set_(  # noqa: PLR0917 - as create
    subnet: ask.Key,
    name: kinds.Text = None,
    gateway: Gateway = None,
    dns: Dns = None,
    route: Route = None,
    pool: Pool = None,
    dhcp_server: DhcpServer = None,
    enable_dhcp: Dhcp = None,
    description: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Change a subnet; --dns, --route and --pool replace all previous values."""
    body = _body(
        gateway,
        dns,
        route,
        pool,
        dhcp_server,
        name=name,
        enable_dhcp=enable_dhcp,
        description=description,
    )
    ask.change(server, "subnets", subnet, body, json=json)


@app.command()
def delete(subnets: ask.Keys, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Delete subnets; refused while ports have addresses in them."""
    ask.delete(server, "subnets", subnets)
