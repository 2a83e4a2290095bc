"""One bridge, two VMs; one of them takes the other's address. Real Ethernet, real ARP."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from pyroute2 import netns

from lessor.core.diff import diff
from lessor.core.state import MetadataListener
from lessor.errors import Unavailable
from lessor.lab.netns import in_netns
from lessor.metadata.client_address import Caller, EthernetCallers, keep_first_packets
from lessor.metadata.listeners import MetadataListeners
from lessor.model import AddressPair
from lessor.netns import FOLDER
from tests.metadata.metadata_fakes import FakeServer, app, mac_of, ports, running_loop, vm

pytestmark = pytest.mark.lab

BRIDGE, PORT = "br-md", 8775
ADDRESSES = {"a": "10.0.0.5", "b": "10.0.0.6"}
A = IPv4Address("10.0.0.5")
URL = f"http://10.0.0.1:{PORT}/latest/meta-data/hostname"


def ip(*args: str) -> str:
    done = subprocess.run(("ip", *args), capture_output=True, text=True, timeout=10, check=True)
    return done.stdout


@dataclass
class Place:
    """A host with a bridge, and VMs a and b on it."""

    prefix: str

    @property
    def host(self) -> str:
        return f"{self.prefix}-h"

    def guest(self, name: str) -> str:
        return f"{self.prefix}-{name}"

    def make(self) -> None:
        for name in (self.host, *map(self.guest, ADDRESSES)):
            ip("netns", "add", name)
        ip("-n", self.host, "link", "add", BRIDGE, "type", "bridge")
        ip("-n", self.host, "address", "add", "10.0.0.1/24", "dev", BRIDGE)
        ip("-n", self.host, "link", "set", BRIDGE, "up")
        for name, address in ADDRESSES.items():
            guest, tap = self.guest(name), f"tap-{name}"
            ip("-n", self.host, "link", "add", tap, "type", "veth", "peer", "eth0", "netns", guest)
            ip("-n", self.host, "link", "set", tap, "master", BRIDGE, "up")
            ip("-n", guest, "link", "set", "eth0", "address", mac_of(address), "up")
            ip("-n", guest, "address", "add", f"{address}/24", "dev", "eth0")

    def entry(self) -> str:
        return ip("-n", self.host, "-d", "neigh", "show", str(A), "dev", BRIDGE)

    def claim(self, name: str) -> None:
        """Have a VM say to everybody that it has a's address."""
        own = bytes.fromhex(mac_of(ADDRESSES[name]).replace(":", ""))
        head = b"\xff" * 6 + own + b"\x08\x06"
        arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + own + A.packed + b"\xff" * 6 + A.packed

        def send() -> None:
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
                wire.bind(("eth0", 0))
                wire.send(head + arp)

        in_netns(FOLDER / self.guest(name), send)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place(f"lessor-mt{os.getpid()}")
    try:
        made.make()
        yield made
    finally:
        for name in (made.host, *map(made.guest, ADDRESSES)):
            subprocess.run(("ip", "netns", "del", name), timeout=10, check=False)


@pytest.fixture
def listening(place: Place) -> Iterator[socket.socket]:
    def make() -> socket.socket:
        made = socket.socket()
        keep_first_packets(made)
        made.bind(("10.0.0.1", PORT))
        made.listen()
        made.settimeout(5)
        return made

    with in_netns(FOLDER / place.host, make) as made:
        yield made


@pytest.fixture
def callers(place: Place) -> Iterator[EthernetCallers]:
    made = in_netns(FOLDER / place.host, lambda: EthernetCallers(BRIDGE, ""))
    yield made
    made.close()


def connected(place: Place, name: str, source: str = "") -> socket.socket:
    def connect() -> socket.socket:
        made: tuple[str, int] = (source or ADDRESSES[name], 0)
        return socket.create_connection(("10.0.0.1", PORT), 5, source_address=made)

    return in_netns(FOLDER / place.guest(name), connect)


def test_a_caller_has_the_mac_and_address_of_its_syn(
    place: Place, listening: socket.socket, callers: EthernetCallers
) -> None:
    with connected(place, "a"), listening.accept()[0] as made:
        caller = callers.meet(made)
        assert caller == Caller(mac_of("10.0.0.5"), A)
        callers.part(caller)


