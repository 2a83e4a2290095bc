"""Makes the pieces of an agent and runs them: `lessor agent`, `lessor agent plan`.

SIGTERM ends the process and nothing else: bridges, rules and DHCP servers go on serving.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import structlog

from lessor import systemd
from lessor.agent import presence
from lessor.agent.agent import DHCP_KINDS, NETLINK_KINDS, Agent
from lessor.agent.around import Surroundings
from lessor.agent.basis import Basis, basis, located
from lessor.agent.dhcplog import label, log_incident
from lessor.agent.diagnosis.drops import DropWatch
from lessor.agent.diagnosis.guide import Guide, Known
from lessor.agent.diagnosis.inspect import Inspector
from lessor.agent.diagnosis.inspection import Inspection
from lessor.agent.diagnosis.paths import PathProbe
from lessor.agent.diagnosis.strays import Strays
from lessor.agent.diagnosis.tour import tour
from lessor.agent.diagnosis.tunnels import TunnelWatch
from lessor.agent.drivers.dnsmasq.hook import Hook, hook
from lessor.agent.host.run import run
from lessor.agent.host.wake import FolderWatch
from lessor.agent.host.watch import NetlinkWatch
from lessor.agent.kinds import Drivers, make
from lessor.agent.leases.forwarder import LeaseForwarder
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.spool import Spool
from lessor.agent.leases.whereabouts import Whereabouts
from lessor.agent.noted import note
from lessor.agent.overlay import (
    DEVICE_KINDS,
    OVS_KINDS,
    Overlay,
    Plans,
    datapath_type,
    watch_namespaces,
)
from lessor.agent.owner import Guard, Owner
from lessor.agent.presence import Presence
from lessor.agent.reconcile import Reconciler
from lessor.agent.server import follow
from lessor.agent.server.client import Client
from lessor.agent.server.follow import Follower
from lessor.agent.server.holdings import Holder
from lessor.agent.server.identity import RunId, claim
from lessor.agent.server.reporter import Reporter
from lessor.agent.server.viewstore import ViewStore
from lessor.core.diff import Changes
from lessor.errors import Conflict, LessorError, NotFound
from lessor.metadata.backend import Backend
from lessor.metadata.listeners import MetadataListeners
from lessor.metadata.messages import Settings
from lessor.metadata.ports import Ports
from lessor.metadata.process import GuestProcess
from lessor.model import HostTour, Report, View
from lessor.settings import AgentSettings
from lessor.tls import trust


def folder(settings: AgentSettings) -> Path:
    """Return where an agent keeps what only it needs."""
    return settings.state_dir / "agent"


def lease_hook(settings: AgentSettings) -> Hook:
    """Make ready what dnsmasq calls with lease events.

    Its folder is not below that of the agent, which nobody else may enter.
    """
    return hook(settings.state_dir / "hook", folder(settings) / "spool", settings.dhcpbridge)


def serve(settings: AgentSettings) -> None:
    """Run an agent until SIGTERM or SIGINT.

    Raises:
        Conflict: another agent runs on this host, has this state folder or this host's name; or
            the host serves another store.
    """
    name = presence.claim()
    lock = claim(folder(settings))
    note(folder(settings), settings)
    gc.collect()
    gc.freeze()  # what the imports made stays: a full collection that walks it takes 0.1 s
    try:
        asyncio.run(_Run(settings, name).main())
    finally:
        if lock is not None:
            os.close(lock)


def plan(
    settings: AgentSettings, *, chosen: bool = False, own: bool = False
) -> tuple[Basis, list[str]]:
    """Return what an agent would change on this host for its last view, a line a thing.

    Args:
        settings: of this call.
        chosen: whether `state_dir` was given for this call; else the running agent's is taken.
        own: whether other settings were; else all of the running agent's are taken.

    Raises:
        NotFound: this host never had a view.
    """
    settings = located(settings, chosen=chosen, own=own)
    place = folder(settings)
    known, kept = basis(settings)
    called = lease_hook(settings)
    spool = Spool(place / "spool", called.inbox)
    drivers = make(
        settings,
        place,
        hook=called,
        book=LeaseBook(place / "leases", spool),
        metadata=Nowhere(),
        reachable=_client(settings).reachable,
    )
    kinds = [kind for kind in drivers.kinds if kind.field != "metadata"]
    changes = Reconciler(kinds).plan(Plans(settings, drivers.overlay).desired(kept.view).state)
    drivers.close()
    return known, [line for kind, found in changes.items() for line in _lines(kind, found)]


def look_around(
    settings: AgentSettings, network: str, *, chosen: bool = False, own: bool = False
) -> tuple[Basis, HostTour]:
    """Return how a network is on this host, by the last view; the agent needn't run.

    Args:
        settings: of this call.
        network: its id or name.
        chosen: as for `plan`.
        own: as for `plan`.

    Raises:
        NotFound: this host never had a view, or it doesn't have the network.
    """
    settings = located(settings, chosen=chosen, own=own)
    place = folder(settings)
    known, kept = basis(settings)
    found = [key for key, scope in kept.view.scopes.items() if network in {key, scope.network.name}]
    if len(found) != 1:
        many = f"; {len(found)} have that name, give an id" if found else ""
        raise NotFound(f"this host's view has no one network {network}{many}")
    overlay = Overlay(settings, place) if settings.local_ip else None
    desired = Plans(settings, overlay).desired(kept.view)
    pieces = tour(found[0], kept.view, desired, settings, run)
    if overlay:
        overlay.close()
    return known, HostTour(host=settings.host, pieces=pieces)


def accept(settings: AgentSettings) -> str:
    """Believe the store that was last offered and not believed; return its epoch.

    Raises:
        NotFound: none was.
    """
    epoch = follow.accept(folder(settings))
    if epoch is None:
        raise NotFound("no other store was offered: the agent follows the one it knows")
    return epoch


def _client(settings: AgentSettings) -> Client:
    """Return the line to the servers."""
    urls, token = settings.server_url, settings.token_file
    if not any(url.startswith("https:") for url in urls):
        return Client(urls, token)
    files = (settings.server_cafile, settings.server_certfile, settings.server_keyfile)
    return Client(urls, token, trust(*files, insecure=settings.server_insecure))


class Nowhere:
    """Stands for a driver of things that live in the agent's own process: here, none do."""

    def observe(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def apply(self, changes: Changes[Any]) -> None:
        """Do nothing."""


class _Run:
    """One run of an agent."""

    def __init__(self, settings: AgentSettings, name: socket.socket | None) -> None:
        self._settings = settings
        self._name = name
        self._folder = folder(settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lessor-host")
        self._client = _client(settings)
        self._hook = lease_hook(settings)
        self._spool = Spool(self._folder / "spool", self._hook.inbox)
        self._book = LeaseBook(self._folder / "leases", self._spool)
        self._where = Whereabouts(self._folder / "blocks.json")
        self._run_id = RunId(self._folder)
        self._follower: Follower | None = None
        self._ports = Ports(self._view)
        self._metadata = self._guest_process()
        self._log = structlog.get_logger().bind(host=settings.host)

    async def main(self) -> None:
        """Run until a signal; a second agent of this host's name is refused before it acts."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        listeners = MetadataListeners(self._metadata, loop, self._ports)
        drivers = await loop.run_in_executor(self._thread, self._drivers, listeners)
        try:
            await self._serve(drivers, ended)
        finally:
            await listeners.aclose()
            await self._client.close()
            if drivers.overlay:
                drivers.overlay.close()
            self._thread.shutdown(wait=True)
            drivers.close()

    async def _serve(self, drivers: Drivers, ended: asyncio.Event) -> None:
        forwarder = LeaseForwarder(self._client, self._book, self._where.network_of)
        guard = Guard(Owner(run, self._settings.state_dir))
        follower = self._follower = Follower(self._client, ViewStore(self._folder), guard)
        reporter = Reporter(
            self._client,
            self._identity(),
            self._settings.report_interval,
            events_sent=lambda: not forwarder.pending(),
            confirmed=self._run_id.confirm,
        )
        forwarder.sent = reporter.nudge
        self._client.moved = reporter.nudge
        follower.renewed = reporter.forget
        holder = Holder(self._client, self._settings.host, self._book, self._where.network_of)
        follower.met = holder.tell
        for problem in drivers.dhcp.problems():
            self._log.warning("dhcp servers", problem=problem)
        await self._introduce(reporter)
        dropped = DropWatch(self._settings, drivers.overlay, lambda: agent.desired)
        agent = Agent(
            self._settings,
            planner=Plans(
                self._settings,
                drivers.overlay,
                Surroundings(self._settings, lambda: self._client.addresses),
            ),
            kinds=drivers.kinds,
            follower=follower,
            reporter=reporter,
            verify=drivers.verify,
            own=lambda epoch, look: guard.keep(epoch, look=look),
            inspection=Inspection(
                [
                    *Inspector(self._settings, forwarder, self._spool, drivers.dhcp).checks(),
                    Strays().problems,
                    lambda _: [self._metadata.problem] if self._metadata.problem else [],
                ]
            ),
            counts=dropped.counts,
            book=self._book,
            where=self._where,
            thread=self._thread,
        )
        agent.dropped = dropped.problems
        agent.ready = systemd.say_ready
        dropped.changed = agent.look

        def followed() -> None:
            agent.look()
            if follower.in_sync:  # lease events that waited for the server go now
                forwarder.nudge()

        follower.changed = followed
        drivers.dhcp.incidents.subscribe(partial(log_incident, self._settings.host))
        drivers.dhcp.changed.subscribe(lambda: agent.look(*DHCP_KINDS))
        guide = Guide(self._client, self._settings, lambda: _known(follower, agent))
        follower.asked = guide.ask
        overlay = drivers.overlay
        device_kinds = DEVICE_KINDS if overlay else ()
        tasks = [
            follower.run,
            agent.run,
            reporter.run,
            forwarder.run,
            guide.run,
            dropped.run,
            NetlinkWatch(lambda: agent.look(*NETLINK_KINDS, *device_kinds)).run,
            lambda: drivers.dhcp.run(self._thread),
            lambda: self._watch_spool(forwarder),
        ]
        if self._name is not None:
            name = self._name
            tasks.append(lambda: presence.answer(name, lambda: self._present(follower)))
        if overlay:
            tasks += self._probes(follower, agent, overlay)
            tasks.append(lambda: overlay.watch(lambda: agent.look(*OVS_KINDS)))
            tasks.append(lambda: overlay.alive.run(lambda: agent.look(*OVS_KINDS)))
            tasks.append(lambda: watch_namespaces(lambda: agent.look(*DEVICE_KINDS)))
        await self._until(ended, tasks)

    def _probes(
        self, follower: Follower, agent: Agent, overlay: Overlay
    ) -> list[Callable[[], Any]]:
        """Return what watches tunnels and their paths; the agent says what they find."""
        own = self._settings.local_ip
        assert own is not None

        def view() -> View | None:
            return follower.kept.view if follower.kept else None

        probe = PathProbe(own, view, agent.look)
        tunnels = TunnelWatch(own, self._settings.vxlan_udp_port, view, overlay, agent.look)
        agent.narrow = lambda: (*tunnels.problems(), *probe.problems())
        return [probe.run, tunnels.run]

    def _present(self, follower: Follower) -> Presence:
        kept = follower.kept
        return Presence(
            pid=os.getpid(),
            host=self._settings.host,
            state_dir=str(self._settings.state_dir),
            epoch=kept.view.epoch if kept else "",
            revision=kept.revision if kept else 0,
            answered_at=follower.answered_at,
            in_sync=follower.in_sync,
            problem=follower.problem,
        )

    async def _until(self, ended: asyncio.Event, tasks: list[Callable[[], Any]]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                running = [group.create_task(task()) for task in tasks]
                await ended.wait()
                for task in running:
                    task.cancel()
        except ExceptionGroup as errors:
            refused, others = errors.split(Conflict)
            if refused and not others:
                raise refused.exceptions[0] from None
            raise
        self._log.info("agent ends", serving="what it made goes on")

    async def _introduce(self, reporter: Reporter) -> None:
        """Say who we are before anything is touched; a server that is away doesn't hold us up."""
        try:
            await reporter.introduce()
        except Conflict:
            raise
        except LessorError as error:
            self._log.warning("server away", error=str(error))

    async def _watch_spool(self, forwarder: LeaseForwarder) -> None:
        watch = FolderWatch(self._hook.inbox.folder)
        try:
            while True:
                await watch.changed()
                forwarder.nudge()
        finally:
            watch.close()

    def _drivers(self, listeners: MetadataListeners) -> Drivers:
        return make(
            self._settings,
            self._folder,
            hook=self._hook,
            book=self._book,
            metadata=listeners,
            reachable=self._client.reachable,
            known_leases=self._client.known_leases,
            label=lambda server: label(self._view(), server),
        )

    def _view(self) -> View | None:
        kept = self._follower.kept if self._follower else None
        return kept.view if kept else None

    def _guest_process(self) -> GuestProcess:
        """Return the process that answers metadata requests; it isn't started yet."""
        settings = self._settings
        backend = Backend(
            facts=self._client.metadata,
            set_password=self._client.set_password,
            ports=self._ports,
            settings=settings,
            clock=time.time,
        )
        serving = Settings(
            settings.dhcp_domain,
            use_forwarded_for=settings.use_forwarded_for,
            proxy=settings.metadata_mode == "proxy",
        )
        return GuestProcess(backend, serving)

    def _identity(self) -> Report:
        mappings = self._settings.flat_mappings
        return Report(
            run_id=self._run_id.value,
            previous_run_id=self._run_id.confirmed,
            unconfirmed_run_ids=self._run_id.unconfirmed,
            started_at=time.time(),
            report_interval=self._settings.report_interval,
            version=version("lessor"),
            physical_networks=tuple(mapping.physical_network for mapping in mappings),
            network_host=self._settings.network_host and bool(mappings or self._settings.local_ip),
            local_ip=self._settings.local_ip,
            availability_zone=self._settings.availability_zone,
            datapath_type=datapath_type(self._settings) if self._settings.local_ip else "",
        )


def _known(follower: Follower, agent: Agent) -> Known | None:
    if follower.kept is None or agent.desired is None:
        return None
    return follower.kept.view, agent.desired


def _lines(kind: str, changes: Changes[Any]) -> Iterable[str]:
    for sign, values in (("+", changes.create), ("~", changes.replace), ("-", changes.delete)):
        for value in values:
            shown = (f"{f.name}={_short(getattr(value, f.name))}" for f in fields(value))
            yield f"{sign} {kind} {' '.join(shown)}"


def _short(value: object) -> str:
    text = str(value) if not isinstance(value, dict | tuple) else f"({len(value)})"
    lines = text.splitlines()
    return text if len(lines) <= 1 else f"({len(lines)} lines)"
