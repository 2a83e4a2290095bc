"""`lessor db`: works on the database directly, without a server."""

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

app = typer.Typer(no_args_is_help=True, help="Check the database, copy it, restore it.")
FINDINGS = (Column("RULE", "rule"), Column("WHAT", "id"), Column("IS WRONG", "words"))
To = Annotated[
    str, typer.Option("--to", metavar="URL", help="An empty database: postgresql+psycopg://...")
]


def _settings(
    files: processes.ConfigFile, state_dir: processes.StateDir, set_: processes.Set
) -> ServerSettings:
    given = processes.overrides(state_dir, set_, debug=False)
    return processes.server_settings(files, given, warn=False)


@app.command()
def check(
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
    json: ask.Json = False,
) -> None:
    """List violations of the store's invariants; exit status 1 if there are any.

    A server may run at the same time.
    """
    from lessor.store.engine import upkeep  # noqa: PLC0415 - SQLAlchemy loads slowly

    found = upkeep.check(_settings(config_file, state_dir, set_))
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
    """Create the tables or upgrade them, as the server does at its start."""
    from lessor.store.engine import upkeep  # noqa: PLC0415 - as above

    print(f"tables are version {upkeep.upgrade(_settings(config_file, state_dir, set_)).version}")


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File for the copy.")],
    *,
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    json: ask.Json = False,
) -> None:
    """Copy an SQLite database to a file; at the end the copy is on disk and checked.

    The server may run at the same time. To restore the copy, stop the server, replace the database
    by FILE, delete its -wal and -shm files, and start the server. For PostgreSQL, use pg_dump.
    """
    from lessor.store.engine import upkeep  # noqa: PLC0415 - as above

    size = upkeep.backup(_settings(config_file, state_dir, set_), file.absolute(), force=force)
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
    """Create a new, empty database after one was lost without a back-up.

    Create networks, ports and hosts again. Agents continue to serve the lost ones until
    `lessor agent accept` on each host.
    """
    from lessor.store.engine import upkeep  # noqa: PLC0415 - as above

    print(f"new epoch {upkeep.new(_settings(config_file, state_dir, set_))}")


@app.command("copy")
def copy_(
    to: To,
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
) -> None:
    """Copy everything to an empty database, for example from SQLite to PostgreSQL.

    Stop all servers first: writes during the copy are lost. Agents and VMs continue; for agents the
    new database is the same store.
    """
    from lessor.store.engine import upkeep  # noqa: PLC0415 - as above

    source = _settings(config_file, state_dir, set_)
    print(f"{upkeep.copy(source, replace(source, connection=to))} rows copied")


@app.command()
def restored(
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    set_: processes.Set = None,
) -> None:
    """Declare the database restored from a back-up, so that agents reload everything.

    Run it before a server starts on the restored database. It is a precaution: a server detects a
    restored database itself, at its start or at the first request of an agent.
    """
    from lessor.store.engine import upkeep  # noqa: PLC0415 - as above

    print(f"new epoch {upkeep.restored(_settings(config_file, state_dir, set_))}")
