"""`lessor quota`: maximum numbers of a project's networks, subnets, ports."""

from __future__ import annotations

from typing import Annotated

import typer

from lessor.cli import ask
from lessor.layout import Column

app = typer.Typer(no_args_is_help=True, help="Quotas of projects; -1: unlimited.")

COLUMNS = (
    Column("PROJECT", "project_id"),
    Column("NETWORKS", "network"),
    Column("SUBNETS", "subnet"),
    Column("PORTS", "port"),
    Column("SUBNET POOLS", "subnetpool"),
    Column("RBAC POLICIES", "rbac_policy"),
)

Project = Annotated[str, typer.Argument(help="Id of the project.")]
Most = Annotated[int | None, typer.Option(min=-1)]


@app.command("list")
def list_(server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """List projects with quotas of their own."""
    with ask.client(server) as api:
        rows = api.list("quotas")
    ask.print_rows(rows, COLUMNS, json=json, order=lambda row: str(row["project_id"]))


@app.command()
def show(project: Project, server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Show a project's quotas."""
    with ask.client(server) as api:
        row = api.show("quotas", project)
    ask.print_row(row, json=json)


@app.command("set")
def set_(  # noqa: PLR0917 - typer makes the options of the arguments
    project: Project,
    networks: Most = None,
    subnets: Most = None,
    ports: Most = None,
    subnetpools: Most = None,
    rbac_policies: Most = None,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Set quotas of a project; a quota below the present number only refuses new objects."""
    body = ask.given(
        network=networks,
        subnet=subnets,
        port=ports,
        subnetpool=subnetpools,
        rbac_policy=rbac_policies,
    )
    if not body:
        raise typer.BadParameter("no quota is given, such as --ports 20")
    with ask.client(server) as api:
        row = api.update("quotas", project, body)
    ask.print_row(row, json=json)


@app.command()
def delete(project: Project, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Reset a project to the default quotas."""
    with ask.client(server) as api:
        api.delete("quotas", project)
