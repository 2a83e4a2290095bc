"""`lessor port`: manages ports."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessor.cli import ask, bindings, concerning, kinds, plug
from lessor.layout import Column, Row
from lessor.net.address import place

if TYPE_CHECKING:
    from lessor.client import Client

app = typer.Typer(no_args_is_help=True, help="Ports: NICs of VMs.")
app.command()(plug.plug)
app.command()(plug.unplug)
app.command()(bindings.bind)
app.command()(bindings.activate)
app.command()(bindings.unbind)

MOST_AT_ONCE = 200  # ports in one request; each request creates all or none


def addresses(row: Row) -> list[str]:
    """Return a port's addresses."""
    return [fixed["ip_address"] for fixed in row["fixed_ips"]]


def by_address(row: Row) -> tuple[str, tuple[int, int]]:
    """Return the sort key by network, then by first address."""
    first = [place(ip_address(address)) for address in addresses(row)[:1]]
    return str(row["network_id"]), first[0] if first else (0, 0)


COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("MAC", "mac_address"),
    Column("ADDRESS", addresses),
    Column("HOST", "binding:host_id"),
    Column("STATUS", "status"),
    Column("PENDING", "lessor:pending"),
)

FixedIp = Annotated[
    list[str] | None,
    typer.Option("--fixed-ip", metavar="ADDRESS", help="Repeatable; default: a free address."),
]
Host = Annotated[str | None, typer.Option(help="Host of the VM; its agent wires the port.")]
Device = Annotated[str | None, typer.Option(help="Id of the VM (device_id).")]
DhcpOption = Annotated[
    list[Any] | None,
    typer.Option(
        "--dhcp-option",
        parser=kinds.pair,
        metavar="NAME=VALUE",
        help="DHCP option, by dnsmasq's name or its number; repeatable.",
    ),
]
MoreDhcpOptions = Annotated[
    list[Any] | None,
    typer.Option(
        "--dhcp-option",
        parser=kinds.pair,
        metavar="NAME=VALUE",
        help="Adds a DHCP option, or replaces the one of the same name; repeatable.",
    ),
]
Allowed = Annotated[
    list[str] | None,
    typer.Option(
        "--allowed-address",
        metavar="BLOCK[,MAC]",
        help="Another source address that the VM may use; repeatable.",
    ),
]


def _pair(text: str) -> dict[str, str]:
    block, _, mac = text.partition(",")
    return {"ip_address": block, **({"mac_address": mac} if mac else {})}


def _body(
    fixed_ip: list[str] | None,
    dhcp_option: list[tuple[str, str]] | None,
    allowed: list[str] | None,
    **rest: object,
) -> dict[str, Any]:
    return ask.given(
        fixed_ips=[{"ip_address": address} for address in fixed_ip] if fixed_ip else None,
        extra_dhcp_opts=[{"opt_name": n, "opt_value": v} for n, v in dhcp_option]
        if dhcp_option
        else None,
        allowed_address_pairs=[_pair(text) for text in allowed] if allowed else None,
        **rest,
    )


@app.command()
def create(  # noqa: PLR0917 - typer makes the options of the arguments
    network: Annotated[str, typer.Option(help="Name or id.")],
    name: kinds.Text = None,
    fixed_ip: FixedIp = None,
    mac: Annotated[str | None, typer.Option(help="Default: a random one.")] = None,
    host: Host = None,
    device: Device = None,
    device_owner: kinds.Text = None,
    dns_name: kinds.Text = None,
    dhcp_option: DhcpOption = None,
    allowed_address: Allowed = None,
    port_security_enabled: kinds.Security = None,
    project_id: kinds.Text = None,
    description: kinds.Text = None,
    count: Annotated[int, typer.Option(min=1, help="Number of ports: NAME_0, NAME_1 ...")] = 1,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Create one or more ports; each gets its address at once."""
    if count > 1 and (fixed_ip or mac):
        raise typer.BadParameter("several ports can't have the same address")
    body = _body(
        fixed_ip,
        dhcp_option,
        allowed_address,
        mac_address=mac,
        binding__host_id=host,
        device_id=device,
        device_owner=device_owner,
        dns_name=dns_name,
        port_security_enabled=port_security_enabled,
        project_id=project_id,
        description=description,
    )
    with ask.client(server) as api:
        body["network_id"] = ask.network_id(api, network)
        if count == 1:
            ask.print_row(api.create("ports", {**body, **ask.given(name=name)}), json=json)
            return
        bodies = [{**body, "name": f"{name}_{n}" if name else ""} for n in range(count)]
        ask.print_rows(_in_parts(api, bodies), COLUMNS, json=json)


def _in_parts(api: Client, bodies: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    with ask.counting("creating ports", len(bodies)) as done:
        for at in range(0, len(bodies), MOST_AT_ONCE):
            part = bodies[at : at + MOST_AT_ONCE]
            rows += api.create_many("ports", part)
            done(len(part))
    return rows


@app.command("list")
def list_(  # noqa: PLR0917 - as create
    network: kinds.Text = None,
    host: kinds.Text = None,
    status: Annotated[str | None, typer.Option(help="ACTIVE or DOWN.")] = None,
    address: kinds.Address = None,
    mac: kinds.Text = None,
    device: kinds.Text = None,
    name: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """List ports."""
    with ask.client(server) as api:
        filters = ask.given(
            network_id=ask.network_id(api, network),
            binding__host_id=host,
            status=status and status.upper(),
            fixed_ips=f"ip_address={address}" if address else None,
            mac_address=mac,
            device_id=device,
            name=name,
        )
        rows = api.list("ports", filters)
    ask.print_rows(rows, COLUMNS, json=json, order=by_address)


@app.command()
def show(port: ask.Key, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Show a port, with the reason it is not ACTIVE and the problems of its hosts."""
    with ask.client(server) as api:
        row = api.find("ports", port)
        row |= {"problems": concerning.of_port(api, row)}
    ask.print_row(row, json=json)


@app.command("set")
def set_(  # noqa: PLR0917 - as create
    port: ask.Key,
    name: kinds.Text = None,
    fixed_ip: FixedIp = None,
    mac: kinds.Text = None,
    host: Annotated[str | None, typer.Option(help='Host of the VM; "" is none.')] = None,
    device: Device = None,
    device_owner: kinds.Text = None,
    dns_name: kinds.Text = None,
    dhcp_option: MoreDhcpOptions = None,
    allowed_address: Allowed = None,
    port_security_enabled: kinds.Security = None,
    admin_state_up: kinds.OnOff = None,
    description: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Change a port; --fixed-ip and --allowed-address replace all previous values."""
    body = _body(
        fixed_ip,
        dhcp_option,
        allowed_address,
        name=name,
        mac_address=mac,
        binding__host_id=host,
        device_id=device,
        device_owner=device_owner,
        dns_name=dns_name,
        port_security_enabled=port_security_enabled,
        admin_state_up=admin_state_up,
        description=description,
    )
    ask.change(server, "ports", port, body, json=json)


@app.command()
def delete(ports: ask.Keys, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Delete ports; an address is free again when it has no live lease."""
    ask.delete(server, "ports", ports)
