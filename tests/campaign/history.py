"""What a campaign records: API calls, ports, DHCP exchanges, answers to ARP, faults.

Threads append to one History. All times are of the monotonic clock, in seconds, unless a name says
`wall` (seconds since 1970).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FOREVER = float("inf")
DONE, REFUSED, UNKNOWN = "done", "refused", "unknown"
DORA, RENEW, REBIND, RELEASE = "DORA", "renew", "rebind", "release"
ACKED, NAKED, SILENT, SENT = "ACK", "NAK", "silence", "sent"


@dataclass(frozen=True, slots=True)
class Call:
    """One API call. `unknown`: no answer, or an answer that doesn't say whether it was done."""

    what: str  # "create port"
    outcome: str
    asked: float
    answered: float
    status: int = 0


@dataclass(slots=True)
class PortRecord:
    """What a client knows of a port that it asked for."""

    name: str
    network: str
    asked: float
    port_id: str = ""
    mac: str = ""
    address: str = ""
    host: str = ""  # of its VM; "": it has none
    made: float | None = None  # acknowledged at; None: nobody knows whether it was made
    drop_asked: float | None = None
    dropped: float | None = None  # acknowledged at
    descriptions: tuple[str, ...] = ("",)  # what it may be now: several while a change is unknown

    def surely_there(self, begin: float, end: float) -> bool:
        """Tell whether it was there all of this time."""
        return self.made is not None and self.made <= begin and (self.drop_asked or FOREVER) >= end


@dataclass(frozen=True, slots=True)
class Exchange:
    """One thing that a VM asked by DHCP, and what came of it."""

    vm: str
    network: str
    mac: str
    what: str
    asked: float
    ended: float
    outcome: str
    address: str = ""
    lease_s: int = 0
    wall: float = 0  # of the answer


@dataclass(frozen=True, slots=True)
class Sighting:
    """Who answered an ARP request for an address: all MACs within the time it was waited."""

    network: str
    address: str
    asked: float
    ended: float
    macs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """Whether a server showed a port."""

    port_id: str
    asked: float
    answered: float
    there: bool


@dataclass(frozen=True, slots=True)
class FaultRun:
    """A fault that was there from `began` to `ended`."""

    kind: str
    target: str
    hosts: tuple[str, ...]
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class VmSpan:
    """A time in which a VM should be served: from its first lease to its end, on these hosts."""

    vm: str
    mac: str
    network: str
    network_kind: str
    hosts: tuple[str, ...]  # its own and those that may serve it
    began: float
    ended: float


@dataclass(frozen=True, slots=True)
class NicLife:
    """When a VM's interface answered ARP for the VM's address, with a port or without."""

    network: str
    mac: str
    answered: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class LeaseHeld:
    """What a VM has at the end."""

    vm: str
    network: str
    mac: str
    address: str
    expires_wall: float


@dataclass(frozen=True, slots=True)
class Fill:
    """A network that was filled up: how many addresses that should have been, and were."""

    network: str
    expected: int
    taken: int


@dataclass(slots=True)
class History:
    """All of a run."""

    calls: list[Call] = field(default_factory=list)
    ports: list[PortRecord] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    faults: list[FaultRun] = field(default_factory=list)
    spans: list[VmSpan] = field(default_factory=list)
    nics: list[NicLife] = field(default_factory=list)
    snapshots: list[list[dict[str, Any]]] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)  # programs that ended by themselves
    broken: list[str] = field(default_factory=list)  # what the campaign itself could not do


@dataclass(frozen=True, slots=True)
class Result:
    """An invariant: how often it was checked, and each violation in a sentence."""

    invariant: str
    checked: int
    violations: tuple[str, ...] = ()


def result(invariant: str, checked: int, violations: Iterable[str] = ()) -> Result:
    return Result(invariant, checked, tuple(violations))
