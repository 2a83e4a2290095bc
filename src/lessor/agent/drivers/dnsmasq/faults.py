"""The faults of one running dnsmasq: the prober finds them, the driver repairs them.

The prober runs in the event loop, the driver in its own thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from lessor.agent.drivers.dhcp import Incident
from lessor.agent.drivers.dnsmasq.context import DnsmasqContext
from lessor.agent.drivers.dnsmasq.folder import ServerFolder
from lessor.agent.drivers.dnsmasq.process import Process
from lessor.core.dnsmasq.verdict import Cause
from lessor.core.state import DhcpServer, Reservation

NAMED = 5  # reservations in one line of the log


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a process."""

    process: Process
    cause: Cause
    why: str


class Health:
    """The findings about one server.

    Args:
        context: shared by all servers of the host.
        folder: of the server.
    """

    def __init__(self, context: DnsmasqContext, folder: ServerFolder) -> None:
        self._context = context
        self._folder = folder
        self._event = ""  # of the log, once it serves again; "": nothing was wrong
        self._fields: Mapping[str, object] = {}
        self._since = 0.0
        self._fault: Fault | None = None
        self._lock = threading.Lock()  # of what the prober and the driver both change
        self._touched: set[str] = set()
        self._restarted_for: frozenset[Cause] = frozenset()
        self.unproven: Reservation | None = None  # loaded since the last answer; asked for soon

    def record(self, fault: Fault) -> bool:
        """Record a fault; return whether it is new."""
        with self._lock:
            before, self._fault = self._fault, fault
        return before is None or (before.process, before.cause) != (fault.process, fault.cause)

    def clear(self, *causes: Cause) -> bool:
        """Record an answer, which disproves these causes; return whether one of them stood."""
        with self._lock:
            self._restarted_for -= frozenset(causes)
            if self._fault is None or self._fault.cause not in causes:
                return False
            self._fault = None
            return True

    def touch(self, file: str) -> None:
        """Record a foreign change of a file."""
        with self._lock:
            self._touched.add(file)

    def refill(self) -> None:
        """Record that all files are about to be written, which undoes foreign changes."""
        with self._lock:
            self._touched = set()

    def stop_reason(self, process: Process, loaded: DhcpServer, *, alive: bool) -> str:
        """Return why this process must be replaced, "" if it must not; it is logged once."""
        if not (alive and process.reports()):
            return self._down("dhcp server died", process.end(), loaded)
        fault = self._of(process)
        if fault and self._may_restart(fault):
            with self._lock:
                self._restarted_for |= {fault.cause}
            return self._down("dhcp server does not answer", fault.why, loaded)
        with self._lock:
            touched, self._touched = self._touched, set()
        return self.overwritten(sorted(touched), loaded) if touched else ""

    def overwritten(self, files: list[str], loaded: DhcpServer) -> str:
        """Record which files have foreign changes; return the reason of the repair."""
        lost = self._folder.lost(loaded)
        shown = [f"{one.mac} {one.address} (port {one.port_id})" for one in lost[:NAMED]]
        more = [f"and {len(lost) - NAMED} more"] if len(lost) > NAMED else []
        why = "somebody else changed the files of dnsmasq"
        self._note("dhcp server files put back", {"files": files, "lost": shown + more, "why": why})
        return why

    def complaint(self, process: Process | None, loaded: DhcpServer) -> str:
        """Return the fault of this process that no restart repairs, "" if there is none."""
        fault = self._of(process) if process else None
        if fault is None or self._may_restart(fault):
            return ""
        return f"dnsmasq of {self._context.label(loaded)}, pid {fault.process.pid}: {fault.why}"

    def is_hung(self, process: Process) -> bool:
        """Tell whether a process has a fault, so that its end is not awaited for long."""
        return self._of(process) is not None

    def serves(self, loaded: DhcpServer) -> None:
        """Record that it serves; the fault that it had before is logged."""
        if self._event:
            took = round(self._context.clock() - self._since, 3)
            self._tell(self._event, loaded, {**self._fields, "after_s": took})
        self._event = ""

    def _down(self, event: str, why: str, loaded: DhcpServer) -> str:
        self._tell(event, loaded, {"why": why})
        self._note("dhcp server restarted", {"why": why})
        return why

    def _note(self, event: str, fields: Mapping[str, object]) -> None:
        self._event, self._fields, self._since = event, fields, self._context.clock()

    def _tell(self, event: str, loaded: DhcpServer, fields: Mapping[str, object]) -> None:
        self._context.tell(Incident(event, loaded.name, self._context.label(loaded), fields))

    def _of(self, process: Process) -> Fault | None:
        fault = self._fault
        return fault if fault and fault.process is process else None

    def _may_restart(self, fault: Fault) -> bool:
        """Tell whether a restart may help: not after one for the same cause did not."""
        again = fault.cause in self._restarted_for
        return fault.cause.restart or (fault.cause.restart_once and not again)
