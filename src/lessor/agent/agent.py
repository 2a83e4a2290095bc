"""The loop of a host: takes the view, makes passes and sends reports.

Every event (an answer of the server, the timer, netlink, the death of a DHCP server) only means
*look again*: there is one path, `_pass`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor

import structlog

from lessor import model
from lessor.agent.diagnosis.findings import Diagnosis
from lessor.agent.host import unwritten
from lessor.agent.kinds import Event
from lessor.agent.kit import Kit
from lessor.agent.outcome import Outcome
from lessor.agent.passlog import PassLog
from lessor.agent.reconcile import Reconciler
from lessor.agent.retry import Retry
from lessor.agent.server.follow import Follower
from lessor.agent.server.owner import Guard
from lessor.agent.server.reporter import Reporter, Status
from lessor.agent.server.viewstore import StoredView
from lessor.core.diagnosis.problems import Concerned, Since, problem_of
from lessor.core.diff import as_read
from lessor.core.plan.desired import Desired
from lessor.core.plan.done import is_settled, networks_done
from lessor.core.plan.ready import Found, PortReports, flows_in_force
from lessor.core.plan.serving import Failure, Lasting, unserved
from lessor.model import View
from lessor.settings import AgentSettings
from lessor.signal import Signal

GUARDS = "nft bridge lessor"


class Agent:
    """One host's agent; `lessor.agent.main` makes its parts."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        kit: Kit,
        follower: Follower,
        reporter: Reporter,
        guard: Guard,
        diagnosis: Diagnosis,
        thread: Executor,
    ) -> None:
        """Join the parts.

        Args:
            settings: of this agent.
            kit: drivers, planner and leases.
            follower: has the view.
            reporter: takes the status.
            guard: marks the host as the store's.
            diagnosis: finds what is wrong on the host beyond what drivers report.
            thread: the one thread in which drivers are called.
        """
        self._settings = settings
        self._follower = follower
        self._reporter = reporter
        self._guard = guard
        self._diagnosis = diagnosis
        self._leases = kit.leases
        self._thread = thread
        self._planner = kit.planner
        self._port_reports = PortReports()
        self._reconciler = Reconciler(kit.kinds)
        self._blocks: tuple[model.HostBlock, ...] | None = None  # of this host, not by us
        self.started: Signal[[]] = Signal()  # the first pass is over
        self._look = asyncio.Event()
        self._events: set[Event] = set()  # since the last pass
        self._retry = Retry()
        self._put_back = 0
        self._since = Since()
        self._lasting = Lasting()
        self._passlog = PassLog(structlog.get_logger().bind(host=settings.host))

    def look(self, *events: Event) -> None:
        """Look at the host again soon; at the kinds that these events wake in any case."""
        self._events.update(events)
        self._look.set()

    async def run(self) -> None:
        """Reconcile until cancelled; the host is left serving."""
        retry_s = self._settings.resync_interval
        due = time.monotonic()
        started = False
        while True:
            now = time.monotonic()
            full = now >= due
            if full:
                due = now + self._settings.resync_interval
            retry_s = await self._once(full=full)
            if not started:
                started = True
                self.started.emit()
            try:
                async with asyncio.timeout(max(0.0, min(retry_s, due - time.monotonic()))):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def _once(self, *, full: bool) -> float:
        """Make one pass and report it; return the seconds until the next one."""
        self._look.clear()
        stored = self._follower.stored
        if stored is None:
            waits = model.Problem(text=self._follower.problem, waits=True)
            self._reporter.say(Status(problems=self._since.stamped([waits], time.time())))
            return self._settings.resync_interval
        events, self._events = self._events, set()
        started = time.monotonic()
        desired, outcome = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._pass, stored.view, events, full
        )
        self._follower.passed()
        self._put_back += len(outcome.put_back)
        self._passlog.tell(outcome, time.monotonic() - started)
        self._passlog.tell_unwritten(unwritten.problems())
        self._reporter.say(self._status(stored, desired, outcome))
        retry_s = self._retry.after(outcome.problems, self._settings.resync_interval)
        return min(retry_s, self._diagnosis.again_s or retry_s)

    def _pass(self, view: View, events: set[Event], full: bool) -> tuple[Desired, Outcome]:
        if full or self._blocks is None:
            self._blocks = self._planner.look().blocks
        desired = self._planner.plan(view, changed=bool(events))
        self._diagnosis.desired = desired
        self._leases.blocks.add(desired.state.dhcp_servers.values())
        if full:
            unwritten.retry()
            if view.scopes:
                self._guard.keep(view.epoch, look=True)
            self._reconciler.verify()
            self._reconciler.suspect()
        elif events:
            self._reconciler.suspect(events)
        outcome = self._reconciler.apply(desired.state)
        if not view.scopes and not outcome.problems:
            self._guard.keep("", look=full)
        self._diagnosis.look(desired, full=full)
        return desired, outcome

    def _status(self, stored: StoredView, desired: Desired, outcome: Outcome) -> Status:
        view = stored.view
        actual = self._reconciler.actual
        rules = actual("rulesets")
        found = Found(
            bridges={name: as_read(one) for name, one in actual("bridges").items()},
            taps=actual("taps"),
            own={*actual("addresses"), *actual("dhcp_devices")},
            servers={name: as_read(one) for name, one in actual("dhcp_servers").items()},
            guarded=rules.get(GUARDS) == desired.state.rulesets.get(GUARDS),
            ovs_ports=actual("ovs_ports"),
            flows=flows_in_force(
                desired.state.flows,
                actual("flows"),
                desired.state.ovs_ports,
                actual("ovs_ports"),
                [problem.key for problem in outcome.of("flows")],
            ),
            problems={problem.key: problem.message for problem in outcome.problems},
            bridge_problems={p.key: p.message for p in outcome.of("bridges")},
        )
        failures = [Failure(p.kind, p.key, p.message, p.pending) for p in outcome.problems]
        return Status(
            epoch=view.epoch,
            in_sync=self._follower.in_sync,
            ports=self._port_reports.of(desired.plans, found),
            applied=networks_done(view, desired, failures),
            settled=stored.revision if is_settled(failures) else 0,
            problems=self._since.stamped(self._problems(desired, outcome), time.time()),
            unserved=self._unserved(desired, failures),
            blocks=self._blocks or (),
            counts={
                "networks": len(view.scopes),
                "ports": len(desired.state.taps),
                "dhcp_servers": len(actual("dhcp_servers")),
                "leases": self._leases.book.count(),
                "put_back": self._put_back,
                **self._diagnosis.counts(),
            },
        )

    def _unserved(self, desired: Desired, failures: Sequence[Failure]) -> dict[str, str]:
        now = unserved(desired, failures, self._settings.integration_bridge)
        return self._lasting.of(now, time.monotonic())

    def _problems(self, desired: Desired, outcome: Outcome) -> list[model.Problem]:
        """Return all present problems, each with the networks and ports it concerns."""
        found = [
            *([self._follower.problem] if self._follower.problem else ()),
            *unwritten.problems(),
            *desired.problems,
            *self._diagnosis.problems(),
        ]
        if not found and not outcome.problems:
            return []
        concerned = Concerned(desired)
        return [concerned.named(problem_of(one)) for one in found] + [
            concerned.named(model.Problem(text=one.message, waits=one.pending), one.key)
            for one in outcome.problems
        ]
