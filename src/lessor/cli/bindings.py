"""`lessor port bind`, `activate` and `unbind`: live migration of a VM."""

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
    """Prepare a host for a VM's migration: its agent wires the tap.

    The agent also creates the tap if `lessor port plug` created the present one.
    """
    with ask.client(server) as api:
        found = api.find("ports", port)
        # a hypervisor that creates its own taps fails on an existing one
        profile = {name: v for name, v in found["binding:profile"].items() if name in MANAGED}
        row = api.bind(found["id"], host, profile)
    ask.print_row(row, json=json)


def activate(
    port: ask.Key,
    host: Target,
    server: ask.Server = ask.DEFAULT_SERVER,
    json: ask.Json = False,
) -> None:
    """Bind a port to a host prepared for it, after its VM has moved."""
    with ask.client(server) as api:
        row = api.activate(api.find("ports", port)["id"], host)
    ask.print_row(row, json=json)


def unbind(port: ask.Key, host: Target, server: ask.Server = ask.DEFAULT_SERVER) -> None:
    """Undo `bind`: the agent of that host removes the tap that it created."""
    with ask.client(server) as api:
        api.unbind(api.find("ports", port)["id"], host)
