"""The shell on a host: joins the view, the reconciler, the DHCP servers' events and the reports.

Everything that happens (an answer of the server, the timer, netlink, the end of a DHCP server) only
means *look again*: there is one path, `_pass`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor

import structlog

from lessor.agent.follow import Follower
from lessor.agent.leasebook import LeaseBook
from lessor.agent.overlay import Plans
from lessor.agent.reconcile import Kind, Outcome, Problem, Reconciler, put_back
from lessor.agent.reporter import Reporter, Status
from lessor.agent.retry import Retry
from lessor.agent.whereabouts import Whereabouts
from lessor.core.desired import Desired
from lessor.core.ready import Found, PortReports, flows_in_force
from lessor.model import View
from lessor.settings import AgentSettings

# a bridge that was made anew leaves the sockets of both servers on the former one
NETLINK_KINDS = (
    *("sysctls", "bridges", "dhcp_devices", "addresses"),
    *("dhcp_servers", "metadata", "taps", "ovs_ports"),
)
OVS_KINDS = ("ovs_bridges", "ovs_ports", "flows")
DHCP_KINDS = ("dhcp_servers",)
GUARDS = "nft bridge lessor"


class Agent:
    """One host's agent, once its pieces are made (see `lessor.agent.main`)."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        planner: Plans,
        kinds: list[Kind],
        follower: Follower,
        reporter: Reporter,
        verify: Callable[[], None],
        inspect: Callable[[Desired], Iterable[str]],
        counts: Callable[[], Mapping[str, int]],
        book: LeaseBook,
        where: Whereabouts,
        thread: Executor,
    ) -> None:
        """Join the pieces.

        Args:
            settings: of this agent.
            planner: says what the host should have.
            kinds: what it takes care of, in order of creation.
            follower: has the view.
            reporter: takes the status.
            verify: has what drivers believe compared with what there is at the next look.
            inspect: finds what is wrong on the host beyond our own things, in words.
            counts: what else is counted on this host.
            book: of leases.
            where: learns which network an address of a DHCP server belongs to.
            thread: the one thread in which drivers are called.
        """
        self._settings = settings
        self._follower = follower
        self._reporter = reporter
        self._verify = verify
        self._inspect = inspect
        self._counts = counts
        self._book = book
        self._where = where
        self._thread = thread
        self._planner = planner
        self._port_reports = PortReports()
        self._reconciler = Reconciler(kinds)
        self.desired: Desired | None = None  # what the last pass wanted
        self.narrow: Callable[[], Iterable[str]] = list  # paths between tunnel ends, in words
        self._look = asyncio.Event()
        self._suspects: set[str] = set()
        self._found: tuple[str, ...] = ()
        self._retry = Retry()
        self._put_back = 0
        self._warned: dict[tuple[str, str], str] = {}
        self._log = structlog.get_logger().bind(host=settings.host)

    def look(self, *kinds: str) -> None:
        """Look at the host again soon; at these kinds even if nothing else was desired of them."""
        self._suspects.update(kinds)
        self._look.set()

    async def run(self) -> None:
        """Reconcile until cancelled; the host is left serving."""
        retry_s = self._settings.resync_interval
        due = time.monotonic()
        while True:
            now = time.monotonic()
            full = now >= due
            if full:
                due = now + self._settings.resync_interval
            retry_s = await self._once(full=full)
            try:
                async with asyncio.timeout(max(0.0, min(retry_s, due - time.monotonic()))):
                    await self._look.wait()
            except TimeoutError:
                pass

    async def _once(self, *, full: bool) -> float:
        """Make one pass, and say how it went; return the seconds until the next is wanted."""
        self._look.clear()
        kept = self._follower.kept
        if kept is None:
            self._reporter.say(Status(problems=(self._follower.problem,)))
            return self._settings.resync_interval
        suspects, self._suspects = self._suspects, set()
        started = time.monotonic()
        desired, outcome = await asyncio.get_running_loop().run_in_executor(
            self._thread, self._pass, kept.view, suspects, full
        )
        self._tell(outcome, time.monotonic() - started)
        self._reporter.say(self._status(kept.view, kept.owed, desired, outcome))
        return self._retry.after(outcome.problems, self._settings.resync_interval)

    def _pass(self, view: View, suspects: set[str], full: bool) -> tuple[Desired, Outcome]:
        desired = self.desired = self._planner.desired(view)
        self._where.learn(desired.state.dhcp_servers.values())
        if full:
            self._verify()
            self._reconciler.suspect()
        elif suspects:
            self._reconciler.suspect(tuple(suspects))
        outcome = self._reconciler.apply(desired.state)
        if full:
            self._found = tuple(self._inspect(desired))
        return desired, outcome

    def _tell(self, outcome: Outcome, took_s: float) -> None:
        for kind, changes in outcome.changed.items():
            self._log.info(
                "applied",
                kind=kind,
                created=len(changes.create),
                replaced=len(changes.replace),
                deleted=len(changes.delete),
                took_ms=round(took_s * 1000),
            )
        for kind, names in put_back(outcome):
            self._put_back += 1
            self._log.warning("put back", kind=kind, names=names, why="somebody else changed it")
        standing = {(p.kind, p.key): p for p in outcome.problems}
        for key, problem in standing.items():
            if self._warned.get(key) != problem.message:
                self._warn(problem)
        self._warned = {key: problem.message for key, problem in standing.items()}

    def _warn(self, problem: Problem) -> None:
        words = "pending" if problem.pending else "apply failed"
        say = self._log.info if problem.pending else self._log.warning
        say(words, kind=problem.kind, name=problem.key, error=problem.message)

    def _status(
        self, view: View, owed: dict[str, int], desired: Desired, outcome: Outcome
    ) -> Status:
        actual = self._reconciler.actual
        rules = actual("rulesets")
        found = Found(
            bridges=actual("bridges"),
            taps=actual("taps"),
            addresses=actual("addresses").keys(),
            servers=actual("dhcp_servers"),
            guarded=rules.get(GUARDS) == desired.state.rulesets.get(GUARDS),
            ovs_ports=actual("ovs_ports"),
            flows=flows_in_force(
                desired.state.flows, actual("flows"), desired.state.ovs_ports, actual("ovs_ports")
            ),
            devices=actual("dhcp_devices").keys(),
            problems={problem.key: problem.message for problem in outcome.problems},
            bridge_problems={p.key: p.message for p in outcome.of("bridges")},
        )
        problems = (
            *((self._follower.problem,) if self._follower.problem else ()),
            *desired.problems,
            *self._found,
            *self.narrow(),
            *(problem.message for problem in outcome.problems),
        )
        return Status(
            epoch=view.epoch,
            in_sync=self._follower.in_sync,
            ports=self._port_reports.of(desired.parts, desired.overlay, found),
            applied=_applied(view, owed, desired, outcome),
            problems=tuple(dict.fromkeys(problems)),
            counts={
                "networks": len(view.scopes),
                "ports": len(desired.state.taps),
                "dhcp_servers": len(actual("dhcp_servers")),
                "leases": self._book.count(),
                "put_back": self._put_back,
                **self._counts(),
            },
        )


def _applied(
    view: View, owed: dict[str, int], desired: Desired, outcome: Outcome
) -> dict[str, int]:
    """Return the networks that are done here, each with the revision up to which it is.

    A network is done when nothing of its DHCP server waits or failed: what was removed is then out
    of the server, and its lease was ended or is known to be alive.
    """
    unsettled = {problem.key for problem in outcome.of("dhcp_servers")}
    waiting = {part.network.id for part in desired.parts if part.bridge.name in unsettled}
    waiting |= {part.network_id for part in desired.overlay if part.network_id in unsettled}
    done = {key: s.revision for key, s in view.scopes.items() if key not in waiting}
    unknown = "" in unsettled or bool(outcome.of("addresses"))
    return {} if unknown else done | (owed if not unsettled else {})
