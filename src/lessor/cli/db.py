"""`lessor db`: the database itself, without a server."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated

import typer

from lessor.cli import ask, processes
from lessor.cli.layout import Column

if TYPE_CHECKING:
    from lessor.settings import ServerSettings

app = typer.Typer(no_args_is_help=True, help="Look through the database, copy it, restore it.")
FINDINGS = (Column("RULE", "rule"), Column("WHAT", "id"), Column("IS WRONG", "words"))
To = Annotated[
    str, typer.Option("--to", metavar="URL", help="An empty database: postgresql+psycopg://...")
]


def _settings(
    files: processes.ConfigFile, state_dir: processes.StateDir, set_: processes.Set
) -> ServerSettings:
    said = processes.overrides(state_dir, set_, debug=False)
    return processes.server_settings(files, said, warn=False)


@app.command()
def check(
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
    json: ask.Json = False,
) -> None:
    """List what breaks an invariant of the store; exit status 1 if anything does.

    A server may run meanwhile.
    """
    from lessor.store.upkeep import check as checked  # noqa: PLC0415 - SQLAlchemy loads slowly

    found = checked(_settings(config_file, state_dir, set_))
    if found or json:
        ask.print_rows([asdict(finding) for finding in found], FINDINGS, json=json)
    else:
        print("nothing is wrong")
    if found:
        raise typer.Exit(1)


@app.command()
def upgrade(
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
) -> None:
    """Make the tables, or bring them up to date, as the server does when it starts."""
    from lessor.store.upkeep import upgrade as upgraded  # noqa: PLC0415 - as above

    print(f"tables are version {upgraded(_settings(config_file, state_dir, set_)).version}")


@app.command("copy")
def copy_(
    to: To,
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
) -> None:
    """Copy everything to an empty database, such as from SQLite to PostgreSQL.

    Stop all servers first: what they write meanwhile is not copied. Agents and VMs go on; agents
    follow the new database as if it were the old one.
    """
    from lessor.store.upkeep import copy as copied  # noqa: PLC0415 - as above

    source = _settings(config_file, state_dir, set_)
    print(f"{copied(source, replace(source, connection=to))} rows copied")


@app.command()
def restored(
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
) -> None:
    """Say that a back-up was put back in its place, so that agents take everything anew.

    Run it before a server starts on the restored database. Where the file or the database is
    another one than before, the server notices by itself.
    """
    from lessor.store.upkeep import restored as believed  # noqa: PLC0415 - as above

    print(f"new epoch {believed(_settings(config_file, state_dir, set_))}")
