"""`lessor db`: the database itself, without a server."""

from __future__ import annotations

import json as jsons
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lessor.cli import ask, processes
from lessor.layout import Column

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
    from lessor.store.engine.upkeep import check as checked  # noqa: PLC0415 - SQLAlchemy loads slowly

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
    from lessor.store.engine.upkeep import upgrade as upgraded  # noqa: PLC0415 - as above

    print(f"tables are version {upgraded(_settings(config_file, state_dir, set_)).version}")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    *,
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it is there.")] = False,
    json: ask.Json = False,
) -> None:
    """Copy an SQLite database to a file: whole, on disk, and looked through when this ends.

    The server may run meanwhile. To restore it, stop the server, put FILE in the database's place,
    without its -wal and -shm files, and start the server. PostgreSQL has pg_dump.
    """
    from lessor.store.engine.upkeep import backup as copied  # noqa: PLC0415 - as above

    size = copied(_settings(config_file, state_dir, set_), file.absolute(), force=force)
    if json:
        print(jsons.dumps({"file": str(file.absolute()), "bytes": size}))
    else:
        print(f"{file}: {size} bytes")


@app.command()
def new(
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
) -> None:
    """Make a new, empty database where one was lost and there is no back-up of it.

    Networks, ports and hosts have to be made again. Agents keep what they serve until
    `lessor agent accept` on each host.
    """
    from lessor.store.engine.upkeep import new as made  # noqa: PLC0415 - as above

    print(f"new epoch {made(_settings(config_file, state_dir, set_))}")


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
    from lessor.store.engine.upkeep import copy as copied  # noqa: PLC0415 - as above

    source = _settings(config_file, state_dir, set_)
    print(f"{copied(source, replace(source, connection=to))} rows copied")


@app.command()
def restored(
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
) -> None:
    """Say that a back-up was put back in its place, so that agents take everything again.

    Run it before a server starts on the restored database. A server notices by itself what it is
    given back, at its start or by the first agent that asks; this is for who wants to be sure.
    """
    from lessor.store.engine.upkeep import restored as believed  # noqa: PLC0415 - as above

    print(f"new epoch {believed(_settings(config_file, state_dir, set_))}")
