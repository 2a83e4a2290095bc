"""The fault of a dnsmasq that left its last questions unanswered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

BUSY_SHOWN_S = 5.0  # a server that reads thousands of reservations again may take so long
BUSY_S = 300.0  # longer is no reload: 65,000 reservations and leases take 70 s of CPU time
STOPPED = frozenset("Tt")  # state letters of proc(5)


class Cause(Enum):
    """The cause of a fault, and whether a restart can help."""

    STOPPED = "stopped"  # the process was stopped by a signal
    HELPER = "helper"  # the process that reports lease events was stopped by a signal
    HUNG = "hung"  # it does not read its sockets
    SILENT = "silent"  # it reads them, without an answer
    DIVERGED = "diverged"  # it answers, but not for a reservation in its files
    BUSY = "busy"  # it works, and answers later

    @property
    def restart(self) -> bool:
        """Whether a restart is due at once, each time."""
        return self in {Cause.STOPPED, Cause.HELPER, Cause.HUNG}

    @property
    def restart_once(self) -> bool:
        """Whether a restart is worth one trial: the cause may lie outside of the process."""
        return self in {Cause.SILENT, Cause.DIVERGED}


@dataclass(frozen=True, slots=True)
class Symptoms:
    """Facts about a process that left two questions in a row unanswered.

    `state` is the letter of proc(5) with its meaning. `worked` tells whether it has used CPU time
    since the first of them, `waiting` how many bytes wait in its sockets.
    """

    state: str
    worked: bool
    waiting: int
    silent_s: float


def verdict(seen: Symptoms) -> tuple[Cause, str] | None:
    """Return cause and description; None: it works, and gets more time.

    The description of a lasting fault that no restart repairs has no seconds in it.
    """
    waits = f"{seen.waiting} bytes wait in its sockets"
    since = f"no answer for {seen.silent_s:.1f} s"
    if seen.state[:1] in STOPPED:
        return Cause.STOPPED, f"{since} ({_shown(seen)}, {waits})"
    if seen.worked and seen.silent_s < BUSY_S:
        busy = f"no answer: it is busy ({_shown(seen)})"
        return (Cause.BUSY, busy) if seen.silent_s >= BUSY_SHOWN_S else None
    if seen.waiting or seen.worked:
        return Cause.HUNG, f"{since} ({_shown(seen)}, {waits})"
    return Cause.SILENT, f"no answer, though no request waits in its sockets ({_shown(seen)})"


def _shown(seen: Symptoms) -> str:
    return f"state {seen.state}" if seen.state else "no state known"
