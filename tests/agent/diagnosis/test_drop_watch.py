"""The watch of drops on a host with Linux bridges: real rules, real frames."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from lessor.agent.diagnosis.drops import DropWatch, Recent
from lessor.core.diagnosis.drops import FEWEST
from lessor.core.diagnosis.problems import problem_of
from lessor.core.offences import DHCP_S, SOURCE_S, Count, Offence, Reason
from lessor.core.plan.desired import Desired, Planner
from lessor.model import AddressPair, Port, Scope, View
from lessor.settings import AgentSettings
from tests.agent.drivers.frames import Namespace, arp, icmpv6, namespaces, packet_socket, udp
from tests.core.plan.test_flat import BLUE, MAPPING, SETTINGS, SUBNET, THERE

pytestmark = pytest.mark.lab

TAP, MAC, OWN = "tap00000006-5b", "fa:16:3e:00:00:06", "10.0.0.6"
WRONG, ROGUE, GATEWAY = "02:00:00:00:00:99", "0e:00:00:00:00:01", "10.0.0.1"
ANY = ("0.0.0.0", "255.255.255.255")


def view(port: Port = THERE) -> View:
    scope = Scope(revision=1, network=BLUE, subnets={"s": SUBNET}, ports={port.id: port})
    return View(epoch="e", scopes={"blue": scope})


def settings(backend: str = "nftables") -> AgentSettings:
    return replace(SETTINGS, host="compute", flat_mappings=(MAPPING,), gateway_firewall=backend)


class Host:
    """A compute host with one VM and a wire, and the watch of its drops."""

    def __init__(self, inside: Namespace, far: Namespace, backend: str) -> None:
        self.inside = inside
        self._planner = Planner(settings(backend))
        self.desired = self._planner.desired(view())
        for one in (inside, far):
            one.set("net.ipv6.conf.default.disable_ipv6", "1")
        inside.ip("link add name br100 type bridge", "link set br100 up")
        for port, end in ((TAP, "vm"), ("eth1", "wire")):
            inside.ip(f"link add {port} type veth peer name {end}")
            inside.move(end, far)
            far.ip(f"link set {end} up")
            inside.ip(f"link set {port} master br100 up")
        self.load()
        self.vm, self.wire = packet_socket(far, "vm"), packet_socket(far, "wire")
        self.at = time.time()
        self.watch = DropWatch(settings(), None, lambda: self.desired, lambda: self.at)

    def load(self) -> None:
        self.inside.run(
            "nft", "-f", "-", stdin=self.desired.state.rulesets["nft bridge lessor"].text
        )

    def change(self, port: Port) -> None:
        self.desired = self._planner.desired(view(port))
        self.load()

    def problems(self) -> list[str]:
        with self.inside:
            self.watch.look(self.desired)
        return [problem_of(one).text for one in self.watch.problems()]

    def close(self) -> None:
        self.watch.close()
        for opened in (self.vm, self.wire):
            opened.close()


@pytest.fixture(params=["nftables", "iptables"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with namespaces(2) as (inside, far):
        made = Host(inside, far, request.param)
        yield made
        made.close()


def wait(condition: Callable[[], object], what: str) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def sent(mouth: socket.socket, frame: bytes, times: int = 5) -> None:
    for _ in range(times):
        mouth.send(frame)


def test_a_wrong_mac_is_said_until_a_while_after_its_last_frame(host: Host) -> None:
    assert host.problems() == []
    sent(host.vm, udp(WRONG, ANY, (68, 67)))
    wait(host.problems, "it is said")
    (said,) = host.problems()
    assert said.startswith(f"port {THERE.id} ({TAP}): VM sends as {WRONG}, the port is {MAC} (5 ")
    assert f"`lessor port set {THERE.id} --mac {WRONG} --host compute`" in said
    assert host.watch.counts() == {
        "dhcp_answers_dropped": 0,
        "dhcp_requests_dropped": 0,
        "source_dropped": 5,
    }
    host.at += SOURCE_S - 10
    assert len(host.problems()) == 1


def test_a_static_address_is_said_and_gone_as_soon_as_it_is_allowed(host: Host) -> None:
    sent(host.vm, arp(MAC, "10.0.0.77", GATEWAY))
    sent(host.vm, udp(MAC, ("10.0.0.77", GATEWAY), (1, 2)))
    wait(host.problems, "it is said")
    (said,) = host.problems()
    assert f"VM sends from 10.0.0.77, the port has {OWN} (10 dropped" in said
    host.change(replace(THERE, allowed_address_pairs=(AddressPair(IPv4Network("10.0.0.77")),)))
    assert host.problems() == []


def test_a_port_that_takes_the_mac_of_its_vm_is_said_no_more(host: Host) -> None:
    sent(host.vm, arp(WRONG, OWN, GATEWAY))
    wait(host.problems, "it is said")
    host.change(replace(THERE, mac_address=WRONG))
    assert host.problems() == []


def test_of_a_healthy_vm_nothing_is_said(host: Host) -> None:
    """Whatever it sends of IPv6, and before it has an address."""
    frames = (
        udp(MAC, ANY, (68, 67)),
        arp(MAC, "0.0.0.0", OWN),
        arp(MAC, OWN, OWN),
        arp(MAC, "169.254.7.7", "169.254.7.7"),
        udp(MAC, ("169.254.7.7", "224.0.0.251"), (5353, 5353)),
        udp(MAC, ("0.0.0.0", "224.0.0.22"), (1, 2)),
        icmpv6(MAC, ("fe80::6", "ff02::2"), 133),
        icmpv6(MAC, ("::", "ff02::1"), 135),
        icmpv6(MAC, ("2001:db8::6", "ff02::1"), 128),
    )
    for frame in frames:
        sent(host.vm, frame)
    sent(host.vm, arp(WRONG, OWN, GATEWAY))
    wait(host.problems, "what came after them is counted")
    (said,) = host.problems()
    assert "VM sends as" in said


def answer(client: str, server: str) -> bytes:
    message = b"\x02\x01\x06\x00" + bytes(24) + bytes.fromhex(client.replace(":", "")) + bytes(202)
    return udp(ROGUE, (server, "255.255.255.255"), (67, 68), message)


def test_a_dhcp_server_on_the_wire_is_said_with_its_port(host: Host) -> None:
    assert host.problems() == []
    sent(host.wire, answer(MAC, "10.0.0.250"))
    sent(host.wire, answer(MAC, GATEWAY))
    sent(host.wire, answer("fa:16:3e:00:00:77", "10.0.0.251"))
    wait(host.problems, "it is said")
    (said,) = host.problems()
    assert said.startswith(
        f"a DHCP server at 10.0.0.250 ({ROGUE}) answers on the wire of eth1 (network {BLUE.id}): "
        "5 answers dropped"
    )
    (problem,) = host.watch.problems()
    assert problem_of(problem).networks == (BLUE.id,)


def test_a_vm_that_answers_dhcp_is_said(host: Host) -> None:
    sent(host.vm, udp(MAC, (OWN, "255.255.255.255"), (67, 68)), times=1)
    wait(host.problems, "it is said")
    (said,) = host.problems()
    assert f"port {THERE.id} ({TAP}) answers DHCP: 1 packets dropped" in said
    assert host.watch.counts()["dhcp_answers_dropped"] == 1


def test_what_is_said_changes_with_who_and_not_with_how_often(host: Host) -> None:
    """A pass of the agent isn't worth another number; the next report has it."""
    with host.inside:
        assert not host.watch.look(host.desired)
        sent(host.vm, arp(WRONG, OWN, GATEWAY))
        wait(lambda: host.watch.look(host.desired), "it is something new")
        sent(host.vm, arp(WRONG, OWN, GATEWAY))
        wait(
            lambda: host.watch.counts()["source_dropped"] == 10 or host.watch.look(host.desired),
            "counted",
        )
        assert not host.watch.look(host.desired)


