"""Frames of a VM that none of its neighbours, of other hosts, or of the hosts may ever see."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tests.agent.drivers.frames import headed, mac, tagged
from tests.lab.attacks.packets import (
    ICMPV6,
    IPV4,
    IPV6,
    UDP,
    Link,
    fragments,
    icmpv6,
    ipv4,
    ipv6,
    link_local,
    udp,
)

SOURCE = "a VM sends with its own MAC and addresses alone"
DHCP = "a VM answers nobody's DHCP"
NO_IPV6 = "no IPv6 passes where a network has none"
NOBODY = "fa:16:3e:00:00:99"
EVERYBODY = "255.255.255.255"


@dataclass(frozen=True, slots=True)
class Ends:
    """Who sends, and to whom."""

    mac: str
    address: str
    to_mac: str
    to: str
    gateway: str
    free: str  # an address of the subnet that nobody has

    @property
    def link(self) -> Link:
        return Link(self.mac, self.to_mac)

    @property
    def own(self) -> tuple[str, str]:
        return self.address, self.to

    @property
    def false(self) -> tuple[str, str]:
        return self.free, self.to


@dataclass(frozen=True, slots=True)
class Forged:
    name: str
    finding: str
    promise: str
    make: Callable[[Ends, bytes], Sequence[bytes]]  # with a mark in each frame
    unheard: frozenset[str] = frozenset()  # modes whose switch never forwards it, guards or not


def false_udp(ends: Ends, mark: bytes) -> bytes:
    return ends.link.ipv4(ipv4(ends.false, udp((9, 9), mark)))


def own_udp(ends: Ends, mark: bytes) -> bytes:
    return ends.link.ipv4(ipv4(ends.own, udp((9, 9), mark)))


def stacked(frame: bytes, *tags: tuple[int, int]) -> bytes:
    """Put tags (type, VLAN) in front, the outer first."""
    inner = b"".join(struct.pack("!HH", kind, vlan) for kind, vlan in tags)
    return frame[:12] + inner + frame[12:]


def arp(
    ends: Ends,
    mark: bytes,
    *,
    operation: int = 2,
    sender: str = "",
    sha: str = "",
    kind: int = 0x0806,
) -> bytes:
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    body = mac(sha or ends.mac) + IPv4Address(sender or ends.gateway).packed
    body += mac(ends.to_mac) + IPv4Address(ends.to).packed
    return ends.link.frame(kind, head + body + mark)


def _sources() -> Iterator[tuple[str, Callable[[Ends, bytes], bytes]]]:
    yield "another's address", false_udp
    yield "the gateway's address", lambda e, m: e.link.ipv4(ipv4((e.gateway, e.to), udp((9, 9), m)))
    yield "the receiver's own address", lambda e, m: e.link.ipv4(ipv4((e.to, e.to), udp((9, 9), m)))
    yield (
        "no address (0.0.0.0), not to DHCP",
        lambda e, m: e.link.ipv4(ipv4(("0.0.0.0", EVERYBODY), udp((68, 1067), m))),
    )
    yield "another's MAC", lambda e, m: Link(NOBODY, e.to_mac).ipv4(ipv4(e.own, udp((9, 9), m)))
    yield (
        "the receiver's MAC",
        lambda e, m: Link(e.to_mac, e.to_mac).ipv4(ipv4(e.own, udp((9, 9), m))),
    )
    yield (
        "another's address, to a multicast group",
        lambda e, m: Link(e.mac, "01:00:5e:00:00:fb").ipv4(
            ipv4((e.free, "224.0.0.251"), udp((5353, 5353), m))
        ),
    )
    yield (
        "another's address with IP options",
        lambda e, m: e.link.ipv4(ipv4(e.false, udp((9, 9), m), options=b"\x01" * 8)),
    )
    for vlan in (0, 1, 2, 100):
        yield f"another's address in VLAN {vlan}", lambda e, m, v=vlan: tagged(false_udp(e, m), v)  # type: ignore[misc]
    for vlan in (1, 2, 100):
        yield f"own address in VLAN {vlan}", lambda e, m, v=vlan: tagged(own_udp(e, m), v)  # type: ignore[misc]
    for name, tags in {
        "802.1ad 0 in 0": ((0x88A8, 0), (0x8100, 0)),
        "802.1ad 1 around 0": ((0x88A8, 1), (0x8100, 0)),
        "802.1Q 0 around 1": ((0x8100, 0), (0x8100, 1)),
        "type 0x9100": ((0x9100, 1),),
    }.items():
        yield f"another's address behind {name}", lambda e, m, t=tags: stacked(false_udp(e, m), *t)  # type: ignore[misc]
    yield (
        "another's address in 802.3 SNAP",
        lambda e, m: _llc(e.link, b"\xaa\xaa\x03\0\0\0\x08\0" + ipv4(e.false, udp((9, 9), m))),
    )
    yield (
        "another's address behind MPLS",
        lambda e, m: e.link.frame(0x8847, b"\0\0\x11\x40" + ipv4(e.false, udp((9, 9), m))),
    )
    yield "PPPoE discovery", lambda e, m: e.link.frame(0x8863, m + bytes(46))
    yield "EAPOL", lambda e, m: e.link.frame(0x888E, m + bytes(46))
    yield "an unknown protocol", lambda e, m: e.link.frame(0x88B6, m + bytes(46))
    yield (
        "spanning tree",
        lambda e, m: _llc(Link(e.mac, "01:80:c2:00:00:00"), b"\x42\x42\x03" + bytes(35) + m),
    )
    yield "LLDP", lambda e, m: Link(e.mac, "01:80:c2:00:00:0e").frame(0x88CC, m + bytes(46))


def _llc(link: Link, data: bytes) -> bytes:
    """802.3: the length stands in the place of the type."""
    return link.frame(len(data), data)


def _arps() -> Iterator[tuple[str, Callable[[Ends, bytes], bytes]]]:
    yield "ARP answer for the gateway", arp
    yield "ARP answer for another's address", lambda e, m: arp(e, m, sender=e.free)
    yield "ARP question from the gateway", lambda e, m: arp(e, m, operation=1)
    yield "ARP answer with another's MAC", lambda e, m: arp(e, m, sender=e.address, sha=NOBODY)
    yield "ARP answer from 0.0.0.0", lambda e, m: arp(e, m, sender="0.0.0.0")
    yield "ARP answer for the gateway in VLAN 0", lambda e, m: tagged(arp(e, m), 0)
    yield "RARP answer for the gateway", lambda e, m: arp(e, m, operation=4, kind=0x8035)
    yield "inverse ARP for the gateway", lambda e, m: arp(e, m, operation=8)


def _answer(mark: bytes) -> bytes:
    """As long as a DHCP message, with the mark in every 8 bytes."""
    return mark * 40


def _dhcp() -> Iterator[tuple[str, str, Callable[[Ends, bytes], Sequence[bytes]]]]:
    for ports in ((67, 68), (1067, 68)):
        yield (
            f"answer {ports[0]} to {ports[1]}",
            "",
            lambda e, m, p=ports: (  # type: ignore[misc]
                e.link.ipv4(ipv4(e.own, udp(p, _answer(m)))),
            ),
        )
    yield (
        "answer to everybody",
        "",
        lambda e, m: (e.link.ipv4(ipv4((e.address, EVERYBODY), udp((67, 68), _answer(m)))),),
    )
    yield (
        "answer as the DHCP server",
        "",
        lambda e, m: (e.link.ipv4(ipv4((e.gateway, e.to), udp((67, 68), _answer(m)))),),
    )
    yield (
        "answer with IP options",
        "",
        lambda e, m: (e.link.ipv4(ipv4(e.own, udp((67, 68), _answer(m)), options=b"\x01" * 8)),),
    )
    for length in (0, 20, 24, 1400):
        yield (
            f"answer that says it has {length} bytes",
            "",
            lambda e, m, n=length: (  # type: ignore[misc]
                headed(e.link.ipv4(ipv4(e.own, udp((67, 68), _answer(m)))), length=n),
            ),
        )
    for size in (16, 200):
        yield (
            f"answer in fragments of {size}",
            "9",
            lambda e, m, s=size: [  # type: ignore[misc]
                e.link.ipv4(one) for one in fragments(e.own, udp((67, 68), m.ljust(320, b".")), s)
            ],
        )


def _false_fragments(ends: Ends, mark: bytes) -> Sequence[bytes]:
    whole = udp((9, 9), _answer(mark))
    return [ends.link.ipv4(one) for one in fragments(ends.false, whole, 200)]


def _ipv6() -> Iterator[tuple[str, str, int, Callable[[Ends, bytes], tuple[str, str, bytes]]]]:
    """Name, finding, next header, and source, destination and data."""
    advert = icmpv6(134, bytes(8))
    all_nodes = "ff02::1"

    def to_all(data: bytes) -> Callable[[Ends, bytes], tuple[str, str, bytes]]:
        return lambda e, m: (link_local(e.mac), all_nodes, data + m)

    def from_to(
        source: str, data: Callable[[Ends], bytes]
    ) -> Callable[..., tuple[str, str, bytes]]:
        return lambda e, m: (source or link_local(e.mac), link_local(e.to_mac), data(e) + m)

    def datagram(*ports: int) -> Callable[[Ends], bytes]:
        return lambda _: struct.pack("!HHHH", *ports, 16, 0)

    yield "datagram from its link-local address", "10", UDP, from_to("", datagram(9, 9))
    yield (
        "datagram from another's link-local address",
        "10",
        UDP,
        from_to("fe80::bad", datagram(9, 9)),
    )
    yield "datagram from a global address", "", UDP, from_to("2001:db8::1", datagram(9, 9))
    yield "DHCPv6 answer", "18", UDP, from_to("", datagram(547, 546))
    yield "DHCPv6 answer from another port", "18", UDP, from_to("", datagram(1547, 546))
    yield "router advertisement", "", ICMPV6, to_all(advert)
    yield "router advertisement behind hop-by-hop options", "", 0, to_all(_option(ICMPV6) + advert)
    yield (
        "router advertisement behind 3 destination options",
        "",
        60,
        to_all(_option(60) + _option(60) + _option(ICMPV6) + advert),
    )
    yield (
        "router advertisement behind a routing header",
        "",
        43,
        to_all(bytes((ICMPV6, 0, 0, 0)) + bytes(4) + advert),
    )
    yield "router advertisement in an atomic fragment", "", 44, to_all(_fragment(0) + advert)
    yield (
        "router advertisement behind options and a fragment",
        "",
        60,
        to_all(_option(44) + _fragment(0) + advert),
    )
    yield (
        "router advertisement behind AH",
        "18",
        51,
        to_all(bytes((ICMPV6, 4)) + bytes(22) + advert),
    )
    yield "redirect", "", ICMPV6, from_to("", lambda _: icmpv6(137, bytes(32)))
    for name, target in (("its own", ""), ("a router's", "fe80::1"), ("a global", "2001:db8::1")):
        yield (
            f"neighbour advertisement for {name} address",
            "10",
            ICMPV6,
            from_to(
                "",
                lambda e, t=target: _neighbour(136, t or link_local(e.mac), 2, e.mac),  # type: ignore[misc]
            ),
        )
    yield (
        "neighbour advertisement from and for the receiver's peer",
        "10",
        ICMPV6,
        from_to("fe80::77", lambda e: _neighbour(136, "fe80::77", 2, e.mac)),
    )
    yield (
        "neighbour solicitation from a router's address",
        "10",
        ICMPV6,
        from_to("fe80::1", lambda e: _neighbour(135, link_local(e.to_mac), 1, e.mac)),
    )


def _option(next_header: int) -> bytes:
    return bytes((next_header, 0, 1, 4)) + bytes(4)  # PadN


def _fragment(more: int) -> bytes:
    return struct.pack("!BBHI", ICMPV6, 0, more, 7)


def _advert_in_fragments(ends: Ends, mark: bytes) -> Sequence[bytes]:
    """The advertisement and the mark in the first, a rest in the second."""
    first = icmpv6(134, bytes(8)) + mark
    second = struct.pack("!BBHI", ICMPV6, 0, len(first), 7) + bytes(8)
    addresses = (link_local(ends.mac), "ff02::1")
    return [
        ends.link.frame(IPV6, ipv6(addresses, part, 44)) for part in (_fragment(1) + first, second)
    ]


def _neighbour(kind: int, target: str, option: int, mac_address: str) -> bytes:
    return icmpv6(kind, IPv6Address(target).packed + bytes((option, 1)) + mac(mac_address))


def _all() -> Iterator[Forged]:
    for name, one in (*_sources(), *_arps()):
        yield _forged(name, "", SOURCE, lambda e, m, f=one: (f(e, m),))  # type: ignore[misc]
    yield _forged("another's address in fragments", "", SOURCE, _false_fragments)
    for name, finding, several in _dhcp():
        yield _forged(f"DHCP {name}", finding, DHCP, several)
    for name, finding, following, make in _ipv6():

        def frames(
            e: Ends, m: bytes, n: int = following, f: Callable[..., tuple[str, str, bytes]] = make
        ) -> Sequence[bytes]:
            source, to, data = f(e, m)
            return (e.link.frame(IPV6, ipv6((source, to), data, n)),)

        yield _forged(f"IPv6 {name}", finding, NO_IPV6, frames)
    yield _forged("IPv6 router advertisement in fragments", "9", NO_IPV6, _advert_in_fragments)


def _forged(
    name: str, finding: str, promise: str, make: Callable[[Ends, bytes], Sequence[bytes]]
) -> Forged:
    return Forged(name, finding, promise, make, _unheard(name))


def _unheard(name: str) -> frozenset[str]:
    if name in {"spanning tree", "LLDP"}:
        return frozenset({"flat", "vxlan"})
    if "VLAN" in name or "802.1ad" in name or "802.1Q" in name:
        return frozenset({"vxlan"})  # br-int lets in untagged frames alone
    if name == "the receiver's MAC":
        return frozenset({"flat"})  # it has no way out but its way in
    if "that says it has" in name:
        return frozenset({"flat"})  # br_netfilter, which this lab has, drops or shortens it
    return frozenset()


FORGED = tuple(_all())
