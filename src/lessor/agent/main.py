"""Makes the parts of an agent and runs them: `lessor agent`.

SIGTERM ends the process and nothing else: bridges, rules and DHCP servers go on serving.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version

import structlog

from lessor import systemd
from lessor.agent import presence
from lessor.agent.agent import Agent
from lessor.agent.dhcplog import label, log_incident
from lessor.agent.diagnosis.findings import Diagnosis
from lessor.agent.diagnosis.guide import Guide, Known
from lessor.agent.diagnosis.inspect import Inspector
from lessor.agent.diagnosis.inspection import Check
from lessor.agent.diagnosis.strays import Strays
from lessor.agent.host.run import run
from lessor.agent.kit import Kit, agent_kit, connection, folder, lease_parts
from lessor.agent.leases.forwarder import LeaseForwarder
from lessor.agent.noted import note
from lessor.agent.overlay import datapath_type
from lessor.agent.presence import Presence
from lessor.agent.server.client import Client
from lessor.agent.server.follow import Follower
from lessor.agent.server.holdings import Holder
from lessor.agent.server.identity import RunId, claim
from lessor.agent.server.owner import Guard, Owner
from lessor.agent.server.reporter import Reporter
from lessor.agent.server.viewstore import ViewStore
from lessor.agent.watchers import Task, watch_spool, watchers
from lessor.errors import Conflict, LessorError
from lessor.metadata.backend import Backend
from lessor.metadata.listeners import MetadataListeners
from lessor.metadata.messages import Settings
from lessor.metadata.port_lookup import Ports
from lessor.metadata.process import GuestProcess
from lessor.model import Report
from lessor.settings import AgentSettings


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


class _Run:
    """The parts of one run of an agent, in the order in which they need each other."""

    def __init__(self, settings: AgentSettings, name: socket.socket | None) -> None:
        own = folder(settings)
        self._settings = settings
        self._name = name
        self._log = structlog.get_logger().bind(host=settings.host)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lessor-host")
        self._client = connection(settings)
        self._run_id = RunId(own)
        self._leases = leases = lease_parts(settings)
        network_of = leases.blocks.network_of
        self._forwarder = LeaseForwarder(self._client, leases.book, network_of)
        holder = Holder(self._client, settings.host, leases.book, network_of)
        self._guard = Guard(Owner(run, settings.state_dir))
        self._follower = Follower(self._client, ViewStore(own), self._guard, meet=holder.tell)
        self._reporter = Reporter(
            self._client,
            _identity(settings, self._run_id),
            settings.report_interval,
            events_sent=lambda: not self._forwarder.pending(),
        )
        self._ports = Ports(lambda: self._follower.view)
        self._metadata = _guest_process(settings, self._client, self._ports)
        self._join()

    def _join(self) -> None:
        """Connect these parts; those of the host are connected later."""
        self._client.moved.subscribe(self._reporter.nudge)
        self._forwarder.sent.subscribe(self._reporter.nudge)
        self._reporter.confirmed.subscribe(self._run_id.confirm)
        self._follower.renewed.subscribe(self._reporter.forget)
        self._follower.changed.subscribe(self._send_waiting_events)

    async def main(self) -> None:
        """Run until a signal; a second agent of this host's name is refused before it acts."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, ended.set)
        listeners = MetadataListeners(self._metadata, loop, self._ports)
        kit = await loop.run_in_executor(self._thread, self._kit, listeners)
        try:
            for problem in kit.dhcp.problems():
                self._log.warning("dhcp servers", problem=problem)
            await self._introduce()
            await self._until(ended, self._tasks(kit))
        finally:
            await listeners.aclose()
            await self._client.close()
            if kit.overlay:
                kit.overlay.close()
            self._thread.shutdown(wait=True)
            kit.close()

    def _kit(self, metadata: MetadataListeners) -> Kit:
        """Make what touches the host, in the thread of the drivers."""
        return agent_kit(
            self._settings,
            self._leases,
            self._client,
            metadata,
            lambda server: label(self._follower.view, server),
        )

    def _tasks(self, kit: Kit) -> Sequence[Task]:
        settings, follower = self._settings, self._follower
        diagnosis = Diagnosis(settings, kit.overlay, lambda: follower.view, self._checks(kit))
        agent = Agent(
            settings,
            kit=kit,
            follower=follower,
            reporter=self._reporter,
            guard=self._guard,
            diagnosis=diagnosis,
            thread=self._thread,
        )
        guide = Guide(
            self._client,
            settings,
            self._leases.program.status,
            lambda: _known(follower, diagnosis),
        )
        agent.started.subscribe(systemd.say_ready)
        diagnosis.changed.subscribe(agent.look)
        follower.changed.subscribe(agent.look)
        follower.asked.subscribe(guide.ask)
        kit.dhcp.incidents.subscribe(partial(log_incident, settings.host))
        return [
            follower.run,
            agent.run,
            self._reporter.run,
            self._forwarder.run,
            guide.run,
            *diagnosis.tasks(),
            *watchers(kit, self._thread, agent.look),
            partial(watch_spool, self._leases.program.inbox.folder, self._forwarder.nudge),
            *(
                [partial(presence.answer, self._name, self._presence)]
                if self._name is not None
                else []
            ),
        ]

    def _checks(self, kit: Kit) -> Sequence[Check]:
        inspector = Inspector(self._settings, self._forwarder, self._leases.spool, kit.dhcp)
        return [
            *inspector.checks(),
            Strays().problems,
            lambda _: [self._metadata.problem] if self._metadata.problem else [],
        ]

    def _send_waiting_events(self) -> None:
        """Send lease events that waited for the server."""
        if self._follower.in_sync:
            self._forwarder.nudge()

    def _presence(self) -> Presence:
        stored = self._follower.stored
        return Presence(
            pid=os.getpid(),
            host=self._settings.host,
            state_dir=str(self._settings.state_dir),
            epoch=stored.view.epoch if stored else "",
            revision=stored.revision if stored else 0,
            answered_at=self._follower.answered_at,
            in_sync=self._follower.in_sync,
            problem=self._follower.problem,
        )

    async def _introduce(self) -> None:
        """Introduce this run before it touches the host; do not wait for an unreachable server."""
        try:
            await self._reporter.introduce()
        except Conflict:
            raise
        except LessorError as error:
            self._log.warning("server away", error=str(error))

    async def _until(self, ended: asyncio.Event, tasks: Sequence[Task]) -> None:
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
        self._log.info("agent ends", serving="its objects stay")


