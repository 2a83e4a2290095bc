"""Runs a dnsmasq for each bridge and keeps it told of its reservations.

Ours are the folders of `networks_path` with a `server.json`, and the dnsmasqs that read them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from lessor.agent.drivers.dhcp import HOOK, Leases
from lessor.agent.drivers.dnsmasq_folder import ServerFolder, our_folders
from lessor.agent.drivers.dnsmasq_process import Process
from lessor.agent.drivers.dnsmasq_server import Ground, Server, tried
from lessor.agent.run import Run
from lessor.agent.spool import Spool
from lessor.core.diff import Changes
from lessor.core.state import DhcpServer

ALARMS = Path("/run/lessor/alarms")


class DnsmasqDriver:
    """The DHCP servers of one host.

    Args:
        run: runs programs.
        root: `networks_path`; dnsmasq reads it as nobody.
        spool: where the hook adds events.
        leases: the lease book of that spool.
        alarms: a folder on another file system than the spool's, where the hook says that it
            could not spool an event.
        hook: what dnsmasq calls.
        release: end the leases of reservations that are gone (force_dhcp_release).
        clock: seconds, never going back.
    """

    def __init__(
        self,
        run: Run,
        root: Path,
        spool: Spool,
        leases: Leases,
        *,
        alarms: Path = ALARMS,
        hook: Path = HOOK,
        release: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ground = Ground(root, spool.current, leases, alarms, hook, release, run, clock, [])
        self._servers: dict[str, Server] | None = None
        self._verify = False
        self._retired: list[Process] = []

    def observe(self) -> dict[str, DhcpServer]:
        """Return our servers by name, with what each has loaded (`Server.seen`)."""
        tried(self._ground.leases.catch_up)  # a full disk is told by who sends the leases
        servers = self._known()
        for server in servers.values():
            server.look(verify=self._verify)
        self._verify = False
        return {name: server.seen() for name, server in servers.items()}

    def verify(self) -> None:
        """Compare files and processes with what is believed at the next `observe()`."""
        self._verify = True

    def pidfds(self) -> Mapping[str, int]:
        """Return what becomes readable when a server dies, by its name.

        A descriptor stays open until the next call but one, so that it can be given up in time.
        """
        for process in self._retired:
            process.close()
        self._retired = self._ground.retired.copy()
        del self._ground.retired[: len(self._retired)]
        servers = self._servers or {}
        return {name: one.process.pidfd for name, one in servers.items() if one.process}

    def apply(self, changes: Changes[DhcpServer]) -> None:
        """Start, tell, reload and stop servers."""
        servers = self._known()
        self._ground.alarms.mkdir(parents=True, exist_ok=True)
        problems: list[Exception] = []
        for want in changes.create + changes.replace:
            server = servers.setdefault(want.name, self._fresh(want))
            server.look(verify=False)
            problems += server.bring(want)
        for gone in changes.delete:
            problems += tried(partial(self._delete, gone.name))
        if problems:
            raise ExceptionGroup(f"{len(problems)} problems with DHCP servers", problems)

    def _known(self) -> dict[str, Server]:
        """Return our servers; the first time, find those of an agent before us."""
        if self._servers is None:
            self._servers = {}
            for name, folder in our_folders(self._ground.root, self._ground.hook).items():
                header = folder.header()
                assert header is not None
                self._servers[name] = Server(self._ground, folder, header)
                self._servers[name].adopt()
        return self._servers

    def _fresh(self, want: DhcpServer) -> Server:
        folder = ServerFolder(self._ground.root, want.name, self._ground.hook)
        return Server(self._ground, folder, want)

    def _delete(self, name: str) -> None:
        server = self._known().get(name)
        if server is not None:
            server.remove()
            del self._known()[name]
