"""The stored state of a lab: `lab.json` in its folder.

It lists only objects that the lab created. It is written before and after each step, under a lock,
so that two concurrent commands don't lose each other's changes.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lessor import wire
from lessor.errors import NotFound
from lessor.lab.process import Process
from lessor.lab.underlay import Underlay
from lessor.net.address import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSpec:
    """The specification of a lab host."""

    name: str
    network_host: bool = False  # may own single-host networks
    overlay: bool = False  # has Open vSwitch and a tunnel address
    flags: dict[str, str] = field(default_factory=dict)  # settings of its agent


@dataclass(slots=True, kw_only=True)
class NodeState:
    """A node: fabric, outside, server, or a host with an agent."""

    name: str
    index: int  # gives its addresses and the names of its cables
    address: Address | None = None  # on the management and public network
    network_host: bool = False
    agent: bool = False
    tunnel_address: Address | None = None  # on the underlay
    processes: dict[str, Process] = field(default_factory=dict)  # pids as seen inside


@dataclass(frozen=True, slots=True, kw_only=True)
class VmState:
    """A VM of the lab, with its host and port."""

    name: str
    host: str
    port_id: str
    mac: str
    real: bool = False
    network: str = ""
    assigned: Address | None = None
    device_id: str = ""
    overlay: bool = False  # on a network that Open vSwitch carries


@dataclass(slots=True, kw_only=True)
class LabState:
    """The whole lab."""

    nodes: dict[str, NodeState] = field(default_factory=dict)
    vms: dict[str, VmState] = field(default_factory=dict)
    underlay: Underlay = field(default_factory=Underlay)


class StateFile:
    """`lab.json`: changed under a lock, replaced atomically."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "lab.json"
        self._lock = folder / "lock"

    def read(self) -> LabState:
        """Return the lab's state.

        Raises:
            NotFound: no lab is in this folder.
        """
        try:
            return wire.decode(self.path.read_bytes(), LabState)
        except FileNotFoundError as error:
            raise NotFound(f"no lab in {self.path.parent}; create one (lessor lab up)") from error

    @contextmanager
    def change(self) -> Iterator[LabState]:
        """Yield the state for changes, and write it unless there is an exception."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            state = self.read() if self.path.exists() else LabState()
            yield state
            fresh = self.path.with_suffix(".new")
            fresh.write_bytes(wire.encode(state))
            fresh.replace(self.path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)
