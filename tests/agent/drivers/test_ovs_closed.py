"""br-int passes nothing but what its flows name: core's flows, the drivers, real frames.

Two VMs with port security, one without and one with a virtual router's MAC, all of one network.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Self

import pytest

from lessor.agent.drivers.flows import FlowDriver
from lessor.agent.drivers.ovs_bridges import OvsBridgeDriver
from lessor.agent.drivers.ovs_ports import OvsPortDriver
from lessor.agent.host.ovs import Ovsdb, rundir
from lessor.agent.host.run import run
from lessor.agent.kinds import kinds
from lessor.agent.reconcile import Reconciler
from lessor.core.firewall.dhcp_limit import BURST
from lessor.core.plan.desired import Planner
from lessor.core.plan.overlay import outer_name
from lessor.core.vmport import tap_name
from lessor.model import DHCP_OWNER, AddressPair, Port, View
from tests.agent.drivers.frames import ALL, arp, headed, icmpv6, ipv6, tagged, udp
from tests.agent.drivers.ovs_daemons import Ovs
from tests.core.plan.test_overlay import port, scope, settings

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
ROUTER = "00:00:5e:00:01:01"
PAIR = AddressPair(IPv4Network("10.0.0.100/32"), ROUTER)
ONE, TWO = port(5, "a"), port(6, "a")
FREE, NESTED = port(7, "a", port_security_enabled=False), "02:00:00:00:00:77"
PAIRED = port(8, "a", allowed_address_pairs=(PAIR,))
SERVER = port(2, "a", device_owner=DHCP_OWNER)
ALL_PORTS = (SERVER, ONE, TWO, FREE, PAIRED)
NEW = "tapnew"
SPOOF = "02:00:00:00:00:99"
M1, M2, MF, MP = ONE.mac_address, TWO.mac_address, FREE.mac_address, PAIRED.mac_address
IP1, IP2, EVERYONE = "10.0.0.5", "10.0.0.6", "10.0.0.255"
LL = "fe80::f816:3eff:fe00:5"


class Host:
    """A host with br-int; `ears` and `mouths` are the VMs' ends, by tap."""

    def __init__(self, ovs: Ovs, db: Ovsdb, sh: Shell, folder: Path) -> None:
        self.ovs, self.sh, self.sockets = ovs, sh, dict[str, socket.socket]()
        names = ["br-int", "br-tun"]
        ports = OvsPortDriver(db, run)
        flows = FlowDriver(
            run, folder / "flows.json", rundir(ovs.connection), names, names=ports.names
        )
        self.planner = Planner(settings("a"), datapath="netdev")
        self.reconciler = Reconciler(
            kinds({"ovs_bridges": OvsBridgeDriver(db, names), "ovs_ports": ports, "flows": flows})
        )

    def plug(self, name: str) -> None:
        """Make a tap; its other end stands for the VM."""
        far = f"v{len(self.sockets)}"
        self.sh(
            f"ip link add {name} type veth peer name {far}; ip link set {name} up; "
            f"ip link set {far} up"
        )
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL))
        opened.bind((far, ALL))
        opened.setblocking(False)
        self.sockets[name] = opened

    def bring(self, *ports: Port) -> None:
        view = View(epoch="e", scopes={"blue": scope(*ports)} if ports else {})
        self.reconciler.suspect()
        problems = self.reconciler.apply(self.planner.desired(view).state).problems
        assert not [one for one in problems if not one.pending], problems

    def send(self, by: Port | str, *frames: bytes) -> None:
        for frame in frames:
            self.sockets[_name(by)].send(frame)

    def heard(self, by: Port | str, limit_s: float = 0.4) -> list[bytes]:
        """Return what came in, until nothing does for a while; ten times as long at most."""
        return self.heard_by(by, limit_s=limit_s)[_name(by)]

    def heard_by(self, *all_: Port | str, limit_s: float = 0.4) -> dict[str, list[bytes]]:
        """Return what came in at each: while one has nothing to wait for, others may."""
        ears = {self.sockets[name]: name for name in map(_name, all_)}
        found: dict[str, list[bytes]] = {name: [] for name in ears.values()}
        end = time.monotonic() + 10 * limit_s  # somebody may send without pause
        while time.monotonic() < end and (ready := select.select(ears, [], [], limit_s)[0]):
            for ear in ready:
                frame, (_, _, kind, *_) = ear.recvfrom(4000)
                if kind != socket.PACKET_OUTGOING:
                    found[ears[ear]].append(frame)
        return found

    def passes(self, frame: bytes, by: Port | str, *to: Port | str) -> set[str]:
        """Send a frame; return at which of `to` it arrives."""
        for opened in self.sockets.values():
            while select.select([opened], [], [], 0)[0]:
                opened.recv(4000)
        self.send(by, frame)
        return {name for name, frames in self.heard_by(*to).items() if frame in frames}

    def close(self) -> None:
        for opened in self.sockets.values():
            opened.close()


