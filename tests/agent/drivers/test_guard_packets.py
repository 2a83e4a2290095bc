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

from lessor.core.firewall.dhcp_limit import BURST
from lessor.core.firewall.drop_sets import SETS, SIZE, offences
from lessor.core.firewall.tap_guard import Others, guard_ruleset
from lessor.core.firewall.tap_guard_rules import BRIDGED_MARK, KNOWN_MARK
from lessor.core.offences import Offence, Reason
from lessor.core.state import Gateway, VmRange
from lessor.core.vmport import PortSecurity
from tests.agent.drivers.frames import (
    BROADCAST,
    IPV4,
    Namespace,
    arp,
    ether,
    headed,
    icmp_error,
    icmpv6,
    ipv4,
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


def guard(
    tap: str, own: str, address: str, *servers: IPv4Address, local: bool = False
) -> PortSecurity:
    pairs = ((own, IPv4Network(address)), *(((PAIR, BLOCK), (own, BLOCK)) if own == A else ()))
    macs = (own, PAIR) if own == A else (own,)
    return PortSecurity(tap, "br100", own, macs, pairs, servers, local, address.rpartition(".")[0])


GUARDS = (
    guard("a", A, "10.7.0.5", FAR_SERVER),
    guard("b", B, "10.7.0.6", FAR_SERVER),
    guard("l", L, "10.0.0.5", SHARED, local=True),
    guard("x", X, "10.5.0.5"),
    PortSecurity("open", "br100", "fa:16:3e:00:00:0f", (), (), group="10.7.0"),
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
RANGES = [
    VmRange("br100", IPv4Network(f"{net}.0/24"), (), net, (IPv4Address(f"{net}.1"),))
    for net in ("10.7.0", "10.0.0", "10.5.0")
]
OTHERS = Others(LIFTED, ranges=RANGES, base_mac="fa:16:3e:00:00:00")
RULES = guard_ruleset(GUARDS, GATEWAYS, OTHERS).text
SO_MARK = 36  # asm-generic/socket.h
PROBE = """
add table bridge probe
delete table bridge probe
add table bridge probe
add counter bridge probe marked
add counter bridge probe unmarked
add chain bridge probe input { type filter hook input priority 0; }
add rule bridge probe input meta mark & 0x04000000 == 0x04000000 counter name marked
add rule bridge probe input meta mark & 0x04000000 == 0 counter name unmarked
add counter bridge probe bridged
add counter bridge probe bridged_to_host
add rule bridge probe input meta mark & 0x01000000 == 0x01000000 counter name bridged_to_host
add chain bridge probe forward { type filter hook forward priority 0; }
add rule bridge probe forward meta mark & 0x01000000 == 0x01000000 counter name bridged
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


def to_client(mac: str) -> bytes:
    """Return the start of a DHCP server's message, as far as its client's MAC."""
    return b"\x02\x01\x06\x00" + bytes(24) + bytes.fromhex(mac.replace(":", "")) + bytes(10)


def offer(server: IPv4Address) -> bytes:
    """Return a DHCP server's message, as far as where it names itself."""
    return to_client(A) + bytes(192) + b"\x63\x82\x53\x63\x35\x01\x02\x36\x04" + server.packed


def icmp(source: str, about: tuple[str, str]) -> bytes:
    """Return an ICMP error of b's or a's address about a datagram between two others."""
    own = "10.7.0.6" if source == B else "10.7.0.5"
    packet = ipv4((own, "10.7.0.9"), 1, icmp_error(about, (1000, 53)))
    return ether(source, BROADCAST, IPV4, packet)


FROM_B = ("10.7.0.6", "10.7.0.9")
QUERY = bytes((0x11, 100)) + bytes(6)  # of all groups
FRAGMENTED_RA = struct.pack("!BBHI", 58, 0, 0, 1) + struct.pack("!BBHI", 134, 0, 0, 0)
OWN, ANY = ("10.7.0.5", "10.7.0.9"), ("0.0.0.0", "255.255.255.255")
GLOBAL = "2001:db8::5"
V6 = {
    "ipv6-link-local": icmpv6(A, (LL, "ff02::1"), 128),
    "ipv6-global": icmpv6(A, (GLOBAL, "ff02::1"), 128),
    "neighbour-solicit": icmpv6(A, ("::", "ff02::1"), 135, neighbour(LL)),
    "neighbour-advert": icmpv6(A, (LL, "ff02::1"), 136, neighbour(LL)),
    "router-advert": icmpv6(A, (LL, "ff02::1"), 134, bytes(8)),
    "router-advert-in-fragments": ipv6(A, (LL, "ff02::1"), 44, FRAGMENTED_RA),
    "router-advert-behind-ah": ipv6(
        A, (LL, "ff02::1"), 51, bytes((58, 4)) + bytes(22) + struct.pack("!BBHI", 134, 0, 0, 0)
    ),
    "dhcpv6-reply": ipv6(A, (LL, "ff02::1"), 17, b"\x02\x23\x10\x00\0\x08\0\0"),
    "dhcpv6-from-another-port": ipv6(A, (LL, "ff02::1"), 17, b"\x10\x00\x02\x22\0\x08\0\0"),
}
# Headers by which the kernel knows no protocol; a DHCP client that reads all frames may take them.
ODD = {
    "ipv4-of-no-length": headed(udp(A, ("10.7.0.5", "255.255.255.255"), (67, 68)), length=0),
    "ipv4-longer-than-its-frame": headed(udp(A, OWN, (67, 68)), length=1400),
    "ipv4-of-a-short-header": headed(udp(A, OWN, (67, 68)), first=0x44),
    "ipv4-of-a-header-longer-than-its-frame": headed(udp(A, OWN, (67, 68), b"x"), first=0x4F),
    "ipv4-of-version-5": headed(udp(A, OWN, (67, 68)), first=0x55),
}
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
    honest("anything-without-port-security", "open", arp(W, "10.7.0.1", "10.7.0.5")),
    honest("ipv6-without-port-security", "open", icmpv6(W, (LL, "ff02::1"), 134, bytes(8))),
    honest("ipv6-to-one-without", "wire", icmpv6(W, ("fe80::1", "ff02::1"), 134, b"4" * 8), "open"),
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
    *(dropped("from_ipv4", name, "a", frame) for name, frame in ODD.items()),
    honest("dhcp-for-itself", "a", udp(A, ANY, (68, 67), to_client(A))),
    dropped("from_chaddr", "dhcp-for-another", "a", udp(A, ANY, (68, 67), to_client(B))),
    dropped("from_dhcp", "dhcp-offer", "a", udp(A, ("10.7.0.5", "255.255.255.255"), (67, 68))),
    dropped("from_dhcp", "dhcp-from-port-67", "a", udp(A, OWN, (67, 2000))),
    dropped("from_dhcp", "dhcp-to-port-68", "a", udp(A, OWN, (2000, 68))),
    dropped(
        "from_dhcp",
        "dhcp-offer-in-fragments",
        "a",
        udp(A, OWN, (67, 68), b"12345678", more=True),
    ),
    honest("icmp-error-about-what-came", "b", icmp(B, ("10.7.0.9", "10.7.0.6"))),
    honest("icmp-error-of-who-may-route", "a", icmp(A, ("10.7.0.9", "10.7.0.77"))),
    honest("ping", "b", ether(B, BROADCAST, IPV4, ipv4(FROM_B, 1, b"\x08\0\0\0abcd"))),
    dropped("from_icmp", "icmp-error-about-anothers", "b", icmp(B, ("10.7.0.1", "10.7.0.5"))),
    dropped(
        "from_icmp",
        "icmp-error-that-quotes-nothing",
        "b",
        ether(B, BROADCAST, IPV4, ipv4(FROM_B, 1, b"\x03\x04\0\0\0\0\x02\x28", more=True)),
    ),
    honest("igmp-report", "b", ether(B, BROADCAST, IPV4, ipv4(FROM_B, 2, b"\x16" + bytes(7)))),
    dropped("from_igmp", "igmp-query", "b", ether(B, BROADCAST, IPV4, ipv4(FROM_B, 2, QUERY))),
    dropped(
        "from_igmp",
        "igmp-in-fragments",
        "b",
        ether(B, BROADCAST, IPV4, ipv4(FROM_B, 2, b"\x16" + bytes(7), offset=8)),
    ),
    *(dropped("from_ipv6", name, "a", frame) for name, frame in V6.items()),
    # what it is sent
    honest("unicast-to-its-mac", "open", udp(W, ("10.7.0.9", "10.7.0.5"), (1, 2), to=A), "a"),
    dropped(
        "to_mac", "unicast-to-another", "open", udp(W, ("10.7.0.9", "10.7.0.6"), (1, 2), to=B), "a"
    ),
    dropped(
        "to_ipv6", "router-advert-to-it", "open", icmpv6(W, (LL, "ff02::1"), 134, b"2" * 8), "a"
    ),
    dropped(
        "to_ipv6", "ipv6-from-the-wire", "wire", icmpv6(W, (LL, "ff02::1"), 134, b"3" * 8), "a"
    ),
    honest(
        "dhcp-broadcast-of-its-server-by-its-bridges-first-address",
        "wire",
        udp(W, ("10.5.0.2", "255.255.255.255"), (67, 68), offer(FAR_SERVER)),
        "a",
    ),
    dropped(
        "to_dhcp",
        "dhcp-broadcast-of-another-server",
        "wire",
        udp(W, ("10.5.0.2", "255.255.255.255"), (67, 68), offer(IPv4Address("10.5.0.2"))),
        "a",
    ),
    # what comes from, and goes to, a port that nothing is known of
    dropped("from_unknown", "unknown-to-the-wire", "unknown", arp(B, "10.7.0.6", "10.7.0.1")),
    dropped("from_unknown", "unknown-to-a-vm", "unknown", arp(B, "10.7.0.6", "10.7.0.1"), "a"),
    dropped("to_unknown", "vm-to-unknown", "a", arp(A, "10.7.0.5", "10.7.0.1"), "unknown"),
    dropped("to_unknown", "open-to-unknown", "open", arp(W, "10.7.0.9", "10.7.0.1"), "unknown"),
    dropped("to_unknown", "wire-to-unknown", "wire", arp(W, "10.7.0.9", "10.7.0.1"), "unknown"),
    dropped(
        "to_unknown", "host-to-unknown", "host-known", arp(HOST, "10.7.0.9", "10.7.0.1"), "unknown"
    ),
    dropped(
        "to_ipv4",
        "ipv4-of-no-length-to-a-vm",
        "wire",
        headed(udp(W, ("10.7.0.66", "10.7.0.5"), (67, 68), to=A), length=0),
        "a",
    ),
    honest("dhcp-of-its-server", "wire", udp(W, ("10.7.0.1", "10.7.0.5"), (67, 68), to=A), "a"),
    dropped("to_dhcp", "dhcp-of-another", "wire", udp(W, ("10.7.0.66", "10.7.0.5"), (67, 68)), "a"),
    dropped(
        "to_dhcp",
        "dhcp-of-a-server-on-the-wire",
        "wire",
        udp(W, ("10.7.0.66", "255.255.255.255"), (67, 68), to_client(A)),
        "a",
    ),
    dropped(
        "wire_dhcp",
        "dhcp-from-the-wire-for-a-local-client",
        "wire",
        udp(W, ("10.0.0.66", "10.0.0.5"), (67, 68), to_client(L), to=L),
        "l",
    ),
    # from one flat network to another
    dropped("between_networks", "arp-for-another", "a", arp(A, "10.7.0.5", "10.5.0.5")),
    dropped("between_networks", "arp-comes-in", "wire", arp(W, "10.0.0.9", "10.7.0.5"), "a"),
    honest("arp-of-a-router-comes-in", "wire", arp(W, "10.5.0.1", "10.7.0.5"), "a"),
    honest("to-the-same-network", "a", udp(A, ("10.7.0.5", "10.7.0.6"), (1, 2), to=B), "b"),
    dropped("between_networks", "a-to-l", "a", udp(A, OWN, (1, 2), to=L), "l"),
    dropped("between_networks", "l-to-x", "l", udp(L, ("10.0.0.5", "10.5.0.5"), (1, 2), to=X), "x"),
    dropped("between_networks", "x-to-a", "x", udp(X, ("10.5.0.5", "10.7.0.5"), (1, 2), to=A), "a"),
    dropped("reflected", "own-broadcast", "a", arp(A, "10.7.0.5", "10.7.0.2"), "a"),
    # what the host hears
    honest("arp-to-the-host", "a", arp(A, "10.7.0.5", "10.7.0.3"), "host"),
    honest("dhcp-to-the-host", "l", udp(L, ANY, (68, 67)), "host"),
    dropped("host_ipv6", "ipv6-of-a-far-vm", "wire", icmpv6(W, (LL, "ff02::1"), 128, b"w"), "host"),
    honest("ipv6-of-a-machine", "wire", icmpv6(ROUTER, (LL, "ff02::1"), 128, b"m"), "host"),
    dropped("host_ipv6", "ipv6-to-the-host", "open", icmpv6(W, (LL, "ff02::1"), 128, b"h"), "host"),
    dropped(
        "host_reserved",
        "lldps-group-without-port-security",
        "open",
        udp(W, ("10.7.0.5", "10.0.0.1"), (1, 2), to="01:80:c2:00:00:0e"),
        "host",
    ),
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
        "lifted-without-port-security",
        "open",
        udp(W, ("10.5.0.9", "192.0.2.9"), (1000, 2000), to=ROUTER),
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
        lines = ["link add name unknown type veth peer name unknown-vm", "link set unknown-vm up"]
        lines += ["link set dev unknown master br100 up"]
        host.ip(*lines, "link set dev unknown type bridge_slave learning off")
        for port in PORTS:
            host.move(f"{port}-vm", far)
        far.ip(*(f"link set {port}-vm up" for port in PORTS))
        host.set("net.bridge.bridge-nf-call-iptables", "0")
        self.sockets = {port: packet_socket(far, f"{port}-vm") for port in PORTS}
        self.sockets["host"] = packet_socket(host, "br100")
        self.sockets["host-known"] = packet_socket(host, "br100")
        self.sockets["unknown"] = packet_socket(host, "unknown-vm")
        marks = KNOWN_MARK | BRIDGED_MARK
        for marked in ("host-known", "unknown"):  # such a mark may be from another bridge
            self.sockets[marked].setsockopt(socket.SOL_SOCKET, SO_MARK, marks)
        self.sockets["host-ip"] = packet_socket(host, "br100", IPV4)
        self.sockets["host-tap"] = packet_socket(host, "a", IPV4)
        self._sentinels = 0

    def close(self) -> None:
        for opened in self.sockets.values():
            opened.close()

    def load(self, text: str) -> None:
        fresh = f"add table bridge lessor\ndelete table bridge lessor\n{text}{PROBE}"
        self.host.run("nft", "-f", "-", stdin=fresh)

    def load_again(self, text: str) -> None:
        self.host.run("nft", "-f", "-", stdin=text)

    def counted(self) -> dict[str, int]:
        rows = json.loads(self.host.run("nft", "-j", "list", "counters"))["nftables"]
        return {r["counter"]["name"]: r["counter"]["packets"] for r in rows if "counter" in r}

    def offences(self) -> dict[Offence, int]:
        """Who was refused, and how often."""
        listing = [("nft", "-j", "list", "set", "bridge", "lessor", one.name) for one in SETS]
        found = [pair for argv in listing for pair in offences(self.host.run(*argv))]
        assert all(count.age_s is not None and 0 <= count.age_s < 60 for _, count in found)
        return {offence: count.packets for offence, count in found}

    def heard(self, case: Case) -> bool:
        """Send the frame, then one that reaches every port; say whether the first was heard."""
        for opened in self.sockets.values():
            _drain(opened)
        self.sockets[case.sender].send(case.frame)
        self._sentinels += 1
        mark = ether(W, BROADCAST, 0x88B5, struct.pack("!I", self._sentinels) + bytes(42))
        self.sockets["wire"].send(mark)
        before = _before(self.sockets["open"], mark)
        heard = before if case.receiver == "open" else _drain(self.sockets[case.receiver])
        return any(_same(one, case.frame) for one in heard)


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


def _before(opened: socket.socket, frame: bytes) -> list[bytes]:
    """Return what comes in until a frame does."""
    heard: list[bytes] = []
    while True:
        if not select.select([opened], [], [], 5)[0]:
            raise AssertionError("the bridge passed nothing on")
        one, (_, _, kind, *_) = opened.recvfrom(2048)
        if one == frame:
            return heard
        if kind != socket.PACKET_OUTGOING:
            heard.append(one)


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
    assert loaded.offences() == {Offence("a", Reason.ANSWER): 2}
    assert loaded.counted()["from_dhcp"] == 2


REFUSED = {
    "anothers-mac": Offence("a", Reason.MAC, B),
    "ipv4-anothers-address": Offence("a", Reason.SOURCE, A, "10.7.0.6"),
    "arp-anothers-address": Offence("a", Reason.SOURCE, A, "10.7.0.6"),
    "arp-anothers-mac-inside": Offence("a", Reason.SOURCE, B, "10.7.0.5"),
    "dhcp-of-a-server-on-the-wire": Offence("", Reason.WIRE, W, "10.7.0.66", A),
    "dhcp-from-the-wire-for-a-local-client": Offence("", Reason.WIRE, W, "10.0.0.66", L),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_kernel_keeps_with_what_a_sender_was_refused(loaded: Switch, name: str) -> None:
    case = next(case for case in CASES if case.name == name)
    assert not loaded.heard(case)
    refused = loaded.offences()  # a broadcast's copy for each tap counts
    assert refused.keys() == {REFUSED[name]}
    loaded.load_again(RULES)
    assert loaded.offences() == refused, "also when the rules are written again"


@pytest.mark.parametrize("case", [c for c in CASES if c.arrives], ids=lambda case: case.name)
def test_nobody_is_refused_who_sends_as_he_may(loaded: Switch, case: Case) -> None:
    loaded.heard(case)
    assert loaded.offences() == {}


def test_a_vm_that_makes_up_addresses_fills_no_more_than_its_set(loaded: Switch) -> None:
    for number in range(SIZE + 100):
        mac = f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}"
        loaded.sockets["a"].send(arp(mac, "10.7.0.5", "10.7.0.1"))
    assert not loaded.heard(next(case for case in CASES if case.name == "anothers-mac"))
    assert len(loaded.offences()) == SIZE
    assert loaded.counted()["from_mac"] == SIZE + 101


def test_frames_of_taps_are_marked_and_no_others(loaded: Switch) -> None:
    loaded.heard(honest("", "a", arp(A, "10.7.0.5", "10.7.0.1")))
    assert loaded.counted()["marked"] == 1
    before = loaded.counted()["unmarked"]
    loaded.heard(honest("", "wire", arp(W, "10.7.0.5", "10.7.0.1")))
    assert loaded.counted()["unmarked"] == before + 2  # with the frame that shows the end
    assert loaded.counted()["marked"] == 1


def test_frames_that_are_only_bridged_are_marked_and_those_to_the_host_are_not(
    loaded: Switch,
) -> None:
    loaded.heard(honest("", "a", arp(A, "10.7.0.5", "10.7.0.1", to=W)))
    bridged = loaded.counted()["bridged"]
    assert bridged
    loaded.heard(honest("", "unknown", arp(X, "10.7.0.5", "10.7.0.1", to=HOST)))
    assert loaded.counted()["bridged_to_host"] == 0


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
    passed = 4 * BURST - loaded.counted()["from_flood"]
    assert loaded.offences() == {Offence(sender, Reason.REQUEST): 4 * BURST - passed}
    assert BURST <= passed < 2 * BURST
    assert loaded.heard(honest("", "b", udp(B, ANY, (68, 67))))
    assert loaded.heard(honest("", "a", arp(A, "10.7.0.5", "10.7.0.1"))), "its other frames pass"


FLOODS = {
    "from-another-port": ("a", udp(A, OWN, (1068, 67))),
    "unicast": ("a", udp(A, OWN, (68, 67), to=W)),
    "without-port-security": ("open", udp(W, OWN, (1068, 67))),
}


@pytest.mark.parametrize("name", FLOODS)
def test_dhcp_requests_are_limited_whatever_their_source_port(loaded: Switch, name: str) -> None:
    sender, frame = FLOODS[name]
    for _ in range(4 * BURST):
        loaded.sockets[sender].send(frame)
    assert loaded.counted()["from_flood"] > 2 * BURST


@pytest.mark.parametrize("sender", ["a", "open"])
def test_a_dhcp_request_in_fragments_is_none(loaded: Switch, sender: str) -> None:
    frame = udp(A, OWN, (68, 67), b"12345678", more=True)
    assert not loaded.heard(dropped("", "", sender, frame))
    assert loaded.counted()["from_flood"] == 1
    other = udp(A, OWN, (1000, 2000), b"12345678", more=True)
    assert loaded.heard(honest("", sender, other))


@cache
def rule_lines() -> list[str]:
    """Return nearly all rules.

    No single frame meets the limit of DHCP requests; without those of wires and of members none
    shows the end, nor without where frames go first, which `test_every_origin_is_missed` looks at.
    """
    lines = [line for line in RULES.splitlines() if line.startswith("add rule ")]
    left_out = (
        "@limits",
        " from_flood ",
        "@origins",
        "from_wire meta mark",
        "goto to_member",
    )
    return [line for line in lines if not any(words in line for words in left_out)]


Outcome = tuple[list[bool], dict[str, int], dict[Offence, int]]


def outcome(switch: Switch, text: str) -> Outcome:
    switch.load(text)
    heard = [switch.heard(case) for case in CASES]
    return heard, switch.counted(), switch.offences()


@pytest.fixture(scope="module")
def whole(switch: Switch) -> Outcome:
    return outcome(switch, RULES)


@pytest.mark.parametrize("number", range(len(rule_lines())))
def test_every_rule_is_missed_when_it_is_gone(switch: Switch, whole: Outcome, number: int) -> None:
    rule = rule_lines()[number]
    less = RULES.replace(f"{rule}\n", "", 1)
    assert outcome(switch, less) != whole, rule
    kept = re.sub(r"counter name \S+ drop$", "drop", rule)
    if kept != rule:
        assert outcome(switch, RULES.replace(rule, kept, 1)) != whole, f"counter of {rule}"


@pytest.mark.parametrize("chain", ["from_guarded", "from_open"])
def test_every_origin_is_missed(switch: Switch, whole: Outcome, chain: str) -> None:
    """Those of wires are not tried: without them no frame shows the end."""
    found = re.findall(rf'("\S+" : goto {chain}),? ?', RULES)
    assert found
    for origin in found:
        less = re.sub(rf"{re.escape(origin)}(, )?", "", RULES).replace(", }", " }")
        assert outcome(switch, less) != whole, origin
