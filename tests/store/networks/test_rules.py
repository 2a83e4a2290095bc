from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from lessor.errors import Conflict, InUse, Invalid, LessorError, NotFound
from lessor.model import DHCP_OWNER, AddressState, HostRoute, Pool
from lessor.store.addresses import states
from lessor.store.hosts import rules as host_rules
from tests.store.store_cloud import Cloud, by, ip_of, ips_of


def test_a_new_network_has_its_ends_and_gateway_reserved(cloud: Cloud) -> None:
    """D3.1: rows .0, .1, .255 reserved; the first address handed out is .2."""
    network = cloud.network("10.0.0.0/24", name="blue")
    reserved = [str(info.address) for info in cloud.store.read(states.find, by(state="reserved"))]
    assert reserved == ["10.0.0.0", "10.0.0.1", "10.0.0.255"]
    assert ips_of(cloud.port(network)) == ["10.0.0.2"]


def test_without_a_bridge_no_flat_network_is_made(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(flat_mappings=())
    with pytest.raises(Invalid, match=r"bridge required: flat_network_bridge .* no default"):
        cloud.network()
    assert cloud.store.networks.find() == []


def test_a_physical_network_without_a_bridge_is_refused(cloud: Cloud) -> None:
    with pytest.raises(Invalid, match="flat_network_bridge"):
        cloud.network(physical_network="physnet9")


def test_defaults_come_from_the_settings(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(global_physnet_mtu=9000, multi_host=True, share_dhcp_address=True)
    network = cloud.network()
    assert (network.physical_network, network.mtu) == ("physnet1", 9000)
    assert (network.multi_host, network.share_address) == (True, True)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"network_type": "vlan"}, id="type"),
        pytest.param({"network_type": "flat", "segmentation_id": 7}, id="segmentation"),
        pytest.param({"mtu": 1501}, id="mtu"),
        pytest.param({"host": "nobody"}, id="unknown-host"),
    ],
)
def test_what_a_flat_network_cannot_be_is_refused(cloud: Cloud, values: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        cloud.network(**values)
    assert cloud.store.networks.find() == []


def test_bulk_creation_is_all_or_nothing(cloud: Cloud) -> None:
    with pytest.raises(Invalid):
        cloud.store.networks.create([{"name": "good"}, {"mtu": 65535}])
    assert cloud.store.networks.find() == []


def test_a_network_in_use_stays(cloud: Cloud) -> None:
    network = cloud.network()
    ports = [cloud.port(network) for _ in range(3)]
    with pytest.raises(InUse, match=r"still has 3 ports.*lessor port list --network") as caught:
        cloud.store.networks.delete(network.id)
    assert caught.value.type == "NetworkInUse"
    for port in ports:
        cloud.store.ports.delete(port.id)
    cloud.store.networks.delete(network.id)
    with pytest.raises(NotFound):
        cloud.store.networks.get(network.id)
    assert cloud.store.subnets.find() == []


def test_deleting_a_network_takes_dhcp_ports_with_it(cloud: Cloud) -> None:
    network = cloud.network()
    cloud.port(network, device_owner=DHCP_OWNER)
    cloud.store.networks.delete(network.id)
    assert cloud.store.ports.find() == []


# --- who owns it ----------------------------------------------------------------------------------


def test_the_configured_network_host_owns_new_networks(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(network_host="gw")
    cloud.host("other", network_host=True)
    cloud.store.write(host_rules.create, "gw")
    assert cloud.network().host == "gw"


def test_the_least_loaded_live_host_owns_a_new_network(cloud: Cloud) -> None:
    for name in ("h1", "h2"):
        cloud.host(name, network_host=True)
    cloud.host("h0", network_host=False)
    found = [cloud.network(f"10.{n}.0.0/24").host for n in range(4)]
    assert found == ["h1", "h2", "h1", "h2"]


def test_a_dead_host_gets_no_network(cloud: Cloud) -> None:
    cloud.host("h1", network_host=True)
    cloud.clock.now += cloud.settings.agent_down_time + 1
    assert cloud.network().host is None


def test_a_network_without_host_is_claimed_by_the_next_heartbeat(cloud: Cloud) -> None:
    cloud.host("h1", network_host=True)
    cloud.clock.now += cloud.settings.agent_down_time + 1
    network = cloud.network()
    cloud.report("h1", network_host=True)
    assert cloud.store.networks.get(network.id).host == "h1"


def test_a_host_that_may_not_own_networks_claims_none(cloud: Cloud) -> None:
    network = cloud.network()
    cloud.host("h1", network_host=False)
    assert cloud.store.networks.get(network.id).host is None


def test_a_multi_host_network_has_no_host(cloud: Cloud) -> None:
    cloud.host("h1", network_host=True)
    assert cloud.network(multi_host=True).host is None
    with pytest.raises(Invalid, match="not owned by one host"):
        cloud.network("10.1.0.0/24", multi_host=True, host="h1")
    with pytest.raises(Invalid, match="not owned by one host"):
        cloud.store.networks.update(cloud.store.networks.find()[0].id, {"host": "h1"})
    assert cloud.store.networks.find()[0].host is None


def test_multi_host_can_only_change_without_ports(cloud: Cloud) -> None:
    network = cloud.network()
    port = cloud.port(network)
    with pytest.raises(InUse):
        cloud.store.networks.update(network.id, {"multi_host": True})
    cloud.store.ports.delete(port.id)
    assert cloud.store.networks.update(network.id, {"multi_host": True}).multi_host


def test_an_update_without_change_keeps_the_revision(cloud: Cloud) -> None:
    network = cloud.network(None, name="blue")
    assert cloud.store.networks.update(network.id, {"name": "blue"}).revision == network.revision
    assert cloud.store.networks.update(network.id, {"name": "red"}).revision > network.revision


# --- subnets --------------------------------------------------------------------------------------


def test_overlapping_cidrs_are_refused_on_one_wire_only(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/24")
    with pytest.raises(
        Invalid, match="overlaps with another subnet of the same network, 10.0.0.0/24"
    ):
        cloud.subnet(network, "10.0.0.128/25")
    with pytest.raises(Conflict, match="same physical network physnet1") as caught:
        cloud.network("10.0.0.0/16")
    assert caught.value.type == "CidrConflict"
    assert cloud.network("10.0.0.0/24", physical_network="physnet2")
    assert cloud.subnet(network, "10.0.1.0/24")


def test_an_absent_gateway_is_the_first_host_and_none_is_none(cloud: Cloud) -> None:
    network = cloud.network(None)
    first = cloud.subnet(network, "10.0.0.0/24")
    assert (str(first.gateway_ip), first.dhcp_server) == ("10.0.0.1", None)
    second = cloud.subnet(network, "10.0.1.0/24", gateway_ip=None)
    assert (second.gateway_ip, str(second.dhcp_server)) == (None, "10.0.1.1")
    third = cloud.subnet(network, "10.0.2.0/24", gateway_ip=None, enable_dhcp=False)
    assert (third.gateway_ip, third.dhcp_server) == (None, None)


def test_a_dhcp_server_beside_the_gateway_is_reserved_and_splits_the_pool(cloud: Cloud) -> None:
    network = cloud.network(None)
    subnet = cloud.subnet(network, "10.0.0.0/28", dhcp_server=IPv4Address("10.0.0.5"))
    assert [(str(p.first), str(p.last)) for p in subnet.pools] == [
        ("10.0.0.2", "10.0.0.4"), ("10.0.0.6", "10.0.0.14"),
    ]  # fmt: skip
    assert cloud.state(network, "10.0.0.5") is AddressState.RESERVED


@pytest.mark.parametrize(
    ("values", "name"),
    [
        pytest.param({"gateway_ip": IPv4Address("10.9.0.1")}, "InvalidInput", id="gateway-outside"),
        pytest.param({"gateway_ip": IPv4Address("10.0.0.0")}, "InvalidInput", id="gateway-is-end"),
        pytest.param({"dhcp_server": IPv4Address("10.9.0.1")}, "InvalidInput", id="server-outside"),
        pytest.param(
            {"dns_nameservers": [IPv4Address(n) for n in range(1, 7)]},
            "DNSNameServersExhausted",
            id="six-name-servers",
        ),
        pytest.param(
            {"host_routes": [HostRoute(IPv4Network("10.9.0.0/16"), IPv4Address("10.0.0.9"))] * 21},
            "HostRoutesExhausted",
            id="21-routes",
        ),
        pytest.param(
            {"pools": [Pool(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.9"))]},
            "GatewayConflictWithAllocationPools",
            id="gateway-in-pool",
        ),
    ],
)
def test_a_subnet_that_contradicts_itself_is_refused(
    cloud: Cloud, values: dict[str, Any], name: str
) -> None:
    network = cloud.network(None)
    with pytest.raises(LessorError) as caught:
        cloud.subnet(network, "10.0.0.0/24", **values)
    assert caught.value.type == name
    assert cloud.store.subnets.find() == []
    assert cloud.store.read(states.find) == []


@pytest.mark.parametrize("cidr", ["224.0.0.0/24", "127.0.0.0/8", "0.0.0.0/0"])
def test_a_block_that_no_vm_can_use_is_refused(cloud: Cloud, cidr: str) -> None:
    with pytest.raises(Invalid, match="can't be a subnet's"):
        cloud.subnet(cloud.network(None), cidr)


def test_a_subnet_reads_back_as_it_was_made(cloud: Cloud) -> None:
    made = cloud.subnet(
        cloud.network(None),
        "10.0.0.0/24",
        name="s",
        pools=[Pool(IPv4Address("10.0.0.9"), IPv4Address("10.0.0.20"))],
        dns_nameservers=[IPv4Address("8.8.8.8"), IPv4Address("1.1.1.1")],
        host_routes=[HostRoute(IPv4Network("10.9.0.0/16"), IPv4Address("10.0.0.9"))],
    )
    assert cloud.store.subnets.get(made.id) == made
    assert cloud.store.subnets.find(by(cidr=IPv4Network("10.0.0.0/24"))) == [made]
    assert cloud.store.subnets.find(by(cidr=IPv4Network("10.0.0.0/25"))) == []


def test_a_new_gateway_frees_the_old_one(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/29")
    subnet = cloud.subnet_of(network)
    after = cloud.store.subnets.update(subnet.id, {"gateway_ip": IPv4Address("10.0.0.6")})
    assert [(str(p.first), str(p.last)) for p in after.pools] == [("10.0.0.1", "10.0.0.5")]
    assert cloud.state(network, "10.0.0.6") is AddressState.RESERVED
    assert ips_of(cloud.port(network)) == ["10.0.0.1"]


def test_an_address_in_use_cannot_become_the_gateway(cloud: Cloud) -> None:
    network = cloud.network()
    port = cloud.port(network)
    subnet = cloud.subnet_of(network)
    with pytest.raises(Conflict) as caught:
        cloud.store.subnets.update(subnet.id, {"gateway_ip": ip_of(port)})
    assert caught.value.type == "GatewayIpInUse"
    assert cloud.store.subnets.get(subnet.id) == subnet


def test_new_pools_are_obeyed_at_once(cloud: Cloud) -> None:
    network = cloud.network()
    old = cloud.port(network)
    cloud.store.ports.delete(old.id)
    pools = [Pool(IPv4Address("10.0.0.50"), IPv4Address("10.0.0.51"))]
    cloud.store.subnets.update(cloud.subnet_of(network).id, {"pools": pools})
    assert [ips_of(cloud.port(network))[0] for _ in range(2)] == ["10.0.0.50", "10.0.0.51"]
    with pytest.raises(Conflict, match="2 of 2 in use"):
        cloud.port(network)


def test_a_subnet_with_addresses_in_use_stays(cloud: Cloud) -> None:
    network = cloud.network()
    port, subnet = cloud.port(network), cloud.subnet_of(network)
    with pytest.raises(InUse, match="1 port") as caught:
        cloud.store.subnets.delete(subnet.id)
    assert caught.value.type == "SubnetInUse"
    cloud.store.ports.delete(port.id)
    cloud.store.subnets.delete(subnet.id)
    assert cloud.store.subnets.find() == []


@pytest.mark.parametrize(
    "values", [{"cidr": IPv4Network("10.9.0.0/24")}, {"network_id": "another"}]
)
def test_network_and_cidr_of_a_subnet_are_for_ever(cloud: Cloud, values: Any) -> None:
    subnet = cloud.subnet_of(cloud.network())
    with pytest.raises(Invalid, match="can't be changed"):
        cloud.store.subnets.update(subnet.id, values)


# --- the first networks ---------------------------------------------------------------------------


def test_fixed_range_makes_networks_at_the_first_start_only(
    make_cloud: Callable[..., Cloud],
) -> None:
    wanted = {"fixed_range": IPv4Network("10.0.0.0/8"), "num_networks": 2, "network_size": 64}
    cloud = make_cloud(**wanted)
    assert [n.name for n in cloud.store.networks.find()] and {
        (s.name, str(s.cidr), str(s.dns_nameservers[0])) for s in cloud.store.subnets.find()
    } == {("nova_0", "10.0.0.0/26", "8.8.4.4"), ("nova_1", "10.0.0.64/26", "8.8.4.4")}
    cloud.store.close()
    assert len(make_cloud(**wanted).store.networks.find()) == 2


def test_a_single_first_network_is_called_nova(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(fixed_range=IPv4Network("10.0.0.0/24"))
    assert [network.name for network in cloud.store.networks.find()] == ["nova"]
