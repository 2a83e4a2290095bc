"""`lessor subnetpool`: prefixes from which subnets are allocated."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lessor.cli import ask, kinds
from lessor.layout import Column

app = typer.Typer(no_args_is_help=True, help="Subnet pools: prefixes to allocate subnets from.")

COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("PREFIXES", lambda row: " ".join(row["prefixes"])),
    Column("LENGTH", "default_prefixlen"),
    Column("DEFAULT", "is_default"),
    Column("SHARED", "shared"),
    Column("ADDRESS SCOPE", "address_scope_id"),
)

Prefixes = Annotated[
    list[Any] | None,
    typer.Option(
        "--prefix", parser=kinds.block, metavar="CIDR", help="Prefix of the pool; repeatable."
    ),
]
Least = Annotated[int | None, typer.Option(min=0, max=32, help="Minimum length of a prefix.")]
Most = Annotated[int | None, typer.Option(min=0, max=32, help="Maximum length of a prefix.")]
Length = Annotated[int | None, typer.Option(min=0, max=32, help="Default length of a prefix.")]
Quota = Annotated[int | None, typer.Option(min=0, help="Maximum addresses of one project.")]
Scope = Annotated[str | None, typer.Option(help='Name or id, or "none".')]
Default = Annotated[
    bool | None, typer.Option("--default/--no-default", help="For subnets without a given pool.")
]


def _body(
    api: Any, prefix: list[Any] | None, address_scope: str | None, **rest: object
) -> dict[str, Any]:
    body = ask.given(prefixes=[str(block) for block in prefix] if prefix else None, **rest)
    if address_scope is not None:
        none = address_scope == "none"
        body["address_scope_id"] = None if none else api.find("address_scopes", address_scope)["id"]
    return body


@app.command()
def create(  # noqa: PLR0917 - typer makes the options of the arguments
    name: Annotated[str, typer.Argument()],
    prefix: Prefixes = None,
    min_prefixlen: Least = None,
    default_prefixlen: Length = None,
    max_prefixlen: Most = None,
    default_quota: Quota = None,
    address_scope: Scope = None,
    default: Default = None,
    share: Annotated[bool, typer.Option("--share", help="Let other projects use it.")] = False,
    description: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Create a subnet pool."""
    with ask.client(server) as api:
        body = _body(
            api,
            prefix,
            address_scope,
            name=name,
            min_prefixlen=min_prefixlen,
            default_prefixlen=default_prefixlen,
            max_prefixlen=max_prefixlen,
            default_quota=default_quota,
            is_default=default,
            shared=share or None,
            description=description,
        )
        row = api.create("subnetpools", {"prefixes": [], **body})
    ask.print_row(row, json=json)


@app.command("list")
def list_(server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """List subnet pools."""
    with ask.client(server) as api:
        rows = api.list("subnetpools")
    ask.print_rows(rows, COLUMNS, json=json, order=lambda row: str(row["name"]))


@app.command()
def show(
    subnetpool: ask.Key, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False
) -> None:
    """Show a subnet pool."""
    ask.show(server, "subnetpools", subnetpool, json=json)


@app.command("set")
def set_(  # noqa: PLR0917 - as create
    subnetpool: ask.Key,
    name: kinds.Text = None,
    prefix: Prefixes = None,
    min_prefixlen: Least = None,
    default_prefixlen: Length = None,
    max_prefixlen: Most = None,
    default_quota: Quota = None,
    address_scope: Scope = None,
    default: Default = None,
    description: kinds.Text = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Change a subnet pool; --prefix adds a prefix."""
    with ask.client(server) as api:
        body = _body(
            api,
            prefix,
            address_scope,
            name=name,
            min_prefixlen=min_prefixlen,
            default_prefixlen=default_prefixlen,
            max_prefixlen=max_prefixlen,
            default_quota=default_quota,
            is_default=default,
            description=description,
        )
        if not body:
            raise typer.BadParameter("nothing to change; --help lists the options")
        pool = api.find("subnetpools", subnetpool)
        if "prefixes" in body:
            body["prefixes"] = [*pool["prefixes"], *body["prefixes"]]
        row = api.update("subnetpools", str(pool["id"]), body)
    ask.print_row(row, json=json)


@app.command()
def delete(subnetpools: ask.Keys, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Delete subnet pools; refused while they have subnets."""
    ask.delete(server, "subnetpools", subnetpools)
