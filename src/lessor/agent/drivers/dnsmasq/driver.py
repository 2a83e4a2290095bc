"""Runs a dnsmasq for each bridge or namespace, and loads its reservations.

Ours are the folders of `networks_path` with a `server.json`, and the dnsmasqs that read them.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from lessor.agent.drivers.dhcp import Incident, KnownLeases, Leases, ServerError
from lessor.agent.drivers.dnsmasq.context import DnsmasqContext
from lessor.agent.drivers.dnsmasq.folder import ServerFolder, our_folders
from lessor.agent.drivers.dnsmasq.hook import Hook
from lessor.agent.drivers.dnsmasq.inotify import make_room, make_room_for_files
from lessor.agent.drivers.dnsmasq.names import write_names
from lessor.agent.drivers.dnsmasq.probe import Prober
from lessor.agent.drivers.dnsmasq.process import Process, Scan, scan
from lessor.agent.drivers.dnsmasq.server import Server
from lessor.agent.drivers.dnsmasq.touch import Touches
from lessor.agent.drivers.exits import DeathWatch
from lessor.agent.host.run import Run
from lessor.core.diff import Changes, Unsound
from lessor.core.state import DhcpServer
from lessor.errors import Pending
from lessor.signal import Signal
from lessor.steps import tried

RUNTIME = Path("/run/lessor")
PEERS_S = 2.0  # between looks at what other servers of our networks gave
ASK_S = 2.0  # between two questions of a server for the leases of its peers
ASK_AT_ONCE = 20
AT_ONCE = 8  # servers changed at the same time: most of it is waiting for programs


def _name(server: DhcpServer) -> str:
    return server.name


class DnsmasqDriver:
    """The dnsmasqs of one host.

    Args:
        run: runs programs.
        root: `networks_path`; dnsmasq reads it as nobody.
        leases: the lease book.
        runtime: a folder on no disk: for the alarm of a hook that could not spool an event, and
            for the leases that a server starts with.
        hook: the program that dnsmasq calls, and its user.
        release: end the leases of removed reservations (force_dhcp_release).
        clock: seconds, monotonic.
        known: asks the store for the leases of other servers; None: there are none.
        label: names a server's networks, for messages.
        config_file: an operator's own settings of dnsmasq; "": none.
    """

    def __init__(
        self,
        run: Run,
        root: Path,
        leases: Leases,
        *,
        hook: Hook,
        runtime: Path = RUNTIME,
        release: bool = True,
        clock: Callable[[], float] = time.monotonic,
        known: KnownLeases | None = None,
        label: Callable[[DhcpServer], str] = _name,
        config_file: str = "",
    ) -> None:
        self.changed: Signal[[]] = Signal()
        self.incidents: Signal[[Incident]] = Signal()
        self._scans = _Scans()
        self._touches = Touches()
        self._context = DnsmasqContext(
            root=root,
            leases=leases,
            runtime=runtime,
            hook=hook,
            release=release,
            run=run,
            clock=clock,
            retired=[],
            scan=self._scans.get,
            watch=self._touches.follow,
            tell=self.incidents.emit,
            label=label,
            known=known,
            config_file=config_file,
        )
        self._servers: dict[str, Server] | None = None
        self._verify = False
        self._retired: list[Process] = []

    def observe(self) -> dict[str, DhcpServer | Unsound[DhcpServer]]:
        """Return our servers by name, with what each has loaded (`Server.seen`)."""
        self._scans.forget()
        tried(self._context.leases.catch_up)  # the forwarder reports a full disk
        servers = self._known()
        if self._context.leases.overran():
            for server in servers.values():
                server.report_lost_events()
        for server in servers.values():
            server.look(verify=self._verify)
        self._verify = False
        # until the store is unreachable
        all(server.fetch_peer_leases() for server in self._due_for_peer_leases(servers))
        return {name: server.seen() for name, server in servers.items()}

    def shares(self) -> bool:
        """Tell whether a server is one of several of its network."""
        return any(one.has_peers() for one in list((self._servers or {}).values()))

    def write_names(self) -> bool:
        """Write the names of new reservations; return whether there is something to observe."""
        news = [server.write_names() for server in (self._servers or {}).values()]
        return any(news)

    def verify(self) -> None:
        """Compare files and processes with what is loaded at the next `observe()`."""
        self._verify = True

    def problems(self) -> Sequence[str]:
        """Return why the hook is called with more rights than it needs, if it is."""
        return [self._context.hook.problem] if self._context.hook.problem else []

    async def run(self, thread: Executor) -> None:
        """Probe the servers, notice deaths, write names and ask for peers' leases, all the time."""
        look = self.changed.emit
        async with asyncio.TaskGroup() as group:
            group.create_task(Prober(lambda: dict(self._servers or {}), self._touches, look).run())
            group.create_task(DeathWatch(self.pidfds, look).run())
            group.create_task(write_names(self.write_names, thread, look))
            group.create_task(self._ask_peers())

    async def _ask_peers(self) -> None:
        """Look now and then while a server is one of several of its network.

        A lease of one of them is reported to the store by its host, and read there by the others: a
        client whose server dies renews at another that knows its lease.
        """
        while True:
            await asyncio.sleep(PEERS_S)
            if self.shares():
                self.changed.emit()

    def pidfds(self) -> Mapping[int, str]:
        """Return what becomes readable when a process of a server ends, with the server's name.

        A descriptor stays open until the next call but one, so that it can be given up in time.
        """
        for process in self._retired:
            process.close()
        self._retired = self._context.retired.copy()
        del self._context.retired[: len(self._retired)]
        running = [(name, one.process) for name, one in list((self._servers or {}).items())]
        return {pidfd: name for name, process in running if process for pidfd in process.pidfds}

    def apply(self, changes: Changes[DhcpServer]) -> None:
        """Start, change, reload and stop servers, independently of each other."""
        self._scans.forget()
        problems = self._bring_all(changes.create + changes.replace)
        problems += _at_once(self._delete, [(gone.name,) for gone in changes.delete])
        if problems:
            raise ExceptionGroup(f"{len(problems)} problems with DHCP servers", problems)

    def retire(self, name: str) -> None:
        """End a server that another program serves from now on; its leases stay.

        Raises:
            LessorError, OSError: it can't be ended.
        """
        self._scans.forget()
        servers = self._known()
        if name in servers:
            servers[name].retire()
            del servers[name]

    def servers(self) -> dict[str, DhcpServer]:
        """Return our servers by name, as they were loaded last."""
        return {name: server.loaded for name, server in self._known().items()}

    def _bring_all(self, wanted: tuple[DhcpServer, ...]) -> list[Exception]:
        """Bring servers to the desired state; if one fails, report what limits their number."""
        servers = self._known()
        todo = [(servers.setdefault(one.name, self._fresh(one)), one) for one in wanted]
        fresh = sum(server.process is None for server, _ in todo)
        limits = tried(lambda: make_room(len(self._scans.get()) + fresh)) if fresh else []
        limits += tried(lambda: make_room_for_files(len(servers))) if fresh else []
        problems = _at_once(_bring, todo)
        return limits + problems if problems else []

    def _due_for_peer_leases(self, servers: Mapping[str, Server]) -> list[Server]:
        """Return the servers that are to fetch leases of peers now: only so many at a time."""
        before = self._context.clock() - ASK_S
        due = [
            one for one in servers.values() if one.asked_at <= before and one.wants_peer_leases()
        ]
        return sorted(due, key=lambda server: server.asked_at)[:ASK_AT_ONCE]

    def _known(self) -> dict[str, Server]:
        """Return our servers; the first time, find those of an earlier agent."""
        if self._servers is None:
            self._servers = {}
            for name, folder in self._folders().items():
                header = folder.header()
                assert header is not None
                self._servers[name] = Server(self._context, folder, header)
                self._servers[name].adopt()
        return self._servers

    def _fresh(self, want: DhcpServer) -> Server:
        context = self._context
        folder = ServerFolder(context.root, want.name, context.hook, context.config_file)
        return Server(context, folder, want)

    def _folders(self) -> Mapping[str, ServerFolder]:
        context = self._context
        return our_folders(context.root, context.hook, context.config_file)

    def close(self) -> None:
        """Stop watching; the servers go on."""
        self._touches.close()
        running = [one.process for one in (self._servers or {}).values() if one.process]
        for process in (*running, *self._context.retired, *self._retired):
            process.close()
        self._servers = None
        self._context.retired.clear()
        self._retired.clear()

    def _delete(self, name: str) -> list[Exception]:
        servers = self._known()
        failed = tried(servers[name].remove) if name in servers else []
        if not failed:
            servers.pop(name, None)
        return _named(name, failed)


class _Scans:
    """The scan of all processes, made at most once a pass, at its first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scan: Scan | None = None

    def get(self) -> Scan:
        with self._lock:
            if self._scan is None:
                self._scan = scan()
            return self._scan

    def forget(self) -> None:
        self._scan = None


def _bring(server: Server, want: DhcpServer) -> list[Exception]:
    server.look(verify=False)
    return _named(want.name, server.bring(want))


def _named(name: str, problems: Iterable[Exception]) -> list[Exception]:
    """Return the problems with the server's name."""
    return [
        one if isinstance(one, Pending) else ServerError(str(one), key=name) for one in problems
    ]


def _at_once(step: Callable[..., list[Exception]], each: list[tuple[Any, ...]]) -> list[Exception]:
    """Run a step for each, several at the same time; return all failures."""
    if len(each) < 2:  # noqa: PLR2004 - one needs no threads
        return [problem for one in each for problem in step(*one)]
    with ThreadPoolExecutor(AT_ONCE, "lessor-dhcp") as pool:
        return list(chain.from_iterable(pool.map(step, *zip(*each, strict=True))))
