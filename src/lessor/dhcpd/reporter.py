"""Reports lease events to the agent: lines that are added to its inbox.

The file is opened, written and closed once for all events of a round, since the agent takes it only
when nobody has it open. What can't be written waits in memory: the last event of an address counts.
"""

from __future__ import annotations

import os
import time
from socket import inet_ntoa

from lessor.core.dhcp.leases import Action, Event
from lessor.core.lease_line import NONE, lease_line

FILE = "current"
MAX_WAITING = 100_000  # events: 30 MB
WORDS = {
    Action.GRANTED: "add",
    Action.RENEWED: "old",
    Action.RELEASED: "del",
    Action.DECLINED: "del",
    Action.EXPIRED: "del",
}
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC


class Reporter:
    """The inbox of one agent.

    Args:
        folder: descriptor of the inbox's folder.

    Attributes:
        problem: why events wait; "": none does.
        lost: events that found no room in memory.
    """

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self._fresh: list[tuple[str, bytes, str]] = []  # server, address, line
        self._waiting: dict[tuple[str, bytes], str] = {}
        self.problem = ""
        self.lost = 0

    @property
    def waiting(self) -> int:
        """The number of events that could not be written."""
        return len(self._waiting)

    def add(self, server: str, event: Event, hostname: str) -> None:
        """Add an event; `flush` writes it.

        Args:
            server: its name.
            event: what became of a lease.
            hostname: of the client, as lines have it.
        """
        action, address, mac, client_id, until, _ = event
        line = lease_line(
            server,
            time.clock_gettime(time.CLOCK_BOOTTIME),
            WORDS[action],
            mac.hex(":"),
            inet_ntoa(address),
            int(until) if until and action is not Action.DECLINED else 0,
            client_id.hex(":") or NONE,
            hostname,
        )
        self._fresh.append((server, address, line))

    def flush(self, *, again: bool) -> None:
        """Write all events, or keep them.

        Args:
            again: try it even if it failed before.
        """
        if not self._fresh and not self._waiting:
            return
        if self._waiting and not again:
            self._keep()
            return
        lines = [*self._waiting.values(), *(line for _, _, line in self._fresh)]
        try:
            self._write("".join(f"\n{line}\n" for line in lines).encode())
        except OSError as error:
            self.problem = str(error)
            self._keep()
        else:
            self.problem = ""
            self._waiting.clear()
            self._fresh.clear()

    def _write(self, data: bytes) -> None:
        file = os.open(FILE, _FLAGS, dir_fd=self._folder)
        try:
            written = os.write(file, data)
        finally:
            os.close(file)
        if written < len(data):  # all of it is written again: an event may come twice
            raise OSError(f"{written} of {len(data)} bytes could be written")

    def _keep(self) -> None:
        for server, address, line in self._fresh:
            self._waiting.pop((server, address), None)
            self._waiting[server, address] = line
        self._fresh.clear()
        while len(self._waiting) > MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
            self.lost += 1
