"""`lessor server` and `lessor agent`: start a process from its settings.

Modules of a process are imported when it starts: an agent imports no module of the server.
"""

from __future__ import annotations

import json as jsons
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lessor.cli import kinds
from lessor.cli.tour import host_text

if TYPE_CHECKING:
    from lessor.settings import AgentSettings, ServerSettings

ConfigFile = Annotated[
    list[Path] | None,
    typer.Option(
        "--config-file",
        metavar="FILE",
        help="Settings file; repeatable, later ones win. Default: /etc/lessor/lessor.conf if it "
        "exists. A nova.conf is accepted.",
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="Default: /var/lib/lessor.", resolve_path=True),
]
Debug = Annotated[bool, typer.Option("--debug", help="Log debug events.")]
Set = Annotated[
    list[Any] | None,
    typer.Option(
        "--set",
        parser=kinds.pair,
        metavar="NAME=VALUE",
        help="Sets an option of the settings file (SECTION.NAME outside DEFAULT); repeatable.",
    ),
]
Listen = Annotated[
    str | None, typer.Option(metavar="ADDRESS:PORT", help="Of the API. Default: 127.0.0.1:9696.")
]
AgentListen = Annotated[
    str | None, typer.Option(metavar="ADDRESS:PORT", help="For agents. Default: 127.0.0.1:9697.")
]
InsecureListen = Annotated[
    bool,
    typer.Option(
        "--insecure-listen",
        help="Let an API without authentication listen on other addresses than loopback.",
    ),
]

Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Server processes; more than 1 needs PostgreSQL."),
]

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

agent_app = typer.Typer(help="Run this host's agent (as root).")


def overrides(
    state_dir: Path | None,
    set_: list[tuple[str, str]] | None,
    *,
    debug: bool,
    **rest: object,
) -> dict[str, object]:
    """Return the options of the command line, by name; a dedicated option wins over --set."""
    own = {"state_dir": state_dir, "debug": debug or None, **rest}
    return dict(set_ or []) | {name: value for name, value in own.items() if value is not None}


def has_own(files: list[Path], given: dict[str, object]) -> bool:
    """Return whether a command that inspects a host has settings other than the state folder."""
    return bool(files or given.keys() - {"state_dir", "debug"})


def server_settings(
    files: list[Path] | None, given: dict[str, object], *, warn: bool = True
) -> ServerSettings:
    """Load a server's settings and set up its log; `warn` as for `load_server`."""
    from lessor import logs  # noqa: PLC0415 - only processes log
    from lessor.config.load import load_server  # noqa: PLC0415 - oslo.config loads slowly

    logs.setup(debug=bool(given.get("debug")))
    settings = load_server(files or (), given, warn=warn)
    logs.setup(debug=settings.debug)
    return settings


def agent_settings(
    files: list[Path] | None, given: dict[str, object], *, warn: bool = True
) -> AgentSettings:
    """Load an agent's settings and set up its log; `warn` as for `load_agent`."""
    from lessor import logs  # noqa: PLC0415 - only processes log
    from lessor.config.load import load_agent  # noqa: PLC0415 - oslo.config loads slowly

    logs.setup(debug=bool(given.get("debug")))
    settings = load_agent(files or (), given, warn=warn)
    logs.setup(debug=settings.debug)
    return settings


