"""The watch of drops on a host with Open vSwitch: core's flows, real frames."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lessor.agent.diagnosis.drop_counts import SwitchCounts
from lessor.agent.diagnosis.drops import DropWatch
from lessor.agent.drivers.flows import FlowDriver
from lessor.agent.drivers.ovs_bridges import OvsBridgeDriver
from lessor.agent.drivers.ovs_ports import OvsPortDriver
from lessor.agent.host.ovs import Ovsdb, rundir
from lessor.agent.host.run import run
from lessor.agent.overlay import Overlay
from lessor.core.diagnosis.problems import problem_of
from lessor.core.diff import diff
from lessor.core.plan.desired import Desired, Planner
from lessor.core.state import Flows, OvsBridge, OvsPort
from lessor.model import View
from lessor.settings import AgentSettings
from tests.agent.drivers.frames import arp, icmpv6, udp
from tests.agent.drivers.ovs_daemons import Ovs
from tests.core.plan.test_overlay import DHCP, HERE, scope, settings

pytestmark = pytest.mark.lab

TAP, MAC, OWN = "tap00000005-5b", "fa:16:3e:00:00:05", "10.0.0.5"
WRONG, ANY = "02:00:00:00:00:99", ("0.0.0.0", "255.255.255.255")
REAL = "vnet7"  # what the hypervisor calls it
Shell = Callable[[str], str]


class Host:
    """br-int with a VM's port, its flows, and the watch of its drops."""

    def __init__(self, ovs: Ovs, db: Ovsdb, folder: Path) -> None:
        self.settings: AgentSettings = settings(
            "a", ovsdb_connection=ovs.connection, state_dir=folder
        )
        view = View(epoch="e", scopes={"blue": scope(DHCP, HERE)})
        self.desired: Desired = Planner(self.settings, datapath="netdev").desired(view)
        OvsBridgeDriver(db, ["br-int"]).apply(diff({"br-int": OvsBridge("br-int", "netdev")}, {}))
        ovs(
            "ovs-vsctl",
            "add-port",
            "br-int",
            REAL,
            "--",
            "set",
            "interface",
            REAL,
            f"external_ids:iface-id={HERE.id}",
        )
        ports = OvsPortDriver(db, run)
        wanted: OvsPort = self.desired.state.ovs_ports[TAP]
        ports.apply(diff({TAP: wanted}, ports.observe()))
        assert ports.names() == {TAP: REAL}
        self.driver = FlowDriver(
            run, folder / "flows.json", rundir(ovs.connection), ["br-int"], names=ports.names
        )
        self.load(self.desired.state.flows["br-int"])
        self.overlay = Overlay(self.settings, folder)
        self.watch = DropWatch(self.settings, self.overlay, lambda: self.desired)

    def load(self, flows: Flows) -> None:
        with suppress(ExceptionGroup):  # ports of the DHCP host are not there
            self.driver.apply(diff({"br-int": flows}, {}))

    def problems(self) -> list[str]:
        self.watch.look(self.desired)
        return [problem_of(one).text for one in self.watch.problems()]

    def close(self) -> None:
        self.watch.close()
        self.overlay.close()


@pytest.fixture
def host(ovs: Ovs, db: Ovsdb, sh: Shell, tmp_path: Path) -> Iterator[Host]:
    sh("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")  # no frames of its own
    sh(f"ip link add {REAL} type veth peer name vm; ip link set {REAL} up; ip link set vm up")
    made = Host(ovs, db, tmp_path)
    yield made
    made.close()


@pytest.fixture
def mouth(host: Host) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as opened:
        opened.bind(("vm", 0))
        yield opened


class Sender:
    """A VM that goes on sending."""

    def __init__(self, mouth: socket.socket, *frames: bytes) -> None:
        self._mouth, self._frames = mouth, frames
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._ended.wait(0.1):
            for frame in self._frames:
                self._mouth.send(frame)


def test_a_wrong_mac_is_heard_and_said(ovs: Ovs, host: Host, mouth: socket.socket) -> None:
    assert host.problems() == []
    with Sender(mouth, udp(WRONG, ANY, (68, 67)), icmpv6(WRONG, ("fe80::1", "ff02::2"), 133)):
        ovs.wait(lambda: any(WRONG in one for one in host.problems()))
    problems = host.problems()
    assert len(problems) == 1, problems
    (said,) = problems
    assert said.startswith(f"port {HERE.id} ({TAP}): VM sends as {WRONG}, the port is {MAC} (")
    assert host.watch.counts()["source_dropped"] > 0


def test_a_static_address_is_heard_and_said(ovs: Ovs, host: Host, mouth: socket.socket) -> None:
    assert host.problems() == []
    own = arp(MAC, OWN, "10.0.0.1")
    with Sender(
        mouth, own, arp(MAC, "10.0.0.77", "10.0.0.1"), udp(MAC, ("10.0.0.77", "10.0.0.1"), (1, 2))
    ):
        ovs.wait(lambda: any("10.0.0.77" in one for one in host.problems()))
    problems = host.problems()
    assert len(problems) == 1, problems
    (said,) = problems
    assert f"VM sends from 10.0.0.77, the port has {OWN} (" in said


def test_a_vm_that_answers_dhcp_is_said(ovs: Ovs, host: Host, mouth: socket.socket) -> None:
    assert host.problems() == []
    mouth.send(udp(MAC, (OWN, "255.255.255.255"), (67, 68)))
    ovs.wait(host.problems)
    problems = host.problems()
    assert len(problems) == 1, problems
    (said,) = problems
    assert f"port {HERE.id} ({TAP}) answers DHCP: 1 packets dropped" in said
    assert host.watch.counts()["dhcp_answers_dropped"] == 1


HEALTHY = (
    udp(MAC, ANY, (68, 67)),
    arp(MAC, "0.0.0.0", OWN),
    arp(MAC, OWN, OWN),
    arp(MAC, "169.254.7.7", "169.254.7.7"),
    udp(MAC, ("0.0.0.0", "224.0.0.22"), (1, 2)),
    icmpv6(MAC, ("fe80::5", "ff02::2"), 133),
    icmpv6(MAC, ("::", "ff02::1"), 135),
    icmpv6(MAC, ("2001:db8::5", "ff02::1"), 128),
)


def test_of_a_healthy_vm_nothing_is_said(ovs: Ovs, host: Host, mouth: socket.socket) -> None:
    counts = SwitchCounts(host.settings, run, host.overlay.names)
    with Sender(mouth, *HEALTHY):
        ovs.wait(
            lambda: host.problems() or counts.offences()
        )  # its 0.0.0.0 and 169.254 are counted
        assert host.problems() == []


def test_a_switch_that_is_away_is_no_error(ovs: Ovs, host: Host) -> None:
    ovs.kill("ovs-vswitchd")
    assert host.problems() == []