def test_arp_changes_no_entry_of_who_is_connected(
    place: Place, listening: socket.socket, callers: EthernetCallers
) -> None:
    ip("netns", "exec", place.host, "sysctl", "-qw", f"net.ipv4.neigh.{BRIDGE}.locktime=0")
    ip("netns", "exec", place.host, "sysctl", "-qw", f"net.ipv4.conf.{BRIDGE}.arp_accept=1")
    with connected(place, "a"), listening.accept()[0] as made:
        caller = callers.meet(made)
        place.claim("b")
        assert mac_of("10.0.0.5") in place.entry()
        assert "PERMANENT proto 76" in place.entry()
        callers.part(caller)
    assert "PERMANENT" not in place.entry()

    def b_has_it() -> bool:
        place.claim("b")  # heard no sooner than a tick of the kernel's clock after the last change
        return mac_of("10.0.0.6") in place.entry()

    wait_for(b_has_it)


def test_whose_entry_was_stolen_is_not_answered(
    place: Place, listening: socket.socket, callers: EthernetCallers
) -> None:
    with connected(place, "a"), listening.accept()[0] as made:
        ip("-n", place.host, "neigh", "replace", str(A), "lladdr", mac_of("10.0.0.6"),
           "dev", BRIDGE, "nud", "reachable")  # fmt: skip
        with pytest.raises(Unavailable, match=r"10\.0\.0\.5 has .*:06 in ARP"):
            callers.meet(made)
    assert "PERMANENT" not in place.entry()


def test_two_macs_with_one_address_are_not_connected_at_once(
    place: Place, listening: socket.socket, callers: EthernetCallers
) -> None:
    with connected(place, "a"), listening.accept()[0] as made:
        callers.meet(made)
        first = made.getpeername()
        assert first[0] == str(A)
        held = callers._held[A]
        held.mac = mac_of("10.0.0.6")  # as if b were
        with (
            connected(place, "a"),
            listening.accept()[0] as other,
            pytest.raises(Unavailable),
        ):
            callers.meet(other)
        assert held.many == 1


def test_entries_that_a_killed_agent_left_are_given_back(place: Place) -> None:
    for address, proto in ((str(A), "76"), ("10.0.0.6", "static")):
        ip("-n", place.host, "neigh", "replace", address, "lladdr", mac_of(address),
           "dev", BRIDGE, "nud", "permanent", "protocol", proto)  # fmt: skip
    in_netns(FOLDER / place.host, lambda: EthernetCallers(BRIDGE, "")).close()
    assert "PERMANENT" not in place.entry()
    theirs = ip("-n", place.host, "neigh", "show", "10.0.0.6", "dev", BRIDGE)
    assert "PERMANENT" in theirs  # the operator's


def test_an_operator_s_permanent_entry_stays(
    place: Place, listening: socket.socket, callers: EthernetCallers
) -> None:
    ip("-n", place.host, "neigh", "replace", str(A), "lladdr", mac_of("10.0.0.5"),
       "dev", BRIDGE, "nud", "permanent")  # fmt: skip
    with connected(place, "a"), listening.accept()[0] as made:
        callers.part(callers.meet(made))
    assert "PERMANENT" in place.entry()


@pytest.fixture
def served(place: Place) -> Iterator[None]:
    """The service on the bridge; b has an allowed pair of a's address."""
    a, b = vm("a", "blue", A), vm("b", "blue", IPv4Address("10.0.0.6"))
    pair = AddressPair(IPv4Network(A))
    b = replace(b, port=replace(b.port, allowed_address_pairs=(pair,)))
    server = FakeServer([a, b])
    wanted = {BRIDGE: MetadataListener(BRIDGE, PORT, ("blue",))}
    with (
        ThreadPoolExecutor(1) as thread,
        running_loop(lambda: netns.setns(place.host)) as loop,
    ):
        made = MetadataListeners(app(server).process(), loop, ports(a, b))
        thread.submit(netns.setns, place.host).result(5)
        thread.submit(lambda: made.apply(diff(wanted, {}))).result(10)
        yield
        made.close()


def asked(place: Place, name: str, *source: str) -> str:
    with_ = ("--interface", *source) if source else ()
    return ip("netns", "exec", place.guest(name), "curl", "-sS", "--max-time", "5", *with_, URL)


def test_a_stolen_address_gets_the_thief_s_own_metadata(place: Place, served: None) -> None:
    assert asked(place, "a") == "a.novalocal"
    wait_for(lambda: "PERMANENT" not in place.entry())  # the service has given a's entry back
    ip("-n", place.guest("b"), "address", "add", f"{A}/24", "dev", "eth0")
    ip("-n", place.host, "neigh", "replace", str(A), "lladdr", mac_of("10.0.0.6"),
       "dev", BRIDGE, "nud", "reachable")  # fmt: skip
    assert asked(place, "b", str(A)) == "b.novalocal"


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)
