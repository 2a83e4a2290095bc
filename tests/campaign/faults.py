"""Makes the faults of a schedule on a lab, and undoes them."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from lessor.errors import LessorError, NotFound
from lessor.lab import clock, ovs, partitions
from lessor.lab.cabling import SERVER as ADDRESS
from lessor.lab.disks import SmallDisk
from lessor.lab.lab import Lab
from lessor.lab.process import Process, is_alive
from lessor.lab.services import AGENT, LESSOR, SERVER
from tests.campaign.history import FaultRun, History
from tests.campaign.schedule import OTHER, Fleet, Step
from tests.postgres import Cluster

API, OTHER_API, OTHER_AGENTS = 9696, 9796, 9797
OFFSETS_S = (-600, -30, 30, 600)
AGENT_RESTARTS = 3
LOOK_S = 0.5
Undo = Callable[[], None]
Program = tuple[str, str]  # node, and what the lab calls it

NO_DATABASE = "can't open the database of [database] connection"


class Programs:
    """Knows which programs should run; one that ended by itself is recorded and started again."""

    def __init__(self, lab: Lab, history: History, fleet: Fleet) -> None:
        self._lab, self._history = lab, history
        self._all = [(host, what) for host in fleet.hosts for what in (AGENT, *ovs.DAEMONS)]
        self._all += [(SERVER, name) for name in fleet.servers]
        self._down: dict[Program, int] = {}
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="programs", daemon=True)

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def down(self, node: str, what: str) -> None:
        """Expect a program not to run."""
        with self._lock:
            self._down[node, what] = self._down.get((node, what), 0) + 1

    def up(self, node: str, what: str) -> None:
        """Start a program that was ended, and expect it to run; as systemd, don't wait for it."""
        with self._lock:
            self._down[node, what] -= 1
            if not self._down[node, what] and not self._lab.is_running(node, what):
                self.start(node, what)

    def back(self, node: str, what: str) -> None:
        """Expect a program to run that somebody else started."""
        with self._lock:
            self._down[node, what] -= 1

    def start(self, node: str, what: str) -> None:
        if what == OTHER:
            self._lab.spawn(
                SERVER, OTHER, *clock.program(self._lab.node(SERVER), LESSOR), "server",
                "--config-file", "/etc/lessor/lessor.conf",
                "--listen", f"127.0.0.1:{OTHER_API}", "--agent-listen", f"{ADDRESS}:{OTHER_AGENTS}",
            )  # fmt: skip
        elif what in {AGENT, SERVER}:
            self._lab._launch(node, what)
        else:
            self._lab.start(node, what)

    def missing(self) -> list[str]:
        """Name what should run and doesn't."""
        with self._lock:
            expected = [one for one in self._all if not self._down.get(one)]
            return [
                f"{what} on {node}"
                for node, what in expected
                if not self._lab.is_running(node, what)
            ]

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            for node, what in self._all:
                with self._lock:
                    if not self._down.get((node, what)) and not self._lab.is_running(node, what):
                        self._note(node, what)

    def _note(self, node: str, what: str) -> None:
        words = self._lab.node(node).last_words(what)
        if (
            NO_DATABASE not in words[-600:]
        ):  # it was started while PostgreSQL was away: as systemd, again
            self._history.gone.append(
                f"{what} on {node} ended at {time.monotonic():.1f}: {words[-600:]}"
            )
        try:
            self.start(node, what)
        except LessorError as error:
            self._history.gone.append(f"{what} on {node} could not be started again: {error}")