def server(  # noqa: PLR0917 - typer makes the options of the arguments
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    listen: Listen = None,
    agent_listen: AgentListen = None,
    insecure_listen: InsecureListen = False,
    workers: Workers = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Run the server: the API, the store, and the listener for agents."""
    given = overrides(
        state_dir,
        set_,
        debug=debug,
        listen=listen,
        agent_listen=agent_listen,
        insecure_listen=insecure_listen or None,
        workers=workers,
    )
    settings = server_settings(config_file, given)
    from lessor.api.server import serve  # noqa: PLC0415 - see the module's docstring

    serve(settings)


ServerUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="The server's listener for agents; several with commas between."
    ),
]
HostName = Annotated[str | None, typer.Option(help="Default: this machine's host name.")]


@agent_app.callback(invoke_without_command=True)
def agent(  # noqa: PLR0917 - as server
    context: typer.Context,
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    host: HostName = None,
    server_url: ServerUrl = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Run this host's agent (as root), or with `plan` only print its changes."""
    given = overrides(state_dir, set_, debug=debug, host=host, server_url=server_url)
    if context.invoked_subcommand is not None:
        context.obj = (config_file or [], given)
        return
    settings = agent_settings(config_file, given)
    from lessor.agent.main import serve  # noqa: PLC0415 - see the module's docstring

    serve(settings)


@agent_app.command()
def plan(  # noqa: PLR0917 - as server
    context: typer.Context,
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    host: HostName = None,
    server_url: ServerUrl = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Print the changes that the agent would make on this host now, without making them.

    It uses the last view and the settings of the agent that runs here, in any state folder. With
    other settings or settings files, it prints the changes of an agent with those. A line begins
    with + (created), ~ (replaced), - (deleted) or ! (an existing object that is broken, and why).
    Exit status 1 if the host differs from its desired state, or if no agent keeps that view up to
    date.
    """
    files, before = context.obj
    files = [*files, *(config_file or [])]
    given = before | overrides(state_dir, set_, debug=debug, host=host, server_url=server_url)
    settings = agent_settings(files, given)
    from lessor.agent.offline import plan as planned  # noqa: PLC0415 - see the module's docstring

    basis, changes = planned(settings, chosen="state_dir" in given, own=has_own(files, given))
    ok = basis.is_kept and not changes
    text = [basis.words(time.time()), *(changes or ["nothing: this host is as that view says"])]
    row = {"ok": ok, "view": asdict(basis), "changes": changes}
    print(jsons.dumps(row, indent=2) if json else "\n".join(text))
    if not ok:
        raise typer.Exit(1)


@agent_app.command()
def tour(  # noqa: PLR0917 - as server
    context: typer.Context,
    network: Annotated[str, typer.Argument(help="Name or id.")],
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare the desired and the actual state of a network on this host.

    It needs neither the server nor a running agent: it uses the last view and the settings of the
    agent that runs here, or ran last, unless other settings are given. Exit status 1 if an object
    is missing, or if no agent keeps that view up to date.
    """
    settings, given = _looking(context, config_file, overrides(state_dir, set_, debug=debug))
    from lessor.agent.offline import look_around  # noqa: PLC0415 - see the module's docstring

    basis, found = look_around(settings, network, **given)
    row = {"ok": found.ok and basis.is_kept, "view": asdict(basis), **asdict(found)}
    text = f"{basis.words(time.time())}\n{host_text(row)}"
    print(jsons.dumps(row, indent=2) if json else text)
    if not row["ok"]:
        raise typer.Exit(1)


@agent_app.command()
def reservations(  # noqa: PLR0917 - as server
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="Bridge, or id of a vxlan network.")],
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    set_: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the reservations that a DHCP server of this host has now: MAC and address.

    Exit status 1 if the server does not run.
    """
    settings, given = _looking(context, config_file, overrides(state_dir, set_, debug=debug))
    from lessor.agent.offline import reservations as held  # noqa: PLC0415 - see the docstring

    runs, found = held(settings, server, **given)
    rows = [{"mac_address": mac, "ip_address": address} for mac, address in found]
    text = [f"{mac} {address}" for mac, address in found]
    print(jsons.dumps(rows, indent=2) if json else "\n".join(text))
    if not runs:
        raise typer.Exit(1)


def _looking(
    context: typer.Context, config_file: list[Path] | None, options: dict[str, object]
) -> tuple[AgentSettings, dict[str, bool]]:
    """Return the settings of a command that looks at a host, and which of them were given."""
    files, before = context.obj
    files, given = [*files, *(config_file or [])], before | options
    told = {"chosen": "state_dir" in given, "own": has_own(files, given)}
    return agent_settings(files, given, warn=False), told


@agent_app.command()
def accept(
    context: typer.Context,
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Let the agent follow another store, and remove what this host serves for the former one."""
    files, before = context.obj
    given = before | overrides(state_dir, set_, debug=debug)
    settings = agent_settings([*files, *(config_file or [])], given, warn=False)
    from lessor.agent.offline import accept as accepted  # noqa: PLC0415 - see the module's docstring

    epoch = accepted(settings)
    typer.echo(
        f"the agent with state_dir {settings.state_dir} now follows the store {epoch} and removes "
        "what this host serves only for the former store",
        err=True,
    )
    print(epoch)
