"""The filter of taps against real frames: only what isn't the port's is handed over."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.agent.diagnosis.listen import listen
from lessor.core.diagnosis.drops import PortHere
from lessor.core.diagnosis.spoofs import LONGEST, offence, spoof_filter
from lessor.core.offences import Offence, Reason
from lessor.core.vmport import PortSecurity, allowed
from lessor.model import AddressPair, FixedIp, Port
from tests.agent.drivers.frames import (
    BROADCAST,
    Namespace,
    arp,
    ether,
    icmpv6,
    namespaces,
    packet_socket,
    udp,
)

pytestmark = pytest.mark.lab

MAC, PAIR, WRONG = "fa:16:3e:00:00:01", "00:00:5e:00:01:01", "02:00:00:00:00:99"
OWN, STRANGE = "10.0.0.2", "10.0.0.77"
PORT = Port(
    id="p1",
    network_id="n",
    mac_address=MAC,
    fixed_ips=(FixedIp("s", IPv4Address(OWN)),),
    allowed_address_pairs=(AddressPair(IPv4Network("10.9.0.0/24"), PAIR),),
)
SECURITY = PortSecurity("tap1", "br-int", MAC, *allowed(PORT))
HERE = PortHere(PORT, SECURITY)
MAC_77 = Offence("tap1", Reason.SOURCE, MAC, STRANGE)

FRAMES = {
    "another-mac": (udp(WRONG, (OWN, "10.0.0.1"), (1, 2)), Offence("tap1", Reason.MAC, WRONG)),
    "another-macs-arp": (arp(WRONG, OWN, "10.0.0.1"), Offence("tap1", Reason.MAC, WRONG)),
    "another-macs-ipv6": (
        icmpv6(WRONG, ("fe80::1", "ff02::1"), 133),
        Offence("tap1", Reason.MAC, WRONG),
    ),
    "last-byte-of-the-mac": (
        arp("fa:16:3e:00:00:02", OWN, "10.0.0.1"),
        Offence("tap1", Reason.MAC, "fa:16:3e:00:00:02"),
    ),
    "another-address": (udp(MAC, (STRANGE, "10.0.0.1"), (1, 2)), MAC_77),
    "another-addresss-arp": (arp(MAC, STRANGE, "10.0.0.1"), MAC_77),
    "own-address": (udp(MAC, (OWN, "10.0.0.1"), (1, 2)), None),
    "own-arp": (arp(MAC, OWN, "10.0.0.1"), None),
    "gratuitous-arp": (arp(MAC, OWN, OWN), None),
    "arp-probe": (arp(MAC, "0.0.0.0", OWN), None),
    "dhcp-discover": (udp(MAC, ("0.0.0.0", "255.255.255.255"), (68, 67)), None),
    "allowed-pair": (udp(PAIR, ("10.9.0.7", "10.0.0.1"), (1, 2)), None),
    "router-solicitation": (icmpv6(MAC, ("fe80::1", "ff02::2"), 133), None),
    "duplicate-address-detection": (icmpv6(MAC, ("::", "ff02::1"), 135), None),
    "lldp": (ether(MAC, "01:80:c2:00:00:0e", 0x88CC, b"x" * 46), None),
    "spanning-tree": (ether(MAC, "01:80:c2:00:00:00", 38, b"x" * 46), None),
}


@pytest.fixture(scope="module")
def host() -> Iterator[Namespace]:
    with namespaces(1) as (namespace,):
        namespace.set("net.ipv6.conf.default.disable_ipv6", "1")
        namespace.ip("link add vnet0 type veth peer name vm", "link set vnet0 up", "link set vm up")
        yield namespace


def heard(host: Namespace, *frames: bytes, here: PortHere = HERE, way: str = "vm") -> list[Offence]:
    """What is heard of frames that are sent while somebody listens."""
    found: list[Offence] = []

    def hear() -> None:
        with host:
            found.extend(listen({"tap1": here}, {"tap1": "vnet0"}, 0.4))

    listener = threading.Thread(target=hear)
    mouth = packet_socket(host, way)
    listener.start()
    until = time.monotonic() + 10
    while listener.is_alive() and time.monotonic() < until:
        for frame in frames:
            mouth.send(frame)
        listener.join(0.02)
    mouth.close()
    assert not listener.is_alive()
    return found


@pytest.mark.parametrize("name", FRAMES)
def test_only_what_is_not_the_ports_is_heard(host: Namespace, name: str) -> None:
    frame, wrong = FRAMES[name]
    assert heard(host, frame) == ([wrong] if wrong else [])


def test_it_is_the_kernel_that_leaves_out_what_is_the_ports(host: Namespace) -> None:
    """A socket with that filter has nothing to read of a VM that sends as it may."""
    from lessor.agent.diagnosis import listen as module  # noqa: PLC0415 - what only this test looks into

    with host:
        ear = module._opened("vnet0", HERE)
        assert ear is not None
    mouth = packet_socket(host, "vm")
    for frame, wrong in FRAMES.values():
        if wrong is None:
            mouth.send(frame)
    with pytest.raises(BlockingIOError):
        ear.recv(64)
    mouth.send(FRAMES["another-mac"][0])
    ear.settimeout(5)
    assert ear.recv(64)
    ear.close()
    mouth.close()


def test_what_is_sent_to_the_vm_is_not_heard(host: Namespace) -> None:
    assert heard(host, udp(WRONG, (STRANGE, OWN), (1, 2), to=MAC), way="vnet0") == []


def test_a_tap_that_is_not_there_is_no_error() -> None:
    assert list(listen({"tap9": HERE}, {}, 0.1)) == []


def test_a_port_without_port_security_is_not_listened_to(host: Namespace) -> None:
    assert (
        heard(
            host,
            FRAMES["another-mac"][0],
            here=PortHere(PORT, replace(SECURITY, macs=(), sources=())),
        )
        == []
    )


def test_a_port_with_as_many_addresses_as_fit_is_heard(host: Namespace) -> None:
    blocks = tuple((MAC, IPv4Network(f"10.1.{n}.0/24")) for n in range(LONGEST - 1))
    here = PortHere(PORT, replace(SECURITY, macs=(MAC,), sources=blocks))
    assert heard(host, arp(MAC, "10.1.198.7", BROADCAST and OWN), here=here) == []
    assert len(heard(host, arp(MAC, "10.2.0.7", OWN), here=here)) == 1
    assert spoof_filter((MAC,), (*blocks, *blocks)) is None


def test_a_frame_that_is_cut_short_is_nothing() -> None:
    assert offence("tap1", b"x" * 20, SECURITY.macs, SECURITY.sources) is None
