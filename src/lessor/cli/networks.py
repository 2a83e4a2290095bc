"""`lessor network`: manages networks; also accepts nova-manage's option names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessor.cli import ask, concerning, kinds
from lessor.cli.nova_manage import Subnets
from lessor.cli.tour import tour_text
from lessor.layout import Column, Row, by_name
from lessor.printable import printable

if TYPE_CHECKING:
    from lessor.client import Client

app = typer.Typer(no_args_is_help=True, help="Networks.")

COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("CIDR", "cidrs"),
    Column("TYPE", "provider:network_type"),
    Column("VNI", "provider:segmentation_id", optional=True),
    Column("PHYSICAL NETWORK", "provider:physical_network"),
    Column("BRIDGE", "lessor:bridge"),
    Column("MULTI HOST", "lessor:multi_host"),
    Column("HOST", "lessor:host"),
)


# options of `create`
Blocks = Annotated[
    Any,
    typer.Option(
        "--cidr",
        "--fixed-range-v4",
        parser=kinds.block,
        metavar="CIDR",
        help="Also create a subnet with this block.",
    ),
]
Count = Annotated[int, typer.Option("--num-networks", min=1, help="Number of networks.")]
Size = Annotated[
    int | None,
    typer.Option(
        "--network-size",
        min=4,
        help="Addresses in each network. Default: the whole block, or with --num-networks an "
        "equal share of it, at most 256.",
    ),
]
Kind = Annotated[
    str | None,
    typer.Option("--type", metavar="flat|vxlan", help="Default: the server decides."),
]
Vni = Annotated[
    int | None, typer.Option("--vni", help="VNI of a vxlan network; default: the lowest free one.")
]
Physical = Annotated[str | None, typer.Option(help="Default: the one of flat_network_bridge.")]
Bridge = Annotated[str | None, typer.Option(help="Selects the physical network by its bridge.")]
DhcpServer = Annotated[
    Any,
    typer.Option(
        "--dhcp-server",
        parser=kinds.address,
        metavar="ADDRESS",
        help="An address other than the gateway's: the gateway is then an external router.",
    ),
]
Part = Annotated[
    Any,
    typer.Option(
        "--fixed-cidr",
        parser=kinds.block,
        metavar="CIDR",
        help="Allocate addresses from this part of the block only.",
    ),
]
First = Annotated[Any, typer.Option("--allowed-start", parser=kinds.address, metavar="ADDRESS")]
Last = Annotated[Any, typer.Option("--allowed-end", parser=kinds.address, metavar="ADDRESS")]
Zones = Annotated[
    list[str] | None,
    typer.Option(
        "--availability-zone-hint",
        metavar="ZONE",
        help="Zone for DHCP servers of a vxlan network; repeatable.",
    ),
]
Shared = Annotated[bool | None, typer.Option("--shared/--not-shared")]


@app.command()
def create(  # noqa: PLR0917 - typer makes the options of the arguments
    name: Annotated[str | None, typer.Argument(help="Also --label.")] = None,
    label: Annotated[str | None, typer.Option(hidden=True)] = None,
    cidr: Blocks = None,
    num_networks: Count = 1,
    network_size: Size = None,
    type_: Kind = None,
    vni: Vni = None,
    physical_network: Physical = None,
    bridge: Bridge = None,
    bridge_interface: Annotated[str | None, typer.Option("--bridge-interface", hidden=True)] = None,
    multi_host: kinds.MultiHost = None,
    share_address: kinds.ShareAddress = None,
    gateway: kinds.Address = None,
    dhcp_server: DhcpServer = None,
    dns1: kinds.Address = None,
    dns2: kinds.Address = None,
    fixed_cidr: Part = None,
    allowed_start: First = None,
    allowed_end: Last = None,
    mtu: kinds.Mtu = None,
    host: Annotated[str | None, typer.Option(help="The network host.")] = None,
    availability_zone_hint: Zones = None,
    project_id: Annotated[str | None, typer.Option("--project-id")] = None,
    shared: Shared = None,
    dns_domain: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Create one or more networks; with --cidr also their subnets. All or none."""
    name = name or label
    if not name:
        raise typer.BadParameter("a network needs a name: lessor network create NAME")
    body = ask.given(
        provider__network_type=type_,
        provider__segmentation_id=vni,
        provider__physical_network=physical_network,
        lessor__bridge=bridge,
        lessor__multi_host=multi_host,
        lessor__share_address=share_address,
        lessor__host=host,
        mtu=mtu,
        project_id=project_id,
        shared=shared,
        dns_domain=dns_domain,
        availability_zone_hints=availability_zone_hint or None,
    )
    subnets = Subnets(
        count=num_networks,
        block=cidr,
        size=network_size,
        gateway=gateway,
        dhcp_server=dhcp_server,
        dns=tuple(dns for dns in (dns1, dns2) if dns),
        fixed_cidr=fixed_cidr,
        allowed_start=allowed_start,
        allowed_end=allowed_end,
    )
    names = [name] if num_networks == 1 else [f"{name}_{n}" for n in range(num_networks)]
    with ask.client(server) as api:
        with ask.working(f"creating {names[0]}" + (f" to {names[-1]}" if names[1:] else "")):
            rows = _made(api, [{"name": each, **body} for each in names], subnets)
        _check_interface(bridge_interface, rows[0])
        if len(rows) == 1:
            ask.print_row(rows[0], json=json)
        else:
            ask.print_rows(_with_cidrs(api, rows), COLUMNS, json=json)


