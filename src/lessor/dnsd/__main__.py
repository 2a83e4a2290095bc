"""The process: `python -P -m lessor.dnsd HOME READY VERSION`.

The agent starts it (`lessor.dnsd.client`), and it outlives the agent. It opens the sockets of its
servers as root, and has no rights from then on.
"""

from __future__ import annotations

import encodings.idna  # noqa: F401 - imported late by socket functions, when no file can be read
import gc
import resource
import socket
import sys
from contextlib import suppress
from pathlib import Path

from lessor.core.dns.resolvers import read_resolvers
from lessor.daemon.home import Home
from lessor.daemon.rights import Limits
from lessor.daemon.start import begin, confine, serve
from lessor.dnsd.control import Control
from lessor.dnsd.files import read
from lessor.dnsd.host import Host
from lessor.dnsd.loop import Loop
from lessor.dnsd.messages import Header
from lessor.dnsd.sockets import open_sockets
from lessor.dnsd.table import Table
from lessor.errors import LessorError

USERS = ("lessor-dnsd", "nobody")  # the first existing one is used
# 1,000 servers with upstream servers have 8,000 descriptors
LIMITS = Limits(memory=1 << 30, files=1 << 17, file_size=1 << 30)
RESOLV_CONF = Path("/etc/resolv.conf")


def main(folder: str, ready: str, version: str) -> None:
    """Serve until a signal ends the process.

    Args:
        folder: of the process.
        ready: number of a descriptor that is closed once it serves.
        version: of the program, for the agent.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(LIMITS.files, hard), hard))
    home = Home(Path(folder))
    begun = begin(home, int(ready), USERS)
    problems: list[str] = []
    opened = list(_open_all(home, problems))
    resolvers: tuple[str, ...] = ()
    with suppress(OSError, UnicodeDecodeError):
        resolvers = read_resolvers(RESOLV_CONF.read_text())
    confine(begun, LIMITS)
    loop = Loop()
    host = Host(loop, Table(Path("names.db")), problems=problems)
    host.resolvers = resolvers
    for header, sockets in opened:
        host.open(header, sockets)
    host.drop_others()
    Control(loop, begun.listener, host, version)
    gc.freeze()
    serve(begun)
    loop.run()  # until a signal ends the process: the table is whole at any time


def _open_all(home: Home, problems: list[str]) -> list[tuple[Header, list[socket.socket]]]:
    """Open the sockets of all servers; one that can't be opened is the agent's to repair."""
    opened = []
    for header in read(home.folder):
        if isinstance(header, str):
            problems.append(header)
            continue
        sockets: list[socket.socket] = []
        try:
            sockets = open_sockets(header.namespace, header.zone)
        except OSError as error:
            problems.append(f"{header.name}: {error}")
        opened.append((header, sockets))
    return opened


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (LessorError, OSError) as error:
        sys.exit(str(error))
