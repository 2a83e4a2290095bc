"""VMs that ask by DHCP without pause, in a thread each, and record every answer.

A VM lives on a port; at its end the port is deleted, and the VM goes on for some seconds as if
nobody had told it: that is when an address might have two users. Then the next one takes its place.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from lessor.errors import LessorError
from lessor.lab.cloud import COMPUTE, LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.state import VmState
from lessor.lab.vm import NetnsVm, tap_name
from tests.campaign.api import Api, GivenUp
from tests.campaign.history import (
    ACKED,
    DORA,
    NAKED,
    REBIND,
    RELEASE,
    RENEW,
    SENT,
    SILENT,
    Exchange,
    History,
    LeaseHeld,
    NicLife,
    PortRecord,
    Sighting,
    VmSpan,
)
from tests.campaign.nic import Nic
from tests.dhcpclient import ACK, Reply

PATIENCE_S = 1.0  # for an answer
PAUSE_S = (0.2, 0.7)  # between two exchanges
LIFE_S = (8.0, 35.0)  # of a VM that isn't to stay
GHOST_S = (4.0, 16.0)  # for which it goes on after its port was deleted
PROBE_S = 0.3  # for answers to ARP
RENEWALS_IN_VAIN = 2  # then it asks all servers, as at T2; then from the beginning
LEASE_TIME = 51  # DHCP option


@dataclass
class Control:
    """What all threads of a campaign look at."""

    settle: threading.Event = field(default_factory=threading.Event)  # no new lives, only renewals
    freeze: threading.Event = field(default_factory=threading.Event)  # no exchange at all
    over: threading.Event = field(default_factory=threading.Event)
    addresses: dict[str, list[str]] = field(
        default_factory=dict
    )  # of each network, the latest last


class Guest(threading.Thread):
    """The VMs of one place, one after another.

    Args:
        lab: the lab.
        api: of this thread.
        control: of the campaign.
        history: where all is recorded.
        network: of its ports.
        host: where it is.
        servers: hosts that may serve it.
        stays: its VM lives as long as the campaign.
    """

    def __init__(
        self, name: str, lab: Lab, api: Api, control: Control, history: History,
        *, network: LabNetwork, host: str, servers: tuple[str, ...], stays: bool,
    ) -> None:  # fmt: skip
        super().__init__(name=name, daemon=True)
        self.network, self.host = network, host
        self.port: PortRecord | None = None
        self.last: Exchange | None = None  # answered
        self._lab, self._api, self._control, self._history = lab, api, control, history
        self._hosts = tuple(dict.fromkeys((host, *servers)))
        self._stays = stays
        self._dice = random.Random(name)  # noqa: S311 - a test
        self._made = self._vain = 0
        self._began: float | None = None

    # --- lives ------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            while not self._control.settle.is_set():
                self._life()
        except GivenUp:
            self._history.broken.append(f"{self.name}: no server answered")
        except Exception as error:  # noqa: BLE001 - it must stand in the report, not in a thread
            self._history.broken.append(f"{self.name} ended: {error!r}")
        finally:
            self._api.close()

    def held(self) -> LeaseHeld | None:
        """Return the lease it has now."""
        port, last = self.port, self.last
        if port is None or last is None or last.mac != port.mac:
            return None
        expires = last.wall + last.lease_s
        return LeaseHeld(self.name, port.network, port.mac, last.address, expires)

    def _life(self) -> None:
        self._made += 1
        body = {"device_owner": COMPUTE, "binding:host_id": self.host}
        port = self._api.create(self.network.id, f"{self.name}-{self._made}", **body)
        if port is None:
            self._control.over.wait(0.5)
            return
        self._control.addresses.setdefault(port.network, []).append(port.address)
        port.host = self.host
        self.port = port
        ends = time.monotonic() + self._dice.uniform(*LIFE_S)

        def lives() -> bool:
            if self._control.over.is_set() or port.drop_asked is not None:
                return False
            return self._stays or self._control.settle.is_set() or time.monotonic() < ends

        while lives():
            self._boot(port, lives)
        if not self._control.over.is_set():
            self._end(port)

    def _boot(self, port: PortRecord, lives: object) -> None:
        """Plug the VM in and have it ask; returns when its time is over, or when its host dies."""
        assert callable(lives)
        try:
            vm, nic = self._plug(port)
        except (LessorError, OSError):
            self._control.over.wait(0.5)  # its host is off, or dies just now
            return
        try:
            while lives():
                self._turn(port, nic)
            self._close_span(port)
            self._last_words(port, nic)
        except OSError:
            self._close_span(port)  # it died with its host
        finally:
            nic.close()
            self._history.nics.append(NicLife(port.network, port.mac, tuple(nic.answered)))
            with contextlib.suppress(LessorError, OSError, KeyError):
                self._lab.unplug(vm.state.name)

    def _plug(self, port: PortRecord) -> tuple[NetnsVm, Nic]:
        self._made += 1
        name = f"{self.name}-{self._made}"
        with contextlib.suppress(LessorError):
            self._lab.exec(self.host, "ip", "link", "del", tap_name(port.port_id))
        state = VmState(
            name=name, host=self.host, port_id=port.port_id, mac=port.mac, network=self.network.name,
            assigned=IPv4Address(port.address), overlay=self.network.type == "vxlan",
        )  # fmt: skip
        vm = self._lab.plug(state)
        assert isinstance(vm, NetnsVm)
        return vm, in_netns(vm.netns_path(), lambda: Nic(port.mac))

    def _last_words(self, port: PortRecord, nic: Nic) -> None:
        """Delete the port, and go on for a while all the same."""
        if self._control.over.is_set():
            return
        self.port = None
        self._api.delete(port)
        ends = time.monotonic() + self._dice.uniform(*GHOST_S)
        while time.monotonic() < ends and not self._control.over.is_set():
            nic.idle(self._dice.uniform(*PAUSE_S))
            if nic.lease:
                self._renew(port, nic)

    def _end(self, port: PortRecord) -> None:
        """Delete the port of a VM that was not there to do it."""
        if port.drop_asked is None:
            self.port = None
            self._api.delete(port)

    # --- what a VM does ---------------------------------------------------------------------------

    def _turn(self, port: PortRecord, nic: Nic) -> None:
        if self._control.freeze.is_set():
            nic.idle(0.2)
            return
        nic.idle(self._dice.uniform(*PAUSE_S))
        chance = self._dice.random()
        if nic.lease is None:
            self._ask(port, DORA, lambda: nic.acquire(PATIENCE_S))
        elif self._control.settle.is_set() or chance < 0.55:
            self._renew(port, nic)
        elif chance < 0.7:
            self._probe(nic)
        elif chance < 0.9:
            self._ask(port, DORA, lambda: nic.acquire(PATIENCE_S))
        else:
            self._release(port, nic)

    def _renew(self, port: PortRecord, nic: Nic) -> None:
        assert nic.lease
        address = str(nic.lease.address)
        if self._vain < RENEWALS_IN_VAIN:
            self._ask(port, RENEW, lambda: nic.renew(PATIENCE_S))
        elif self._vain < 2 * RENEWALS_IN_VAIN:
            self._ask(port, REBIND, lambda: nic.rebind(address, PATIENCE_S))
        else:
            self._ask(port, DORA, lambda: nic.acquire(PATIENCE_S))

    def _release(self, port: PortRecord, nic: Nic) -> None:
        asked = time.monotonic()
        address = str(nic.address)
        nic.release()
        self._history.exchanges.append(
            Exchange(
                self.name, port.network, port.mac, RELEASE, asked, time.monotonic(), SENT, address
            )
        )

    def _ask(self, port: PortRecord, what: str, ask: object) -> None:
        assert callable(ask)
        asked = time.monotonic()
        reply: Reply | None = ask()
        outcome = SILENT if reply is None else ACKED if reply.kind == ACK else NAKED
        address = str(reply.address) if reply and outcome == ACKED else ""
        lease_s = int.from_bytes(reply.options.get(LEASE_TIME, b"")) if reply else 0
        done = Exchange(
            self.name, port.network, port.mac, what, asked, time.monotonic(), outcome, address,
            lease_s, time.time(),
        )  # fmt: skip
        self._history.exchanges.append(done)
        self._vain = 0 if outcome == ACKED else self._vain + 1
        if outcome == ACKED:
            self.last = done
            if port.drop_asked is None:
                self._began = self._began or done.ended

    def _probe(self, nic: Nic) -> None:
        """Ask who has an address that a VM of this network has, or had."""
        target = self._dice.choice(self._control.addresses[self.network.id][-12:])
        if target == str(nic.address):
            return
        asked = time.monotonic()
        macs = nic.who_has(target, PROBE_S)
        seen = Sighting(self.network.id, target, asked, time.monotonic(), macs)
        self._history.sightings.append(seen)

    def _close_span(self, port: PortRecord) -> None:
        if self._began is not None:
            self._history.spans.append(
                VmSpan(
                    self.name, port.mac, self.network.id, self.network.type, self._hosts,
                    self._began, time.monotonic(),
                )
            )  # fmt: skip
        self._began = None