def _made(api: Client, bodies: Sequence[dict[str, Any]], subnets: Subnets) -> Sequence[Row]:
    """Create networks and their subnets; if a subnet is refused, delete the networks."""
    rows = api.create_many("networks", bodies)
    if subnets.block is None:
        return rows
    try:
        api.create_many("subnets", subnets.bodies(rows, _taken(api, rows[0])))
    except BaseException:
        for row in rows:
            api.delete("networks", row["id"])
        raise
    return [api.show("networks", row["id"]) for row in rows]


def _taken(api: Client, network: Row) -> list[str]:
    """Return the blocks in use on the network's physical network."""
    physical = network["provider:physical_network"]
    if physical is None:  # blocks of overlay networks may overlap
        return []
    there = {row["id"] for row in api.list("networks", {"provider:physical_network": physical})}
    return [row["cidr"] for row in api.list("subnets") if row["network_id"] in there]


def _check_interface(asked: str | None, network: Row) -> None:
    there = network.get("lessor:bridge_interface")
    if asked is not None and asked != there:
        ask.note(
            f"--bridge_interface {asked} is ignored: the interface is a setting of each host "
            f"(flat_interface, flat_mappings); on the server it is {there or 'not set'}"
        )


def _with_cidrs(api: Client, networks: Sequence[Row]) -> list[dict[str, Any]]:
    cidrs: dict[str, list[str]] = {row["id"]: [] for row in networks}
    for subnet in api.list("subnets"):
        cidrs.get(subnet["network_id"], []).append(subnet["cidr"])
    return [{**row, "cidrs": cidrs[row["id"]]} for row in networks]


@app.command("list")
def list_(
    name: kinds.Text = None, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False
) -> None:
    """List networks."""
    with ask.client(server) as api:
        rows = _with_cidrs(api, api.list("networks", {"name": name}))
    ask.print_rows(rows, COLUMNS, json=json, order=by_name)


@app.command()
def show(network: ask.Key, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Show a network, with its problems on its DHCP hosts."""
    with ask.client(server) as api:
        row = api.find("networks", network)
        row |= {"problems": concerning.of_network(api, row)}
    ask.print_row(row, json=json)


@app.command()
def tour(network: ask.Key, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Compare the desired and the actual state of a network on all its hosts.

    Exit status 1 if an object is missing or a host doesn't answer.
    """
    with ask.client(server) as api:
        row = api.find("networks", network)
        with ask.working(f"asking the hosts of {row['name'] or row['id']}"):
            found = api.tour(str(row["id"]))
    if json:
        ask.print_json(found)
    else:
        print(printable(tour_text(row, found)))
    if not found["ok"]:
        raise typer.Exit(1)


@app.command("set")
def set_(  # noqa: PLR0917 - as create
    network: ask.Key,
    name: kinds.Text = None,
    description: kinds.Text = None,
    admin_state_up: kinds.OnOff = None,
    shared: Shared = None,
    multi_host: kinds.MultiHost = None,
    share_address: kinds.ShareAddress = None,
    host: Annotated[
        str | None, typer.Option(help='The network host; "" lets any host claim the network.')
    ] = None,
    mtu: kinds.Mtu = None,
    dns_domain: kinds.Text = None,
    port_security_enabled: kinds.Security = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Change a network."""
    body = ask.given(
        name=name,
        description=description,
        admin_state_up=admin_state_up,
        shared=shared,
        lessor__multi_host=multi_host,
        lessor__share_address=share_address,
        mtu=mtu,
        dns_domain=dns_domain,
        port_security_enabled=port_security_enabled,
    )
    if host is not None:
        body["lessor:host"] = host or None
    ask.change(server, "networks", network, body, json=json)


@app.command()
def delete(
    networks: Annotated[list[str] | None, typer.Argument(help="Names or ids.")] = None,
    fixed_range: Annotated[
        str | None,
        typer.Option("--fixed-range", metavar="CIDR", help="Block of the network."),
    ] = None,
    server: ask.Server = ask.DEFAULT_SERVER,
) -> None:
    """Delete networks with their subnets; refused while a network has ports."""
    keys = list(networks or [])
    if fixed_range is not None:
        with ask.client(server) as api:
            keys += [row["network_id"] for row in api.list("subnets", {"cidr": fixed_range})]
    if not keys:
        raise typer.BadParameter("no network is given, or none has that block")
    ask.delete(server, "networks", keys)
