"""The bridge table against real frames: spoofed ones don't arrive, honest ones do.

A host with a bridge; its taps and its wire are veth pairs, whose far ends a test holds. Every case
is also what notices when a rule is missing: each rule is taken out once.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address

import pytest

from lessor.core.dhcp_limit import BURST
from lessor.core.guard_rules import COUNTERS
from lessor.core.guards import drop_counters, guard_ruleset
from lessor.core.state import Gateway, Guard
from tests.agent.drivers.frames import (
    BROADCAST,
    IPV4,
    Namespace,
    arp,
    ether,
    icmpv6,
    ipv6,
    namespaces,
    packet_socket,
    tagged,
    udp,
)

pytestmark = pytest.mark.lab

A, B, L, X, W = (f"fa:16:3e:00:00:0{n}" for n in "abcde")  # W: somebody on the wire
PAIR = "00:00:5e:00:01:01"  # a virtual MAC that A may use
ROUTER = "02:00:00:00:00:99"
HOST = "02:00:00:00:00:01"
LL = "fe80::a"
AS_A_TAP = "hairpin on group_fwd_mask 0x4000"  # what the tap driver sets on a port
BLOCK = IPv4Network("10.9.0.0/24")
SHARED, FAR_SERVER = IPv4Address("10.0.0.1"), IPv4Address("10.7.0.1")


def guard(tap: str, own: str, address: str, *servers: IPv4Address, local: bool = False) -> Guard:
    pairs = ((own, IPv4Network(address)), *(((PAIR, BLOCK), (own, BLOCK)) if own == A else ()))
    macs = (own, PAIR) if own == A else (own,)
    return Guard(tap, "br100", macs, pairs, servers, local)


GUARDS = (
    guard("a", A, "10.7.0.5", FAR_SERVER),
    guard("b", B, "10.7.0.6", FAR_SERVER),
    guard("l", L, "10.0.0.5", SHARED, local=True),
    guard("x", X, "10.5.0.5"),
    Guard("open", "br100", (), (), ()),
)


def gateway(cidr: str, address: IPv4Address, *, external: bool, isolated: bool) -> Gateway:
    block = IPv4Network(cidr)
    return Gateway("n", "s", "br100", "wire", block, address, external=external, isolated=isolated)


GATEWAYS = (
    gateway("10.0.0.0/24", SHARED, external=False, isolated=True),
    gateway("10.5.0.0/24", IPv4Address("10.5.0.2"), external=True, isolated=False),
)
LIFTED = (IPv4Network("192.0.2.0/24"),)
PORTS = (*(g.tap for g in GUARDS), "wire")
RULES = guard_ruleset(GUARDS, GATEWAYS, LIFTED).text
PROBE = """
add table bridge probe
delete table bridge probe
add table bridge probe
add counter bridge probe marked
add counter bridge probe unmarked
add chain bridge probe input { type filter hook input priority 0; }
add rule bridge probe input meta mark & 0x04000000 == 0x04000000 counter name marked
add rule bridge probe input meta mark & 0x04000000 == 0 counter name unmarked
"""


@dataclass(frozen=True)
class Case:
    """A frame that `sender` sends, and whether `receiver` hears it; `counter` if it is dropped."""

    name: str
    sender: str
    frame: bytes
    receiver: str
    arrives: bool
    counter: str = ""


def honest(name: str, sender: str, frame: bytes, receiver: str = "wire") -> Case:
    return Case(name, sender, frame, receiver, arrives=True)


def dropped(counter: str, name: str, sender: str, frame: bytes, receiver: str = "wire") -> Case:
    return Case(name, sender, frame, receiver, arrives=False, counter=counter)


def neighbour(target: str) -> bytes:
    """Return what follows the header of a neighbour solicitation or advertisement."""
    return IPv6Address(target).packed


FRAGMENTED_RA = struct.pack("!BBHI", 58, 0, 0, 1) + struct.pack("!BBHI", 134, 0, 0, 0)
OWN, ANY = ("10.7.0.5", "10.7.0.9"), ("0.0.0.0", "255.255.255.255")
GLOBAL = "2001:db8::5"
CASES = (
    # what a VM may send
    honest("arp-with-own-address", "a", arp(A, "10.7.0.5", "10.7.0.1")),
    honest("arp-with-an-address-of-its-block", "a", arp(A, "10.9.0.7", "10.7.0.1")),
    honest("arp-of-its-virtual-mac", "a", arp(PAIR, "10.9.0.7", "10.7.0.1")),
    honest("arp-probe", "a", arp(A, "0.0.0.0", "10.7.0.5")),
    honest("rarp-after-migration", "a", arp(A, "0.0.0.0", "0.0.0.0", kind=0x8035, operation=3)),
    honest("ipv4-from-own-address", "a", udp(A, OWN, (1000, 2000))),
    honest("ipv4-from-its-block", "a", udp(A, ("10.9.0.7", "10.7.0.9"), (1000, 2000))),
    honest("dhcp-discover", "a", udp(A, ANY, (68, 67))),
    honest("fragment-of-its-own", "a", udp(A, OWN, (1, 2), b"12345678", offset=64)),
    honest("ipv6-link-local", "a", icmpv6(A, (LL, "ff02::1"), 128)),
    honest("ipv6-unspecified", "a", icmpv6(A, ("::", "ff02::1"), 135, neighbour(LL))),
    honest("ipv6-neighbour-advert", "a", icmpv6(A, (LL, "ff02::1"), 136, neighbour(LL))),
    honest("anything-without-port-security", "open", arp(W, "10.7.0.1", "10.7.0.5")),
    # what it may not
    dropped("from_vlan", "vlan-tag", "a", tagged(arp(A, "10.7.0.5", "10.7.0.1"))),
    dropped("from_mac", "anothers-mac", "a", arp(B, "10.7.0.6", "10.7.0.1")),
    dropped("from_mac", "anothers-mac-own-address", "a", udp(B, OWN, (1, 2))),
    dropped("from_ethertype", "other-ethertype", "a", ether(A, BROADCAST, 0x88B6, b"x" * 46)),
    dropped("from_ethertype", "llc", "a", ether(A, BROADCAST, 46, b"x" * 46)),
    dropped("from_arp", "arp-anothers-address", "a", arp(A, "10.7.0.6", "10.7.0.1")),
    dropped("from_arp", "arp-gateways-address", "a", arp(A, "10.7.0.1", "10.7.0.6", operation=2)),
    dropped("from_arp", "arp-anothers-mac-inside", "a", arp(A, "10.7.0.5", "10.7.0.1", sha=B)),
    dropped("from_arp", "arp-anothers-mac-probe", "a", arp(A, "0.0.0.0", "10.7.0.1", sha=B)),
    dropped("from_arp", "arp-of-its-block-with-other-mac", "b", arp(B, "10.9.0.7", "10.7.0.1")),
    dropped("from_arp", "arp-of-odd-shape", "a", arp(A, "10.7.0.5", "10.7.0.1", plen=16)),
    dropped(
        "from_arp", "rarp-reply", "a", arp(A, "10.7.0.5", "10.7.0.1", kind=0x8035, operation=4)
    ),
    dropped("from_ipv4", "ipv4-anothers-address", "a", udp(A, ("10.7.0.6", "10.7.0.9"), (1, 2))),
    dropped("from_ipv4", "ipv4-from-no-address", "a", udp(A, ANY, (1000, 67))),
    dropped("from_ipv4", "ipv4-outside-its-block", "b", udp(B, ("10.9.0.7", "10.7.0.9"), (1, 2))),
    dropped("from_dhcp", "dhcp-offer", "a", udp(A, ("10.7.0.5", "255.255.255.255"), (67, 68))),
    dropped("from_dhcp", "dhcp-from-port-67", "a", udp(A, OWN, (67, 2000))),
    dropped("from_dhcp", "dhcp-to-port-68", "a", udp(A, OWN, (2000, 68))),
    dropped(
        "from_dhcp",
        "dhcp-offer-in-fragments",
        "a",
        udp(A, OWN, (67, 68), b"12345678", more=True),
    ),
    dropped(
        "from_dhcp",
        "dhcpv6-reply",
        "a",
        ipv6(A, (LL, "ff02::1"), 17, b"\x02\x23\x10\x00\0\x08\0\0"),
    ),
    dropped(
        "from_dhcp",
        "dhcpv6-to-546",
        "a",
        ipv6(A, (LL, "ff02::1"), 17, b"\x10\x00\x02\x22\0\x08\0\0"),
    ),
    dropped("from_router", "router-advert", "a", icmpv6(A, (LL, "ff02::1"), 134, bytes(8))),
    dropped("from_router", "redirect", "a", icmpv6(A, (LL, "ff02::1"), 137, bytes(32))),
    dropped(
        "from_ipv6", "router-advert-in-fragments", "a", ipv6(A, (LL, "ff02::1"), 44, FRAGMENTED_RA)
    ),
    dropped("from_ipv6", "ipv6-global", "a", icmpv6(A, (GLOBAL, "ff02::1"), 128)),
    dropped(
        "from_ipv6",
        "neighbour-advert-of-another",
        "a",
        icmpv6(A, (LL, "ff02::1"), 136, neighbour(GLOBAL)),
    ),
    # what it is sent
    honest("unicast-to-its-mac", "open", udp(W, ("10.7.0.9", "10.7.0.5"), (1, 2), to=A), "a"),
    dropped(
        "to_mac", "unicast-to-another", "open", udp(W, ("10.7.0.9", "10.7.0.6"), (1, 2), to=B), "a"
    ),
    honest("dhcp-of-its-server", "wire", udp(W, ("10.7.0.1", "10.7.0.5"), (67, 68), to=A), "a"),
    dropped("to_dhcp", "dhcp-of-another", "wire", udp(W, ("10.7.0.66", "10.7.0.5"), (67, 68)), "a"),
    dropped("reflected", "own-broadcast", "a", arp(A, "10.7.0.5", "10.7.0.2"), "a"),
    # what the host hears
    honest("arp-to-the-host", "a", arp(A, "10.7.0.5", "10.7.0.3"), "host"),
    honest("dhcp-to-the-host", "l", udp(L, ANY, (68, 67)), "host"),
    dropped("host_ipv6", "ipv6-to-the-host", "a", icmpv6(A, (LL, "ff02::1"), 128, b"h"), "host"),
    dropped(
        "host_reserved",
        "ipv4-in-lldps-group",
        "a",
        udp(A, ("10.7.0.5", "10.0.0.1"), (1, 2), to="01:80:c2:00:00:0e"),
        "host",
    ),
    dropped(
        "host_reserved",
        "ipv4-in-a-reserved-group",
        "a",
        udp(A, ("10.7.0.5", "10.0.0.1"), (1, 2), to="01:80:c2:00:00:03"),
        "host-tap",
    ),
    # what doesn't cross the wire
    dropped("wire_arp", "arp-for-shared-comes-in", "wire", arp(W, "10.0.0.9", "10.0.0.1"), "host"),
    dropped("wire_arp", "arp-of-shared-comes-in", "wire", arp(W, "10.0.0.1", "10.0.0.9"), "l"),
    dropped("wire_arp", "arp-for-shared-goes-out", "l", arp(L, "10.0.0.5", "10.0.0.1")),
    dropped("wire_arp", "arp-of-shared-goes-out", "host", arp(HOST, "10.0.0.1", "10.0.0.9")),
    honest("arp-for-shared-reaches-the-host", "l", arp(L, "10.0.0.5", "10.0.0.1"), "host"),
    honest("other-arp-comes-in", "wire", arp(W, "10.0.0.9", "10.0.0.5"), "l"),
    dropped("wire_dhcp", "local-discover-goes-out", "l", udp(L, ANY, (68, 67))),
    dropped(
        "wire_dhcp",
        "local-offer-goes-out",
        "host",
        udp(HOST, ("10.0.0.1", "255.255.255.255"), (67, 68)),
    ),
    honest(
        "local-offer-reaches-its-vm",
        "host",
        udp(HOST, ("10.0.0.1", "255.255.255.255"), (67, 68)),
        "l",
    ),
    dropped(
        "wire_dhcp",
        "offer-of-shared-comes-in",
        "wire",
        udp(W, ("10.0.0.1", "255.255.255.255"), (67, 68)),
        "l",
    ),
    dropped(
        "wire_dhcp",
        "offer-for-a-local-mac-comes-in",
        "wire",
        udp(W, ("10.0.0.77", "10.0.0.5"), (67, 68), to=L),
        "open",
    ),
    honest("dhcp-of-another-network-goes-out", "a", udp(A, ANY, (68, 67), b"again")),
    honest(
        "dhcp-of-another-network-comes-in",
        "wire",
        udp(W, ("10.7.0.1", "255.255.255.255"), (67, 68)),
        "b",
    ),
    # what is lifted off the bridge
    Case(
        "lifted-to-the-host",
        "x",
        udp(X, ("10.5.0.5", "192.0.2.9"), (1000, 2000), to=ROUTER),
        "host-ip",
        arrives=True,
    ),
    Case(
        "lifted-leaves-no-copy",
        "x",
        udp(X, ("10.5.0.5", "192.0.2.9"), (1000, 2000), to=ROUTER),
        "wire",
        arrives=False,
    ),
    Case(
        "metadata-is-lifted",
        "x",
        udp(X, ("10.5.0.5", "169.254.169.254"), (1000, 80), to=ROUTER),
        "host-ip",
        arrives=True,
    ),
    honest("not-lifted", "x", udp(X, ("10.5.0.5", "198.51.100.9"), (1, 2), to=ROUTER)),
    honest("broadcast-not-lifted", "x", udp(X, ("10.5.0.5", "192.0.2.255"), (1, 2))),
)


class Switch:
    """The host with its ports, and what is heard where."""

    def __init__(self, host: Namespace, far: Namespace) -> None:
        self.host = host
        lines = ["link add br100 type bridge forward_delay 0 mcast_snooping 0", "link set br100 up"]
        lines += [f"link set br100 address {HOST}"]
        for port in PORTS:
            lines += [
                f"link add name {port} type veth peer name {port}-vm",
                f"link set dev {port} master br100 up",
                f"link set dev {port} type bridge_slave learning off",
            ]
        lines += [f"link set dev {port} type bridge_slave {AS_A_TAP}" for port in PORTS[:-1]]
        host.set("net.ipv6.conf.default.disable_ipv6", "1")
        far.set("net.ipv6.conf.default.disable_ipv6", "1")
        host.ip(*lines)
        for port in PORTS:
            host.move(f"{port}-vm", far)
        far.ip(*(f"link set {port}-vm up" for port in PORTS))
        host.set("net.bridge.bridge-nf-call-iptables", "0")
        self.sockets = {port: packet_socket(far, f"{port}-vm") for port in PORTS}
        self.sockets["host"] = packet_socket(host, "br100")
        self.sockets["host-ip"] = packet_socket(host, "br100", IPV4)
        self.sockets["host-tap"] = packet_socket(host, "a", IPV4)
        self._sentinels = 0

    def close(self) -> None:
        for opened in self.sockets.values():
            opened.close()

    def load(self, text: str) -> None:
        fresh = f"add table bridge lessor\ndelete table bridge lessor\n{text}{PROBE}"
        self.host.run("nft", "-f", "-", stdin=fresh)

    def counted(self) -> dict[str, int]:
        rows = json.loads(self.host.run("nft", "-j", "list", "counters"))["nftables"]
        return {r["counter"]["name"]: r["counter"]["packets"] for r in rows if "counter" in r}

    def heard(self, case: Case) -> bool:
        """Send the frame, then one that reaches every port; say whether the first was heard."""
        for opened in self.sockets.values():
            _drain(opened)
        self.sockets[case.sender].send(case.frame)
        self._sentinels += 1
        mark = ether(W, BROADCAST, 0x88B5, struct.pack("!I", self._sentinels) + bytes(42))
        self.sockets["wire"].send(mark)
        _wait_for(self.sockets["open"], mark)
        return any(_same(one, case.frame) for one in _drain(self.sockets[case.receiver]))


def _same(heard: bytes, sent: bytes) -> bool:
    """Compare what is behind the MACs: a lifted frame has another destination."""
    return heard[6:] == sent[6:] or heard[6:] == sent[6:12] + sent[16:]


def _drain(opened: socket.socket) -> list[bytes]:
    """Return what came in; what this socket sent itself is left out."""
    frames: list[bytes] = []
    while True:
        try:
            frame, (_, _, kind, *_) = opened.recvfrom(2048)
        except BlockingIOError:
            return frames
        if kind != socket.PACKET_OUTGOING:
            frames.append(frame)


def _wait_for(opened: socket.socket, frame: bytes) -> None:
    for _ in range(1000):
        select.select([opened], [], [], 5)
        heard, _ = opened.recvfrom(2048)
        if heard == frame:
            return
    raise AssertionError("the bridge passed nothing on")


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(former)})  # frames of one CPU stay in order
    with namespaces(2) as (host, far):
        made = Switch(host, far)
        yield made
        made.close()
    os.sched_setaffinity(0, former)


@pytest.fixture
def loaded(switch: Switch) -> Switch:
    switch.load(RULES)
    return switch


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_frame_arrives_only_if_it_may(loaded: Switch, case: Case) -> None:
    assert loaded.heard(case) == case.arrives
    counted = loaded.counted()
    if case.counter:
        assert counted[case.counter] >= 1
    elif case.sender in ("a", "b", "l", "x"):
        assert not any(n for c, n in counted.items() if c.startswith("from_"))


def test_dropped_dhcp_answers_are_counted_for_each_tap(loaded: Switch) -> None:
    offer = next(case for case in CASES if case.name == "dhcp-offer")
    loaded.heard(offer)
    loaded.heard(offer)
    counts = drop_counters(
        loaded.host.run("nft", "-j", "list", "counters", "table", "bridge", "lessor")
    )
    assert counts.rogue_dhcp == {"a": 2, "b": 0, "l": 0, "x": 0}
    assert counts.kinds["from_dhcp"] == 2
    assert counts.kinds.keys() == set(COUNTERS)


def test_frames_of_taps_are_marked_and_no_others(loaded: Switch) -> None:
    loaded.heard(honest("", "a", arp(A, "10.7.0.5", "10.7.0.1")))
    assert loaded.counted()["marked"] == 1
    before = loaded.counted()["unmarked"]
    loaded.heard(honest("", "wire", arp(W, "10.7.0.5", "10.7.0.1")))
    assert loaded.counted()["unmarked"] == before + 2  # with the frame that shows the end
    assert loaded.counted()["marked"] == 1


def test_first_frame_of_a_new_tap_is_checked(loaded: Switch) -> None:
    """The rules name a tap that isn't there yet."""
    late = guard("late", B, "10.7.0.6", FAR_SERVER)
    loaded.load(guard_ruleset((*GUARDS, late), GATEWAYS).text)
    loaded.host.ip(
        "link add late type veth peer name late-vm",
        "link set late-vm up",
        "link set late master br100 up",
    )
    loaded.sockets["late"] = packet_socket(loaded.host, "late-vm")
    try:
        assert not loaded.heard(dropped("", "", "late", arp(A, "10.7.0.5", "10.7.0.1")))
        assert loaded.heard(honest("", "late", arp(B, "10.7.0.6", "10.7.0.1")))
    finally:
        loaded.sockets.pop("late").close()
        loaded.host.ip("link del late")