def _name(port: Port | str) -> str:
    if isinstance(port, str):
        return port
    return (outer_name if port.device_owner == DHCP_OWNER else tap_name)(port.id)


TAPS = tuple(map(_name, ALL_PORTS))


@pytest.fixture
def host(ovs: Ovs, db: Ovsdb, sh: Shell, tmp_path: Path) -> Iterator[Host]:
    sh("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")  # no frames of its own
    made = Host(ovs, db, sh, tmp_path)
    try:
        for name in TAPS:
            made.plug(name)
        made.bring(*ALL_PORTS)
        assert made.passes(arp(M1, IP1, IP2), ONE, TWO, SERVER) == {_name(TWO), _name(SERVER)}
        yield made
    finally:
        made.close()


class Sender:
    """A VM that sends without pause."""

    def __init__(self, mouth: socket.socket, *frames: bytes) -> None:
        self._mouth, self._frames = mouth, frames
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _send(self) -> None:
        while not self._ended.wait(0.0005):
            for frame in self._frames:
                try:
                    self._mouth.send(frame)
                    self.sent += 1
                except OSError:  # its tap is down, or removed
                    pass


def marked(source: str, sender: str, mark: bytes) -> bytes:
    return udp(source, (sender, EVERYONE), (9, 9), mark)


def test_a_port_just_plugged_sends_and_hears_nothing(ovs: Ovs, host: Host) -> None:
    """As os-vif does it, without a tag, while no agent runs."""
    talk = marked(M1, IP1, b"TALK")
    forged = marked(SPOOF, "10.0.0.77", b"FORGED")
    host.plug(NEW)
    with (
        Sender(host.sockets[NEW], forged, *(tagged(forged, vlan) for vlan in (1, 2, 3))) as sender,
        Sender(host.sockets[_name(ONE)], talk),
    ):
        ovs("ovs-vsctl", "add-port", "br-int", NEW, "--", "set", "interface", NEW,
            "external_ids:iface-id=unknown")  # fmt: skip
        ovs.wait(lambda: talk in host.heard(TWO, 0.01))
        before = sender.sent
        ovs.wait(lambda: sender.sent > before + 100)
    assert not [frame for frame in host.heard(NEW) if b"TALK" in frame]
    assert not forgeries(host, *ALL_PORTS)
    assert dropped(ovs)


def forgeries(host: Host, *ports: Port) -> list[bytes]:
    heard = host.heard_by(*ports).values()
    return [frame for frames in heard for frame in frames if b"FORGED" in frame]


def dropped(ovs: Ovs) -> int:
    """Return how many frames the flow has dropped that is there for what no other flow names."""
    lines = ovs("ovs-ofctl", "-O", "OpenFlow14", "dump-flows", "br-int", "table=0").splitlines()
    (last,) = [line for line in lines if "priority=0" in line]
    return int(last.split("n_packets=")[1].split(",")[0])


