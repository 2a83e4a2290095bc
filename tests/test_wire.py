from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

import pytest

from lessor.errors import Invalid
from lessor.model import FixedIp, Network, Pool, Port, Scope, Subnet, View
from lessor.wire import decode, encode

NETWORK = Network(id="n", name="blue")
SUBNET = Subnet(
    id="s",
    network_id="n",
    cidr=IPv4Network("10.0.0.0/24"),
    pools=(Pool(IPv4Address("10.0.0.2"), IPv4Address("10.0.0.9")),),
)
PORT = Port(
    id="p", network_id="n", mac_address="fa:16:3e:00:00:01",
    fixed_ips=(FixedIp("s", IPv4Address("10.0.0.2")),),
)  # fmt: skip


def test_a_view_survives_the_way_to_disk_and_back() -> None:
    scope = Scope(revision=7, network=NETWORK, subnets={"s": SUBNET}, ports={"p": PORT})
    view = View(epoch="e", scopes={"n": scope})
    assert decode(encode(view), View) == view


def test_a_view_may_have_addresses_of_either_family() -> None:
    cidr, first, last = ip_network("2001:db8::/64"), ip_address("2001:db8::2"), "2001:db8::9"
    subnet = replace(SUBNET, cidr=cidr, pools=(Pool(first, ip_address(last)),))
    port = replace(PORT, fixed_ips=(*PORT.fixed_ips, FixedIp("s", first)))
    scope = Scope(revision=7, network=NETWORK, subnets={"s": subnet}, ports={"p": port})
    view = View(epoch="e", scopes={"n": scope})
    assert decode(encode(view), View) == view


@pytest.mark.parametrize(
    "data",
    [b"{", b"[]", b'{"scopes": {"n": 1}}', b'{"scopes":{"n":{"revision":1,"network":{"id":1}}}}'],
)
def test_what_is_no_view_is_refused(data: bytes) -> None:
    with pytest.raises(Invalid, match="not a View"):
        decode(data, View)


def test_a_number_is_no_address() -> None:
    with pytest.raises(Invalid, match="7 is not text"):
        decode(b'{"subnet_id": "s", "address": 7}', FixedIp)


def test_a_bad_address_is_refused() -> None:
    with pytest.raises(Invalid, match=r"10\.0\.0\.256"):
        decode(b'{"subnet_id": "s", "address": "10.0.0.256"}', FixedIp)
