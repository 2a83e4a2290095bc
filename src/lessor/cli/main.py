"""The program `lessor`: joins all commands and prints errors.

Exit status: 0 done, 1 refused (the reason is on standard error), 2 wrong usage or settings.
"""

from __future__ import annotations

import errno
import sys
from importlib.metadata import version
from typing import Annotated

import typer

from lessor.cli import (
    address_scopes,
    addresses,
    db,
    hosts,
    instances,
    leases,
    networks,
    ports,
    processes,
    quotas,
    settings,
    status,
    subnetpools,
    subnets,
    up,
)
from lessor.errors import ConfigError, LessorError
from lessor.lab.cli import app as lab_app
from lessor.printable import printable

REFUSED, WRONG_USAGE = 1, 2
NOUNS = {
    "host": hosts.app,
    "network": networks.app,
    "subnet": subnets.app,
    "subnetpool": subnetpools.app,
    "address-scope": address_scopes.app,
    "port": ports.app,
    "quota": quotas.app,
    "lease": leases.app,
    "address": addresses.app,
    "instance": instances.app,
}


def program() -> typer.Typer:
    """Return all commands."""
    app = typer.Typer(
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"token_normalize_func": dashed},
    )
    app.callback()(the_program)
    run, look = "Run", "Look"
    app.command(rich_help_panel=run)(up.up)
    app.command(rich_help_panel=run)(processes.server)
    app.add_typer(processes.agent_app, name="agent", rich_help_panel=run)
    app.command(rich_help_panel=look)(status.status)
    for noun, commands in NOUNS.items():
        app.add_typer(commands, name=noun, rich_help_panel="Change and list")
    app.add_typer(settings.app, name="config", rich_help_panel=look)
    app.add_typer(db.app, name="db", rich_help_panel=look)
    app.add_typer(lab_app, name="lab", rich_help_panel=run)
    return app


def show_version(asked: bool) -> None:
    """Print the version and exit, if `asked`."""
    if asked:
        print(f"lessor {version('lessor')}")
        raise typer.Exit


def the_program(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Networks and DHCP addresses for virtual machines, on one host or a fleet."""


def dashed(word: str) -> str:
    """Accept nova-manage's option names: --fixed_range_v4 is --fixed-range-v4."""
    return word.replace("_", "-")


def main() -> None:
    """Run the command of the command line."""
    try:
        program()()
    except LessorError as error:
        for line in str(error).splitlines():
            print(f"lessor: {printable(line)}", file=sys.stderr)
        sys.exit(WRONG_USAGE if isinstance(error, ConfigError) else REFUSED)
    except OSError as error:
        hint = "; run it as root" if isinstance(error, PermissionError) else ""
        if error.errno == errno.ENOSPC:
            hint = "; make room: df shows which disk is full"
        print(f"lessor: {error}{hint}", file=sys.stderr)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