CHANGES: dict[str, tuple[tuple[Port, ...], ...]] = {
    "port-is-deleted": ((SERVER, TWO, FREE, PAIRED), ALL_PORTS),
    "network-is-left": ((), ALL_PORTS),
    "port-is-bound-elsewhere": (
        (SERVER, replace(ONE, binding_host="b"), TWO, FREE, PAIRED),
        ALL_PORTS,
    ),
    "port-is-set-down-and-up": (
        (SERVER, replace(ONE, admin_state_up=False), TWO, FREE, PAIRED),
        ALL_PORTS,
    ),
    "addresses-change": (
        (SERVER, replace(ONE, allowed_address_pairs=(PAIR,)), TWO, FREE, PAIRED),
        ALL_PORTS,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_guard_goes_after_the_port(host: Host, ovs: Ovs, change: str) -> None:
    forged = marked(SPOOF, "10.0.0.77", b"FORGED")
    far = host.sockets[_name(ONE)]
    with Sender(far, forged) as sender:
        ovs.wait(lambda: sender.sent > 50)
        for ports in CHANGES[change]:
            host.bring(*ports)
            before = sender.sent
            ovs.wait(lambda since=before: sender.sent > since + 50)  # type: ignore[misc]
    assert not forgeries(host, TWO, FREE, SERVER)


def test_port_security_is_switched_without_a_gap(host: Host, ovs: Ovs) -> None:
    free = replace(ONE, port_security_enabled=False)
    host.bring(SERVER, free, TWO, FREE, PAIRED)
    assert host.passes(marked(SPOOF, "10.0.0.77", b"FREE"), ONE, TWO) == {_name(TWO)}
    host.bring(*ALL_PORTS)
    assert not host.passes(marked(SPOOF, "10.0.0.77", b"FORGED"), ONE, TWO)


def test_unicast_reaches_the_port_of_its_mac_alone(host: Host) -> None:
    everyone = (TWO, FREE, PAIRED, SERVER)
    for target in everyone:
        frame = udp(M1, (IP1, IP2), (9, 9), b"to one", to=target.mac_address)
        assert host.passes(frame, ONE, *everyone) == {_name(target)}
    frame = udp(M1, (IP1, IP2), (9, 9), b"to a router", to=ROUTER)
    assert host.passes(frame, ONE, *everyone) == {_name(PAIRED)}
    frame = udp(M1, (IP1, IP2), (9, 9), b"to nobody", to=SPOOF)
    assert host.passes(frame, ONE, *everyone) == {_name(FREE)}


def test_a_mac_behind_a_port_without_port_security_is_learned(host: Host, ovs: Ovs) -> None:
    other = replace(TWO, port_security_enabled=False)
    host.bring(SERVER, ONE, other, FREE, PAIRED)
    frame = udp(M1, (IP1, IP2), (9, 9), b"to a nested VM", to=NESTED)
    assert host.passes(frame, ONE, other, FREE) == {_name(other), _name(FREE)}
    host.passes(marked(NESTED, "10.0.0.200", b"hello"), FREE)
    ovs.wait(lambda: host.passes(frame, ONE, other, FREE) == {_name(FREE)})
    host.passes(marked(M1, IP1, b"stolen"), FREE)  # a MAC that is another port's is not
    stolen = udp(M2, (IP2, IP1), (9, 9), b"to its own port", to=M1)
    assert host.passes(stolen, other, ONE, FREE) == {_name(ONE)}


def test_dhcp_answers_in_fragments_do_not_pass_and_other_fragments_do(host: Host) -> None:
    for ports in ((67, 68), (1067, 68), (67, 2000)):
        frame = udp(M1, (IP1, IP2), ports, b"x" * 24, to=M2, more=True)
        assert not host.passes(frame, ONE, TWO), ports
    for frame in (
        udp(M1, (IP1, IP2), (1000, 2000), b"x" * 24, to=M2, more=True),
        udp(M1, (IP1, IP2), (1000, 2000), b"x" * 24, to=M2, offset=32),
    ):
        assert host.passes(frame, ONE, TWO) == {_name(TWO)}


def test_dhcp_answers_whose_length_is_a_lie_do_not_pass(host: Host) -> None:
    """Open vSwitch reads no ports beyond a packet's end; a client that reads all frames does."""
    for length in (0, 19, 20, 24, 27, 1400):
        frame = headed(udp(M1, (IP1, IP2), (67, 68), b"x" * 24, to=M2), length=length)
        assert not host.passes(frame, ONE, TWO), length
    other = udp(M1, (IP1, IP2), (0, 2000), b"x" * 24, to=M2)
    assert host.passes(other, ONE, TWO) == {_name(TWO)}


FLOODS = {
    "as-a-client": (udp(M1, ("0.0.0.0", "255.255.255.255"), (68, 67), b"R"), ONE),
    "from-another-port": (udp(M1, (IP1, "255.255.255.255"), (1068, 67), b"R"), ONE),
    "unicast": (udp(M1, (IP1, "10.0.0.2"), (1068, 67), b"R", to=SERVER.mac_address), ONE),
    "multicast": (udp(M1, (IP1, "10.0.0.2"), (68, 67), b"R", to="01:00:5e:00:00:07"), ONE),
    "in-fragments": (
        udp(M1, (IP1, "10.0.0.2"), (68, 67), b"R" * 24, to=SERVER.mac_address, more=True),
        ONE,
    ),
    "without-port-security": (
        udp(MF, ("10.0.0.7", "10.0.0.2"), (1068, 67), b"R", to=SERVER.mac_address),
        FREE,
    ),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_dhcp_requests_are_limited_whatever_their_source_port(host: Host, flood: str) -> None:
    frame, sender = FLOODS[flood]
    for _ in range(4 * BURST):
        host.send(sender, frame)
    arrived = [one for one in host.heard(SERVER) if one == frame]
    assert len(arrived) < 2 * BURST
    assert arrived or flood == "in-fragments"


V6 = {
    "neighbour-advertisement": icmpv6(M1, (LL, "ff02::1"), 136, bytes(16)),
    "router-advertisement": icmpv6(M1, (LL, "ff02::1"), 134, bytes(8)),
    "router-advertisement-behind-ah": ipv6(
        M1, (LL, "ff02::1"), 51, bytes((58, 4)) + bytes(22) + struct.pack("!BBHI", 134, 0, 0, 0)
    ),
    "first-fragment": ipv6(
        M1, (LL, "ff02::1"), 44, struct.pack("!BBHI", 58, 0, 1, 1) + bytes((134,)) + bytes(15)
    ),
    "dhcpv6-from-another-port": ipv6(
        M1, (LL, "ff02::1"), 17, struct.pack("!HHHH", 1547, 546, 8, 0)
    ),
    "echo": icmpv6(M1, (LL, "ff02::1"), 128),
}


def test_no_ipv6_of_a_guarded_port_passes(host: Host) -> None:
    for name, frame in V6.items():
        assert not host.passes(frame, ONE, TWO, FREE, PAIRED, SERVER), name


def test_no_ipv6_reaches_a_guarded_port(host: Host) -> None:
    other = replace(TWO, port_security_enabled=False)
    host.bring(SERVER, ONE, other, FREE, PAIRED)
    group = icmpv6(MF, ("fe80::7", "ff02::1"), 134, bytes(8))
    assert host.passes(group, FREE, ONE, other, PAIRED) == {_name(other)}
    for target, mac in ((ONE, M1), (PAIRED, MP), (PAIRED, ROUTER)):
        frame = bytes.fromhex(mac.replace(":", "")) + group[6:]
        assert not host.passes(frame, FREE, target)
