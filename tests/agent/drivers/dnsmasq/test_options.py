"""Options have the bytes in dnsmasq's answer that we encode for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from lessor.net.dhcp_options import find
from lessor.net.dhcp_values import encode
from tests.agent.drivers.dnsmasq_host import RANGE, Host, host_in_namespace, reserve, server

OPTIONS = (
    ("ntp-server", "10.0.0.8, 0.0.0.0"),  # 0.0.0.0 is the server itself
    ("time-offset", "-18000"),
    ("ip-forward-enable", "1"),
    ("domain-search", "eng.apple.com.,marketing.apple.com."),
    ("sip-server", "example.com,example.net"),
    ("root-path", "10.0.0.9:/srv/a,b"),
    ("bootfile-name", "pxelinux.0"),
    ("classless-static-route", "10.229.0.128/25,10.0.0.9,0.0.0.0/0,10.0.0.1"),
    ("T1", "90"),
    ("43", "01:04:c0:00:02:01"),
    ("224", "700"),
    ("225", "words"),
)

SERVER = IPv4Address(RANGE.server)

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


def test_we_encode_options_as_dnsmasq_does(host: Host) -> None:
    host.bring(server(reserve(5, options=OPTIONS)))
    expected = {find(name).number: encode(find(name), text, SERVER) for name, text in OPTIONS}
    offer = host.client(5, asks=bytes(expected)).discover()
    assert offer
    assert {number: offer.options.get(number) for number in expected} == expected


def test_we_encode_what_a_range_says_as_dnsmasq_does(host: Host) -> None:
    host.bring(server(reserve(5)))
    offer = host.client(5).discover()
    assert offer
    for name, text in (("router", str(RANGE.router)), ("mtu", str(RANGE.mtu))):
        option = find(name)
        assert offer.options[option.number] == encode(option, text, SERVER)