def test_the_agent_is_told_when_strays_become_enough_to_be_said(host: Host) -> None:
    with host.inside:
        assert not host.watch.look(host.desired)
        sent(host.vm, arp(WRONG, OWN, GATEWAY), times=FEWEST - 1)
        wait(lambda: host.watch.look(host.desired), "a stray is something new")
        assert not host.watch.problems()
        assert not host.watch.look(host.desired)
        sent(host.vm, arp(WRONG, OWN, GATEWAY), times=1)
        wait(lambda: host.watch.look(host.desired), "now it is said")
        assert host.watch.problems()


def test_a_host_without_rules_says_nothing(host: Host) -> None:
    host.inside.run("nft", "delete", "table", "bridge", "lessor")
    assert host.problems() == []
    assert host.watch.look(Desired(host.desired.state)) is False


def test_counters_that_stood_before_are_not_said_and_those_that_rise_are() -> None:
    recent, mac, answer = Recent(), Offence("tap1", Reason.MAC), Offence("tap1", Reason.ANSWER)
    recent.take(0, {mac: Count(7), answer: Count(7)})
    assert recent.ongoing() == {}
    recent.take(5, {mac: Count(8), answer: Count(9)})
    assert {one: found.at for one, found in recent.ongoing().items()} == {mac: 5, answer: 5}
    recent.take(6, {mac: Count(8), answer: Count(9)})
    assert {one: found.at for one, found in recent.ongoing().items()} == {mac: 5, answer: 5}
    recent.take(5 + SOURCE_S, {mac: Count(8), answer: Count(9)})
    assert recent.ongoing().keys() == {answer}
    recent.take(5 + DHCP_S, {mac: Count(8), answer: Count(9)})
    assert recent.ongoing() == {}


def test_a_counter_that_is_new_rises() -> None:
    recent, new = Recent(), Offence("tap1", Reason.MAC)
    recent.take(0, {})
    recent.take(5, {new: Count(3)})
    assert recent.ongoing()[new].at == 5


def test_the_first_look_is_at_the_start(host: Host) -> None:
    """What br-int drops soon after must not be taken for what was dropped long before."""
    looked = threading.Event()
    watch = DropWatch(settings(), None, lambda: looked.set() or host.desired)  # type: ignore[func-returns-value]

    async def start() -> None:
        running = asyncio.create_task(watch.run())
        assert await asyncio.to_thread(looked.wait, 2.0)
        running.cancel()

    asyncio.run(start())
