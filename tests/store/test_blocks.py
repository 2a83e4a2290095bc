"""Which blocks a subnet can have: none that hosts, the server or the operator need themselves."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest

from lessor.errors import Conflict, Invalid
from lessor.model import HostBlock, Pool
from lessor.store.hosts import rules as host_rules
from lessor.store.networks import auto_allocated
from tests.store.store_cloud import Cloud

SPECIAL = ("0.0.0.0/1", "64.0.0.0/2", "0.1.0.0/16", "127.1.0.0/24", "169.254.169.0/24",
    "224.1.0.0/24", "250.0.0.0/24")  # fmt: skip
ETH0 = HostBlock(cidr=IPv4Network("192.0.2.0/24"), what="network", detail="eth0 (192.0.2.11/24)")
LAN = HostBlock(
    cidr=IPv4Network("10.9.0.0/24"), what="network", detail="br100", physical_network="physnet1"
)
ROUTER = HostBlock(cidr=IPv4Network("10.9.0.1/32"), what="name server")
AWAY = HostBlock(cidr=IPv4Network("172.20.0.0/16"), what="route", detail="192.0.2.1")


def reported(cloud: Cloud, *blocks: HostBlock) -> None:
    cloud.host("h1", network_host=True)
    cloud.report("h1", network_host=True, physical_networks=("physnet1",), blocks=blocks)


def overlay(cloud: Cloud) -> Any:
    return cloud.network(cidr=None, network_type="vxlan")


@pytest.mark.parametrize("cidr", SPECIAL)
@pytest.mark.parametrize("kind", ["flat", "vxlan"])
def test_no_subnet_has_special_addresses(cloud: Cloud, kind: str, cidr: str) -> None:
    network = cloud.network(cidr=None, network_type=kind)
    with pytest.raises(Invalid, match=r"choose"):
        cloud.subnet(network, cidr)


@pytest.mark.parametrize("kind", ["flat", "vxlan"])
def test_no_subnet_has_reserved_addresses(make_cloud: Callable[..., Cloud], kind: str) -> None:
    cloud = make_cloud(reserved_cidrs=(IPv4Network("198.51.100.0/24"),))
    network = cloud.network(cidr=None, network_type=kind)
    for cidr in ("198.51.100.128/25", "198.51.0.0/16"):
        with pytest.raises(Invalid, match="reserved_cidrs"):
            cloud.subnet(network, cidr)
    cloud.subnet(network, "198.51.101.0/24")


@pytest.mark.parametrize(
    ("cidr", "why"),
    [
        ("192.0.2.0/28", "192.0.2.0/24 of eth0"),
        ("192.0.0.0/16", "192.0.2.0/24 of eth0"),
        ("172.20.0.0/16", "the route 172.20.0.0/16 by 192.0.2.1"),
        ("172.16.0.0/12", "the route 172.20.0.0/16 by 192.0.2.1"),
        ("10.9.0.0/16", None),
        ("10.9.0.0/25", None),
        ("172.20.9.0/24", None),
        ("10.1.0.0/24", None),
    ],
)
def test_a_flat_subnet_takes_over_nothing_of_a_host(
    cloud: Cloud, cidr: str, why: str | None
) -> None:
    reported(cloud, ETH0, LAN, ROUTER, AWAY)
    network = cloud.network(cidr=None)
    if why is None:
        cloud.subnet(network, cidr)
        return
    with pytest.raises(Conflict, match=why) as caught:
        cloud.subnet(network, cidr)
    assert "host h1" in str(caught.value)


@pytest.mark.parametrize("cidr", ["10.9.0.0/25", "172.20.9.0/24", "192.0.2.0/28"])
def test_a_project_takes_over_no_lan_and_no_part_of_a_route(cloud: Cloud, cidr: str) -> None:
    reported(cloud, ETH0, LAN, ROUTER, AWAY)
    with pytest.raises(Conflict) as caught:
        cloud.subnet(cloud.network(cidr=None), cidr, acts_for="p1")
    for told in ("h1", "eth0", "192.0.2.1", "192.0.2.0/24", "172.20.0.0/16"):
        assert told not in str(caught.value)


def test_the_lan_of_another_wire_is_no_reason(cloud: Cloud) -> None:
    reported(cloud, LAN)
    with pytest.raises(Conflict):
        cloud.subnet(cloud.network(cidr=None, physical_network="physnet2"), "10.9.0.0/25")


def test_blocks_that_the_operator_allows_are_free(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(allowed_host_cidrs=(IPv4Network("192.0.2.0/24"),))
    reported(cloud, ETH0)
    cloud.subnet(cloud.network(cidr=None), "192.0.2.0/28")
    with pytest.raises(Conflict):
        cloud.subnet(cloud.network(cidr=None), "192.0.2.64/28", acts_for="p1")


def test_a_vxlan_subnet_may_have_what_hosts_have(cloud: Cloud) -> None:
    reported(cloud, ETH0, AWAY)
    cloud.subnet(overlay(cloud), "192.0.2.0/28")


def test_a_block_cut_from_a_pool_is_no_other(cloud: Cloud) -> None:
    reported(cloud, ETH0)
    pool = cloud.store.subnetpools.create(
        [{"prefixes": [IPv4Network("192.0.2.0/24")], "default_prefixlen": 28}]
    )[0]
    with pytest.raises(Conflict, match="eth0"):
        cloud.store.subnets.create(
            [{"network_id": cloud.network(cidr=None).id, "subnetpool_id": pool.id}]
        )


def test_a_new_report_replaces_the_blocks_and_a_heartbeat_keeps_them(cloud: Cloud) -> None:
    reported(cloud, ETH0)
    cloud.report("h1")
    network = cloud.network(cidr=None)
    with pytest.raises(Conflict):
        cloud.subnet(network, "192.0.2.0/28")
    cloud.report("h1", blocks=())
    cloud.subnet(network, "192.0.2.0/28")


def test_a_host_that_is_deleted_has_no_blocks(cloud: Cloud) -> None:
    cloud.store.write(host_rules.create, "h2")
    cloud.report("h2", blocks=(ETH0,))
    cloud.store.write(host_rules.remove, "h2")
    cloud.subnet(cloud.network(cidr=None), "192.0.2.0/28")


def test_a_host_has_a_bounded_number_of_blocks(cloud: Cloud) -> None:
    many = tuple(
        HostBlock(cidr=IPv4Network((0x0B000000 + n, 32)), what="route", detail="x" * 10_000)
        for n in range(2_000)
    )
    reported(cloud, *many)
    network = cloud.network(cidr=None)
    with pytest.raises(Conflict) as caught:
        cloud.subnet(network, "11.0.0.0/24")
    assert len(str(caught.value)) < 1_000
    cloud.subnet(network, "11.0.7.0/28")


GIVEN = {"gateway_ip": IPv4Address("10.9.0.1"), "dhcp_server": IPv4Address("10.9.0.2")}


def pool(first: str, last: str) -> tuple[Pool, ...]:
    return (Pool(IPv4Address(first), IPv4Address(last)),)


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"gateway_ip": IPv4Address("10.9.0.11")}, True),
        ({"dhcp_server": IPv4Address("10.9.0.11")}, True),
        ({"pools": pool("10.9.0.90", "10.9.0.200")}, True),
        ({"pools": pool("10.9.0.110", "10.9.0.120")}, False),
        ({"pools": pool("10.9.0.150", "10.9.0.200"), "gateway_ip": IPv4Address("10.9.0.100")}, False),
        ({"name": "hers", "gateway_ip": None}, False),
    ],
)  # fmt: skip
def test_a_project_gets_no_more_of_a_hosts_lan_by_changing_its_subnet(
    cloud: Cloud, change: dict[str, Any], refused: bool
) -> None:
    reported(cloud, ETH0, LAN, ROUTER, AWAY)
    network = cloud.network(cidr=None, project_id="p1")
    lan = cloud.subnet(network, "10.9.0.0/24", pools=pool("10.9.0.100", "10.9.0.200"), **GIVEN)
    if refused:
        with pytest.raises(Conflict, match="in no allocation pool") as caught:
            cloud.store.subnets.update(lan.id, cast(Any, change | {"acts_for": "p1"}))
        assert "h1" not in str(caught.value)
        assert cloud.store.subnets.get(lan.id) == lan
        cloud.store.subnets.update(lan.id, cast(Any, change))
        return
    changed = cloud.store.subnets.update(lan.id, cast(Any, change | {"acts_for": "p1"}))
    assert all(getattr(changed, name) == value for name, value in change.items())


@pytest.mark.parametrize("kind", ["flat", "vxlan"])
def test_a_project_takes_no_reserved_addresses_into_a_pool(
    make_cloud: Callable[..., Cloud], kind: str
) -> None:
    before = make_cloud()
    network = before.network(cidr=None, network_type=kind)
    subnet = before.subnet(network, "10.1.0.0/24", pools=pool("10.1.0.2", "10.1.0.9"))
    cloud = make_cloud(reserved_cidrs=(IPv4Network("10.1.0.128/25"),))
    with pytest.raises(Invalid, match="reserved_cidrs"):
        cloud.store.subnets.update(
            subnet.id, {"pools": pool("10.1.0.2", "10.1.0.200"), "acts_for": "p1"}
        )
    cloud.store.subnets.update(
        subnet.id, {"pools": pool("10.1.0.2", "10.1.0.127"), "acts_for": "p1"}
    )


def test_the_subnet_that_a_project_is_given_takes_over_no_lan(
    make_cloud: Callable[..., Cloud],
) -> None:
    cloud = make_cloud(
        auth_strategy="http_basic",
        project_network_types=("flat",),
        project_physical_networks=("physnet1",),
    )
    reported(cloud, LAN)
    cloud.store.subnetpools.create(
        [{"prefixes": [LAN.cidr], "default_prefixlen": 25, "is_default": True, "shared": True}]
    )
    with pytest.raises(Conflict, match="can't be a flat network's"):
        cloud.store.write(auto_allocated.ensure, "p1")
    assert cloud.store.networks.find() == []
