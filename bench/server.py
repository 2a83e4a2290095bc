"""A real `lessor server` on loopback, with a folder of its own that goes with it."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.http1 import Connect, Connection, request, tcp
from lessor.lab.wait import wait_for

LESSOR = str(Path(sys.executable).with_name("lessor"))
START_S = 30
STOP_S = 20


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    pid: int
    connect: Connect
    connect_agent: Connect
    folder: Path


@contextmanager
def running(connection: str = "") -> Iterator[Server]:
    """Start a server on an empty store and end it behind us.

    Args:
        connection: URL of the database; "" is SQLite in a folder that goes with the server.

    Raises:
        RuntimeError: it ended at once; the message has its words.
    """
    with tempfile.TemporaryDirectory(prefix="lessor-bench-") as name:
        folder = Path(name)
        api, agents = free_port(), free_port()
        argv = [LESSOR, "server", "--state-dir", str(folder / "state")]
        argv += ["--listen", f"127.0.0.1:{api}", "--agent-listen", f"127.0.0.1:{agents}"]
        argv += ["--set", "flat_network_bridge=br100", "--set", "flat_interface=eth1"]
        if connection:
            argv += ["--set", f"database.connection={connection}"]
        with (folder / "log").open("wb") as log, subprocess.Popen(argv, stderr=log) as process:
            try:
                users, hosts = (tcp(("127.0.0.1", port)) for port in (api, agents))
                server = Server(process.pid, users, hosts, folder)
                wait_for(lambda: process.poll() is not None or healthy(server.connect), START_S)
                if process.poll() is not None:
                    raise RuntimeError(f"lessor server ended: {(folder / 'log').read_text()}")
                yield server
            finally:
                process.terminate()
                process.wait(STOP_S)


def healthy(connect: Connect) -> bool:
    """Return whether a server answers."""
    try:
        connection = Connection(connect)
    except OSError:
        return False
    try:
        return bool(connection.call(request("GET", "/healthz")))
    except OSError:
        return False
    finally:
        connection.close()


def free_port() -> int:
    """Return a free TCP port of loopback."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port
