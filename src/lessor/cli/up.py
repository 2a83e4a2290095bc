"""`lessor up`: runs the server and the agent of one machine as two child processes."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessor.cli import ask, processes
from lessor.errors import Conflict, LessorError, Unavailable

if TYPE_CHECKING:
    from lessor.settings import AgentSettings, ServerSettings

POLL_S = 0.05
USUAL_TOKEN_FILE = Path("/var/lib/lessor/agent-token")  # the default of token_file
STOP_S = 15  # a child that has not ended so long after SIGTERM is killed


def up(  # noqa: PLR0917 - typer makes the options of the arguments
    config_file: processes.ConfigFile = None,
    state_dir: processes.StateDir = None,
    host: processes.HostName = None,
    listen: processes.Listen = None,
    agent_listen: processes.AgentListen = None,
    set_: processes.Set = None,
    debug: processes.Debug = False,
) -> None:
    """Run the server and the agent of one machine (as root), with SQLite in the state folder.

    Ends when one of them ends. DHCP servers, bridges and rules on this host stay in service.
    """
    given = processes.overrides(
        state_dir, set_, debug=debug, host=host, listen=listen, agent_listen=agent_listen
    )
    server = processes.server_settings(config_file, given, warn=False)
    given |= own_server(server)
    agent = processes.agent_settings(config_file, given, warn=False)
    given["token_file"] = ensure_token(server, agent)
    options = [f"--config-file={file}" for file in config_file or ()]
    options += [f"--set={name}={value}" for name, value in given.items()]
    ask.note(introduction(server, agent))
    address = server.agent_listen
    ended = asyncio.run(
        run_both(["server", *options], ["agent", *options], ready=lambda: answers(address))
    )
    if ended:
        raise LessorError(ended)


def own_server(server: ServerSettings) -> dict[str, object]:
    """Return the agent's settings for the server of the same machine.

    The certificate's name is not verified: the server is on this machine.
    """
    address, port = server.agent_listen
    if server.agent_tls is None:
        return {"server_url": f"http://{address}:{port}"}
    return {"server_url": f"https://{address}:{port}", "server_insecure": True}


def introduction(server: ServerSettings, agent: AgentSettings) -> str:
    """Return the first lines of output: URLs, folders, bridges."""
    address, port = server.listen
    url = f"http{'s' if server.tls else ''}://{address}:{port}"
    lines = [f"lessor on {agent.host}: API at {url}, state in {server.state_dir}"]
    lines += [
        f"{m.physical_network}: bridge {m.bridge}"
        + (f" over {m.interface}" if m.interface else ", on this host only")
        for m in server.flat_mappings
    ]
    if not server.flat_mappings:
        lines.append(
            "no flat_network_bridge is set, and there is no default: flat networks can't be "
            "created (lessor up --set flat_network_bridge=br100)"
        )
    lines.append(f"try: lessor status{'' if url == ask.DEFAULT_SERVER else f' --server {url}'}")
    return "\n".join(lines)


def token_files(server: ServerSettings, agent: AgentSettings) -> list[Path]:
    """Return the files that may have this host's token; a new token is written to the last one.

    The default is beside the store: the usual file may have the token of another store, whose agent
    serves this host.
    """
    if agent.token_file != USUAL_TOKEN_FILE:
        return [agent.token_file]
    return list(dict.fromkeys([agent.token_file, server.state_dir / USUAL_TOKEN_FILE.name]))


def ensure_token(server: ServerSettings, agent: AgentSettings) -> Path:
    """Add this host to the store and write its agent's token, unless both exist.

    Returns:
        The file with the token.

    Raises:
        Conflict: the store has this host, but with another token.
        Unavailable: the file can't be written; the host is then not added.
    """
    from lessor.store.hosts import rules, tokens  # noqa: PLC0415 - only here does the CLI need it
    from lessor.store.store import Store  # noqa: PLC0415 - as above

    store = Store.open(server)
    try:
        for file in token_files(server, agent):
            if file.is_file() and tokens.host_of(store, file.read_text().strip()) == agent.host:
                return file
        if any(known.name == agent.host for known in store.hosts.find()):
            raise Conflict(
                f"{file} has no token of host {agent.host}, which is in the store: write the right "
                f"one there, or run `lessor server` and `lessor host delete {agent.host}`"
            )
        _, token = store.write(rules.create, agent.host)
        try:
            write_secret(file, token + "\n")
        except Unavailable:
            store.write(rules.remove, agent.host)
            raise
        return file
    finally:
        store.close()


def write_secret(file: Path, text: str) -> None:
    """Write a file atomically, readable by its owner only.

    Raises:
        Unavailable: it can't be written.
    """
    try:
        _write_secret(file, text)
    except OSError as error:
        room = f"; make room on the disk of {file.parent}" if error.errno == errno.ENOSPC else ""
        raise Unavailable(f"can't write {file}: {error.strerror}{room}") from error


def _write_secret(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(file)


def answers(address: tuple[str, int]) -> bool:
    """Return whether a program listens at an address of this host."""
    host, port = address
    try:
        socket.create_connection(("127.0.0.1" if host == "0.0.0.0" else host, port), 1).close()  # noqa: S104 - that means any
    except OSError:
        return False
    return True


async def run_both(
    first: Sequence[str], second: Sequence[str], *, ready: Callable[[], bool]
) -> str:
    """Run two commands of this program until one ends or a signal arrives; then end the other.

    Args:
        first: arguments of the first command.
        second: arguments of the second command, started when the first is `ready`.
        ready: polled until it returns True.

    Returns:
        The command that ended by itself, with its status; "" after a signal.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    children = {first[0]: await _start(first)}
    waits: list[asyncio.Task[Any]] = [asyncio.create_task(stopping.wait())]
    try:
        waits.append(asyncio.create_task(children[first[0]].wait()))
        while not ready() and not any(wait.done() for wait in waits):  # noqa: ASYNC110 - no event
            await asyncio.sleep(POLL_S)
        if not any(wait.done() for wait in waits):
            children[second[0]] = await _start(second)
            waits.append(asyncio.create_task(children[second[0]].wait()))
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        ended = [name for name, child in children.items() if child.returncode is not None]
    finally:
        await asyncio.gather(*(_end(child) for child in children.values()))
    if stopping.is_set() or not ended:
        return ""
    status = children[ended[0]].returncode
    others = "".join(f", so {name} was stopped" for name in children if name not in ended)
    return f"{ended[0]} has ended (status {status}){others}; its log is above"


async def _start(command: Sequence[str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "lessor.cli.main", *command)


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.terminate()
    try:
        await asyncio.wait_for(child.wait(), STOP_S)
    except TimeoutError:
        child.kill()
        await child.wait()