@pytest.mark.parametrize("sender", ["a", "open"])
def test_dhcp_requests_that_are_too_many_are_dropped_and_counted_and_others_are_heard(
    loaded: Switch, sender: str
) -> None:
    """Also where port security is off."""
    mac = A if sender == "a" else W
    flood = honest("", sender, udp(mac, ANY, (68, 67)))
    for _ in range(4 * BURST - 1):  # at once: while others are waited for, more would be allowed
        loaded.sockets[sender].send(flood.frame)
    assert not loaded.heard(flood)
    passed = 4 * BURST - loaded.counted()[f"flood_dhcp_{sender}"]
    assert BURST <= passed < 2 * BURST
    assert loaded.heard(honest("", "b", udp(B, ANY, (68, 67))))
    assert loaded.heard(honest("", "a", arp(A, "10.7.0.5", "10.7.0.1"))), "its other frames pass"


@cache
def rule_lines() -> list[str]:
    """Return all rules but the limit of DHCP requests, which no single frame meets."""
    lines = [line for line in RULES.splitlines() if line.startswith("add rule ")]
    return [line for line in lines if "@limits" not in line]


def outcome(switch: Switch, text: str) -> tuple[list[bool], dict[str, int]]:
    switch.load(text)
    heard = [switch.heard(case) for case in CASES]
    return heard, switch.counted()


@pytest.fixture(scope="module")
def whole(switch: Switch) -> tuple[list[bool], dict[str, int]]:
    return outcome(switch, RULES)


@pytest.mark.parametrize("number", range(len(rule_lines())))
def test_every_rule_is_missed_when_it_is_gone(
    switch: Switch, whole: tuple[list[bool], dict[str, int]], number: int
) -> None:
    rule = rule_lines()[number]
    less = RULES.replace(f"{rule}\n", "", 1)
    assert outcome(switch, less) != whole, rule
    kept = re.sub(r"counter name \S+ drop$", "drop", rule)
    if kept != rule:
        assert outcome(switch, RULES.replace(rule, kept, 1)) != whole, f"counter of {rule}"
