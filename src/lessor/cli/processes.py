"""`lessor server`, `lessor agent`: one process each, from its settings.

What a process needs is imported when it starts: an agent loads nothing of the server.
"""

from __future__ import annotations

import json as jsons
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
        help="Settings; repeatable, later ones win. Default: /etc/lessor/lessor.conf if it is "
        "there. A nova.conf will do.",
    ),
]
StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", help="Default: /var/lib/lessor.", resolve_path=True),
]
Debug = Annotated[bool, typer.Option("--debug", help="Log more.")]
Set = Annotated[
    list[Any] | None,
    typer.Option(
        "--set",
        parser=kinds.pair,
        metavar="NAME=VALUE",
        help="Any option of the settings file (SECTION.NAME outside of DEFAULT); repeatable.",
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
        help="Let an API that asks nobody who he is listen beyond loopback.",
    ),
]

Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Server processes; more than 1 needs PostgreSQL."),
]

agent_app = typer.Typer(help="Run this host's agent (as root).")


def overrides(
    state_dir: Path | None,
    set_: list[tuple[str, str]] | None,
    *,
    debug: bool,
    **rest: object,
) -> dict[str, object]:
    """Return what the command line says, by option name; options of their own win over --set."""
    own = {"state_dir": state_dir, "debug": debug or None, **rest}
    return dict(set_ or []) | {name: value for name, value in own.items() if value is not None}


def server_settings(
    files: list[Path] | None, said: dict[str, object], *, warn: bool = True
) -> ServerSettings:
    """Load a server's settings and set up its log; `warn` as for `load_server`."""
    from lessor import logs  # noqa: PLC0415 - only processes log
    from lessor.config.load import load_server  # noqa: PLC0415 - oslo.config loads slowly

    logs.setup(debug=bool(said.get("debug")))
    settings = load_server(files or (), said, warn=warn)
    logs.setup(debug=settings.debug)
    return settings


def agent_settings(
    files: list[Path] | None, said: dict[str, object], *, warn: bool = True
) -> AgentSettings:
    """Load an agent's settings and set up its log; `warn` as for `load_agent`."""
    from lessor import logs  # noqa: PLC0415 - only processes log
    from lessor.config.load import load_agent  # noqa: PLC0415 - oslo.config loads slowly

    logs.setup(debug=bool(said.get("debug")))
    settings = load_agent(files or (), said, warn=warn)
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
    said = overrides(
        state_dir,
        set_,
        debug=debug,
        listen=listen,
        agent_listen=agent_listen,
        insecure_listen=insecure_listen or None,
        workers=workers,
    )
    settings = server_settings(config_file, said)
    from lessor.api.server import serve  # noqa: PLC0415 - see the module's words

    serve(settings)


ServerUrl = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="Where the server listens for agents; several with commas between."
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
    """Run this host's agent (as root), or with `plan` only say what it would do."""
    said = overrides(state_dir, set_, debug=debug, host=host, server_url=server_url)
    if context.invoked_subcommand is not None:
        context.obj = (config_file or [], said)
        return
    settings = agent_settings(config_file, said)
    from lessor.agent.main import serve  # noqa: PLC0415 - see the module's words

    serve(settings)


@agent_app.command()
def plan(  # noqa: PLR0917 - as server
    context: typer.Context,
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    host: HostName = None,
    server_url: ServerUrl = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Say what the agent would change on this host now, and change nothing."""
    files, before = context.obj
    said = before | overrides(state_dir, set_, debug=debug, host=host, server_url=server_url)
    settings = agent_settings([*files, *(config_file or [])], said)
    from lessor.agent.main import plan as planned  # noqa: PLC0415 - see the module's words

    print(planned(settings) or "nothing: this host is as it should be")


@agent_app.command()
def tour(  # noqa: PLR0917 - as server
    context: typer.Context,
    network: Annotated[str, typer.Argument(help="Name or id.")],
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    set_: Set = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Walk through a network on this host: what should be there, and whether it is.

    It needs neither the server nor a running agent. Exit status 1 if a piece is missing.
    """
    files, before = context.obj
    said = before | overrides(state_dir, set_, debug=debug)
    settings = agent_settings([*files, *(config_file or [])], said, warn=False)
    from lessor.agent.main import look_around  # noqa: PLC0415 - see the module's words

    found = look_around(settings, network)
    row = {"ok": found.ok, **asdict(found)}
    print(jsons.dumps(row, indent=2) if json else host_text(row))
    if not found.ok:
        raise typer.Exit(1)


@agent_app.command()
def accept(
    context: typer.Context,
    config_file: ConfigFile = None,
    state_dir: StateDir = None,
    set_: Set = None,
    debug: Debug = False,
) -> None:
    """Let the agent believe another store that takes away most of what this host serves."""
    files, before = context.obj
    said = before | overrides(state_dir, set_, debug=debug)
    settings = agent_settings([*files, *(config_file or [])], said, warn=False)
    from lessor.agent.main import accept as accepted  # noqa: PLC0415 - see the module's words

    print(accepted(settings))
