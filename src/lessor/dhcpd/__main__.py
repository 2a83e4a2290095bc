"""The process: `python -P -m lessor.dhcpd HOME READY INBOX VERSION`.

The agent starts it (`lessor.dhcpd.client`), and it outlives the agent. It opens the sockets of its
servers as root, and has no rights from then on.
"""

from __future__ import annotations

import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

from lessor.daemon.control import close_all
from lessor.daemon.home import Home
from lessor.daemon.rights import Limits
from lessor.daemon.start import begin, confine, serve
from lessor.dhcpd.background import Background
from lessor.dhcpd.database import Database
from lessor.dhcpd.devices import Devices
from lessor.dhcpd.loop import Loop
from lessor.dhcpd.messages import Device
from lessor.dhcpd.reporter import Reporter
from lessor.dhcpd.servers import Servers
from lessor.dhcpd.sockets import Sockets, open_sockets
from lessor.errors import LessorError

USERS = ("lessor-dhcpd", "nobody")  # the first existing one is used
TABLE = "table"
# 65,000 reservations take 120 MB; two descriptors a server
LIMITS = Limits(memory=2 << 30, files=16_384, file_size=4 << 30)
# Descriptors below those of sockets, for the table. The kernel closes them in their order when the
# process ends, and packet sockets take it some ms each: a next process has the table before.
EARLY = 16
RARE = 1_000_000  # of the collector's second generations, before it looks at everything


def main(folder: str, ready: str, inbox: str, version: str) -> None:
    """Serve until the process is ended.

    Args:
        folder: of the process.
        ready: number of a descriptor that is closed once it serves.
        inbox: folder of the agent's inbox.
        version: of the program, for the agent.
    """
    begun = begin(Home(Path(folder)), int(ready), USERS)
    events = os.open(inbox, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    early = [os.open(inbox, os.O_PATH | os.O_CLOEXEC) for _ in range(EARLY)]
    opened = {name: _opened(device) for name, device in Devices(begun.home.folder).all()}
    close_all(early)
    confine(begun, LIMITS, [events])
    background = Background()
    servers = Servers(Database(Path(TABLE)), opened, background)
    loop = Loop(begun.listener, servers, Reporter(events), version)
    background.start()
    gc.freeze()
    gc.set_threshold(700, 10, RARE)
    serve(begun)
    loop.run()


def _opened(device: Device) -> Sockets | None:
    """Open the sockets of a server; None: there is no such interface now."""
    with suppress(OSError):
        return open_sockets(device)
    return None


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (LessorError, OSError) as error:
        sys.exit(str(error))
