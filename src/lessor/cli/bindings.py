"""`lessor port bind`, `activate` and `unbind`: a VM that moves while it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from lessor.cli import ask
from lessor.cli.plug import MANAGED

Target = Annotated[str, typer.Option(help="Name of the host.")]


def bind(
    port: ask.Key,
    host: Target,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Prepare a host for a VM that is to move there: its agent wires the tap.

    The agent makes the tap, too, if it is one that an agent made (`lessor port plug`).
    """
    with ask.client(server) as api:
        found = api.find("ports", port)
        # a hypervisor that makes its taps itself refuses one that is there
        profile = {name: v for name, v in found["binding:profile"].items() if name in MANAGED}
        row = api.bind(found["id"], host, profile)
    ask.print_row(row, json=json)


def activate(
    port: ask.Key,
    host: Target,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Bind a port to a host prepared for it: its VM is there now."""
    with ask.client(server) as api:
        row = api.activate(api.find("ports", port)["id"], host)
    ask.print_row(row, json=json)


def unbind(port: ask.Key, host: Target, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Have a host prepared for a port no longer: its agent removes the tap it made."""
    with ask.client(server) as api:
        api.unbind(api.find("ports", port)["id"], host)