class Faults:
    """Makes faults."""

    def __init__(
        self, lab: Lab, programs: Programs, fleet: Fleet, disks: Mapping[str, SmallDisk],
        postgres: Cluster | None,
    ) -> None:  # fmt: skip
        self._lab, self._programs, self._fleet = lab, programs, fleet
        self._disks, self._postgres = disks, postgres
        self._makers: dict[str, Callable[[Step], Undo]] = {
            "server killed": lambda step: self._killed(SERVER, step.target),
            "server stopped": lambda step: self._stopped(SERVER, step.target, step),
            "server's disk full": self._disk_full,
            "agent killed": lambda step: self._killed(step.target, AGENT),
            "agent stopped": lambda step: self._stopped(step.target, AGENT, step),
            "agent restarted, server away": self._restarted_alone,
            "agent's disk full": self._disk_full,
            "dnsmasq killed": lambda step: self._dnsmasq(step, "KILL", helper=False),
            "dnsmasq's helper killed": lambda step: self._dnsmasq(step, "KILL", helper=True),
            "dnsmasq stopped": lambda step: self._dnsmasq(step, "STOP", helper=False),
            "ovs-vswitchd killed": lambda step: self._killed(step.target, ovs.SWITCH),
            "ovs-vswitchd stopped": lambda step: self._paused(step.target, ovs.SWITCH),
            "ovsdb-server killed": lambda step: self._killed(step.target, ovs.SERVER),
            "ovsdb-server stopped": lambda step: self._paused(step.target, ovs.SERVER),
            "power off": self._power_off,
            "host cut off from server": lambda step: self._cut("eth0", (step.target, SERVER), (SERVER, step.target)),
            "host's words lost": lambda step: self._cut("eth0", (step.target, SERVER)),
            "server's words lost": lambda step: self._cut("eth0", (SERVER, step.target)),
            "underlay cut": lambda step: self._cut("eth2", _pair(step), _pair(step)[::-1]),
            "underlay cut one way": lambda step: self._cut("eth2", _pair(step)),
            "clock stepped": self._clock,
            "postgresql restarted": lambda _: self._database(signal.SIGINT),
            "postgresql crashed": lambda _: self._database(signal.SIGQUIT),
        }  # fmt: skip

    def make(self, step: Step, history: History, over: threading.Event) -> None:
        """Make a fault, let it be, undo it, and record it."""
        over.wait(step.after_s)
        began = time.monotonic()
        try:
            undo = self._makers[step.kind](step)
            over.wait(step.lasts_s)
            undo()
        except Exception as error:  # noqa: BLE001 - it must stand in the report, not in a thread
            history.broken.append(f"{step.kind} of {step.target}: {error!r}")
        run = FaultRun(step.kind, step.target, step.hosts, began, time.monotonic())
        history.faults.append(run)

    def _killed(self, node: str, what: str) -> Undo:
        self._programs.down(node, what)
        with contextlib.suppress(NotFound):
            self._lab.kill(node, what)
        return lambda: self._programs.up(node, what)

    def _stopped(self, node: str, what: str, step: Step) -> Undo:
        """It goes on afterwards; or is killed, as by a watchdog."""
        resume = self._paused(node, what)
        if round(step.lasts_s * 10) % 3:
            return resume

        def kill() -> None:
            undo = self._killed(node, what)
            undo()

        return kill

    def _paused(self, node: str, what: str) -> Undo:
        with contextlib.suppress(NotFound):
            self._lab.kill(node, what, "STOP")

        def resume() -> None:
            with contextlib.suppress(NotFound):
                self._lab.kill(node, what, "CONT")

        return resume

    def _restarted_alone(self, step: Step) -> Undo:
        """The agent is started again and again while no server answers."""
        undo = [self._killed(SERVER, name) for name in self._fleet.servers]
        for _ in range(AGENT_RESTARTS):
            self._killed(step.target, AGENT)()
            threading.Event().wait(step.lasts_s / AGENT_RESTARTS)

        def start() -> None:
            for one in undo:
                one()

        return start

    def _dnsmasq(self, step: Step, how: str, *, helper: bool) -> Undo:
        node = self._lab.node(step.target)
        mains, helpers = pairs(node.find("dnsmasq"), node.proc)
        found = helpers if helper else mains
        if not found:
            return lambda: None
        chosen = found[round(step.lasts_s * 10) % len(found)]
        node.kill(chosen, how)

        def resume() -> None:
            node.kill(chosen, "CONT")

        return resume

    def _power_off(self, step: Step) -> Undo:
        host = step.target
        for what in (AGENT, *ovs.DAEMONS):
            self._programs.down(host, what)
        self._lab.power_off(host)

        def on() -> None:
            self._lab.power_on(host, wait=False)
            for what in (AGENT, *ovs.DAEMONS):
                self._programs.back(host, what)

        return on

    def _disk_full(self, step: Step) -> Undo:
        disk = self._disks[step.target]
        disk.fill()
        return disk.free

    def _cut(self, nic: str, *ways: tuple[str, str]) -> Undo:
        for source, destination in ways:
            partitions.block(self._lab, source, destination, nic)

        def heal() -> None:
            for source, destination in ways:
                partitions.unblock(self._lab, source, destination, nic)

        return heal

    def _clock(self, step: Step) -> Undo:
        node = self._lab.node(step.target)
        what = SERVER if step.target == SERVER else AGENT
        if not clock.has_clock(node):
            clock.step(node, 0)
            self._killed(step.target, what)()
        clock.step(node, OFFSETS_S[round(step.lasts_s * 10) % len(OFFSETS_S)])
        return lambda: clock.step(node, 0)

    def _database(self, how: signal.Signals) -> Undo:
        assert self._postgres
        self._postgres.stop(how)
        return self._postgres.start


def _pair(step: Step) -> tuple[str, str]:
    one, other = step.target.split()
    return one, other


def pairs(found: list[Process], proc: Path) -> tuple[list[Process], list[Process]]:
    """Tell main processes of dnsmasq, and the helpers that they started."""
    pids = {process.pid for process in found}
    parents = {process: _parent(process, proc) for process in found if is_alive(process, proc)}
    helpers = [process for process, parent in parents.items() if parent in pids]
    return [process for process in parents if process not in helpers], helpers


def _parent(process: Process, proc: Path) -> int:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        stat = (proc / str(process.pid) / "stat").read_text()
        return int(stat.rpartition(")")[2].split()[1])
    return 0