def _guest_process(settings: AgentSettings, client: Client, ports: Ports) -> GuestProcess:
    """Return the process that answers metadata requests; it isn't started yet."""
    backend = Backend(
        facts=client.metadata,
        set_password=client.set_password,
        ports=ports,
        settings=settings,
        clock=time.time,
    )
    serving = Settings(
        settings.dhcp_domain,
        use_forwarded_for=settings.use_forwarded_for,
        proxy=settings.metadata_mode == "proxy",
    )
    return GuestProcess(backend, serving)


def _identity(settings: AgentSettings, run_id: RunId) -> Report:
    """Return what never changes in a run."""
    mappings = settings.flat_mappings
    return Report(
        run_id=run_id.value,
        previous_run_id=run_id.confirmed,
        unconfirmed_run_ids=run_id.unconfirmed,
        started_at=time.time(),
        report_interval=settings.report_interval,
        version=version("lessor"),
        physical_networks=tuple(mapping.physical_network for mapping in mappings),
        network_host=settings.network_host and bool(mappings or settings.local_ip),
        local_ip=settings.local_ip,
        availability_zone=settings.availability_zone,
        datapath_type=datapath_type(settings) if settings.local_ip else "",
    )


def _known(follower: Follower, diagnosis: Diagnosis) -> Known | None:
    if follower.view is None or diagnosis.desired is None:
        return None
    return follower.view, diagnosis.desired
