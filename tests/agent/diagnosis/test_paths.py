"""Which paths are probed, and what is found of them."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest

from lessor.agent.diagnosis.paths import Way, probed, ways
from lessor.model import Network, Scope, View

OWN, B, C = (IPv4Address(f"192.0.2.{n}") for n in (1, 2, 3))


def scope(mtu: int, **peers: IPv4Address | IPv6Address) -> Scope:
    network = Network(id="n", network_type="vxlan", mtu=mtu)
    return Scope(revision=1, network=network, peers={"own": OWN, **peers})


def test_each_peer_is_asked_for_the_largest_packet_of_its_networks() -> None:
    view = View(scopes={"x": scope(1450, b=B), "y": scope(1400, b=B, c=C)})
    assert ways(view, OWN) == {Way("b", B, 1500), Way("c", C, 1450)}


def test_over_ipv6_packets_are_20_bytes_longer_and_other_versions_are_left_out() -> None:
    own, end = IPv6Address("2001:db8::1"), IPv6Address("2001:db8::2")
    view = View(scopes={"x": scope(1430, six=end, four=B)})
    assert ways(view, own) == {Way("six", end, 1500)}


@pytest.mark.lab  # raw sockets; nothing leaves loopback
@pytest.mark.parametrize("own", ["127.0.0.1", "::1"])
def test_a_path_is_narrow_only_if_small_packets_pass(own: str) -> None:
    end = ip_address(own)
    wide, narrow = Way("a", end, 1500), Way("b", end, 65600)  # lo carries 65536
    nobody = Way("c", ip_address({4: "192.0.2.77", 6: "2001:db8::77"}[end.version]), 1500)
    found = asyncio.run(probed(end, [wide, narrow, nobody]))
    assert [set(one) for one in found] == [{narrow}, {nobody}]
