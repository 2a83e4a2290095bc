"""vxlan networks in the store: types, VNIs, MTUs, ends of tunnels, what participants see."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any

import pytest

from lessor.core.plan.view import merge, request
from lessor.errors import Conflict, Invalid, Unavailable
from lessor.model import AddressState, Network, Port, Subnet, View
from lessor.store import views
from lessor.store.hosts import rules as host_rules
from tests.store.store_cloud import Cloud, by, ips_of

ENDS = {name: IPv4Address(f"192.0.2.{n}") for n, name in enumerate(("net", "h1", "h2"), 1)}


def tunnel(cloud: Cloud, host: str, **values: Any) -> None:
    """Have a host's agent report that its tunnels end at its address."""
    known: dict[str, Any] = {"local_ip": ENDS[host], "network_host": host == "net"}
    cloud.report(host, **known | values)


@pytest.fixture
def fleet(cloud: Cloud) -> Cloud:
    """Three hosts with tunnel ends; `net` serves DHCP."""
    for name in ENDS:
        cloud.store.write(host_rules.create, name)
        tunnel(cloud, name)
    return cloud


def vxlan(cloud: Cloud, cidr: str | None = "10.0.0.0/24", **values: Any) -> Network:
    return cloud.network(cidr, **{"network_type": "vxlan", **values})


def dhcp_ports(cloud: Cloud, network: Network) -> list[Port]:
    return cloud.store.ports.find(by(network_id=network.id, device_owner="network:dhcp"))


# --- types ----------------------------------------------------------------------------------------


def test_without_provider_attributes_it_is_vxlan_where_a_host_has_a_tunnel_end(
    fleet: Cloud,
) -> None:
    assert fleet.network().network_type == "vxlan"


def test_without_provider_attributes_it_is_flat_where_no_host_has_a_tunnel_end(
    cloud: Cloud,
) -> None:
    cloud.host("h1", network_host=True)
    assert cloud.network().network_type == "flat"


@pytest.mark.parametrize(
    "values",
    [{"physical_network": "physnet2"}, {"multi_host": True}, {"host": "net"}],
    ids=["physical-network", "multi-host", "host"],
)
def test_what_only_flat_networks_have_makes_a_network_flat(
    fleet: Cloud, values: dict[str, Any]
) -> None:
    assert fleet.network(**values).network_type == "flat"


@pytest.mark.parametrize(
    ("types", "kind"), [(("flat", "vxlan"), "flat"), (("vxlan", "flat"), "vxlan")]
)
def test_the_first_project_network_type_is_made(
    make_cloud: Callable[..., Cloud], types: tuple[str, ...], kind: str
) -> None:
    assert make_cloud(project_network_types=types).network().network_type == kind


def test_a_project_network_type_that_cannot_be_made_is_passed_over(
    make_cloud: Callable[..., Cloud],
) -> None:
    cloud = make_cloud(project_network_types=("vxlan", "flat"), vni_ranges=((7, 7),))
    kinds = [cloud.network(None).network_type for _ in range(2)]
    assert kinds == ["vxlan", "flat"]


@pytest.mark.parametrize(
    "values",
    [
        {"multi_host": True},
        {"share_address": True},
        {"host": "net"},
        {"physical_network": "physnet1"},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_vxlan_network_has_nothing_of_a_flat_one(fleet: Cloud, values: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match=next(iter(values))):
        vxlan(fleet, **values)
    network = vxlan(fleet)
    with pytest.raises(Invalid):
        fleet.store.networks.update(network.id, values)  # type: ignore[arg-type]


def test_settings_for_flat_networks_do_not_touch_a_vxlan_one(
    make_cloud: Callable[..., Cloud],
) -> None:
    network = vxlan(make_cloud(multi_host=True, share_dhcp_address=True))
    assert (network.multi_host, network.share_address, network.host) == (False, False, None)


def test_nobody_claims_a_vxlan_network(fleet: Cloud) -> None:
    network = vxlan(fleet)
    tunnel(fleet, "net", physical_networks=("physnet1",), in_sync=True)
    assert fleet.store.networks.get(network.id).host is None


# --- VNIs -----------------------------------------------------------------------------------------


def test_the_lowest_free_vni_is_chosen(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(vni_ranges=((5, 6), (2, 3)))
    made = [vxlan(cloud, None) for _ in range(4)]
    assert [network.segmentation_id for network in made] == [2, 3, 5, 6]
    with pytest.raises(Unavailable, match="no VNI is free") as caught:
        vxlan(cloud, None)
    assert caught.value.type == "NoNetworkAvailable"
    for n in (2, 1):
        cloud.store.networks.delete(made[n].id)
    assert [vxlan(cloud, None).segmentation_id for _ in range(2)] == [3, 5]


def test_a_vni_that_was_given_is_stepped_over(cloud: Cloud) -> None:
    vxlan(cloud, None, segmentation_id=2)
    assert [vxlan(cloud, None).segmentation_id for _ in range(2)] == [1, 3]


def test_a_vni_in_use_is_refused_with_who_has_it(cloud: Cloud) -> None:
    blue = vxlan(cloud, None, segmentation_id=42, name="blue")
    with pytest.raises(Conflict, match=f"segmentation_id 42 is in use by network {blue.id} .blue"):
        vxlan(cloud, None, segmentation_id=42)


@pytest.mark.parametrize("vni", [0, -1, 9, 201, 1 << 24])
def test_a_vni_out_of_range_is_refused(make_cloud: Callable[..., Cloud], vni: int) -> None:
    cloud = make_cloud(vni_ranges=((10, 20), (200, 200)))
    with pytest.raises(Invalid, match="vni_ranges is 10:20,200:200"):
        vxlan(cloud, None, segmentation_id=vni)


def test_a_vni_stays(cloud: Cloud) -> None:
    network = vxlan(cloud, None)
    with pytest.raises(Invalid, match="can't be changed"):
        cloud.store.networks.update(network.id, {"segmentation_id": 99})


# --- MTU ------------------------------------------------------------------------------------------


def test_the_mtu_leaves_room_for_the_tunnel(make_cloud: Callable[..., Cloud]) -> None:
    assert vxlan(make_cloud(global_physnet_mtu=9000), None).mtu == 8950


@pytest.mark.parametrize("mtu", [1451, 65535])
def test_an_mtu_that_the_underlay_cannot_carry_is_refused(cloud: Cloud, mtu: int) -> None:
    network = vxlan(cloud, None, mtu=1400)
    assert network.mtu == 1400
    with pytest.raises(Invalid, match="is more than 1450"):
        vxlan(cloud, None, mtu=mtu)
    with pytest.raises(Invalid, match="is more than 1450"):
        cloud.store.networks.update(network.id, {"mtu": mtu})


# --- subnets and ports ----------------------------------------------------------------------------


def test_two_vxlan_networks_may_have_the_same_block_and_macs(fleet: Cloud) -> None:
    blue, red = vxlan(fleet), vxlan(fleet)
    mac = "fa:16:3e:00:00:07"
    one, two = (fleet.port(n, "h1", mac_address=mac, address="10.0.0.9") for n in (blue, red))
    assert (one.mac_address, ips_of(one)) == (two.mac_address, ips_of(two))


def test_one_mac_twice_on_a_vxlan_network_is_refused(fleet: Cloud) -> None:
    blue = vxlan(fleet)
    port = fleet.port(blue, "h1")
    with pytest.raises(Conflict, match=port.id):
        fleet.port(blue, "h2", mac_address=port.mac_address)


def test_no_address_of_a_vxlan_subnet_is_kept_for_a_dhcp_server(cloud: Cloud) -> None:
    network = vxlan(cloud, None)
    subnet = cloud.subnet(network, "10.0.0.0/24", gateway_ip=None)
    assert subnet.dhcp_server is None
    assert cloud.state(network, "10.0.0.1") is None
    changed = cloud.store.subnets.update(subnet.id, {"name": "new"})
    assert (changed.dhcp_server, changed.pools) == (None, subnet.pools)


def test_a_dhcp_server_address_of_ones_own_is_refused(cloud: Cloud) -> None:
    network = vxlan(cloud, None)
    with pytest.raises(Invalid, match="dhcp_server"):
        cloud.subnet(network, "10.0.0.0/24", dhcp_server=IPv4Address("10.0.0.9"))


def test_a_dhcp_port_cannot_be_made_by_hand(fleet: Cloud) -> None:
    network = vxlan(fleet)
    with pytest.raises(Invalid, match="dhcp-networks"):
        fleet.port(network, "h1", device_owner="network:dhcp")
    port = fleet.port(network, "h1")
    with pytest.raises(Invalid, match="dhcp-networks"):
        fleet.store.ports.update(port.id, {"device_owner": "network:dhcp"})


# --- ends of tunnels ------------------------------------------------------------------------------


def test_a_host_says_where_its_tunnels_end(fleet: Cloud) -> None:
    assert fleet.store.hosts.get("h1").local_ip == ENDS["h1"]
    tunnel(fleet, "h1", local_ip=None)
    assert fleet.store.hosts.get("h1").local_ip is None


def test_two_hosts_with_one_tunnel_end_are_refused_by_name(fleet: Cloud) -> None:
    with pytest.raises(Conflict, match=r"host h2 reports local_ip 192\.0\.2\.2, which is host h1"):
        tunnel(fleet, "h2", local_ip=ENDS["h1"])
    assert fleet.store.hosts.get("h2").local_ip == ENDS["h2"]


def test_a_tunnel_end_of_a_deleted_host_can_be_had(fleet: Cloud) -> None:
    fleet.store.write(host_rules.remove, "h1")
    tunnel(fleet, "h2", local_ip=ENDS["h1"])
    assert fleet.store.hosts.get("h2").local_ip == ENDS["h1"]


# --- views ----------------------------------------------------------------------------------------


class Agent:
    """What an agent holds, and whom the store woke since its last poll."""

    def __init__(self, cloud: Cloud, host: str) -> None:
        self.cloud, self.store, self.host = cloud, cloud.store, host
        self.view = View()
        self.woken: set[str] = set()
        cloud.store.subscribe(self.woken.update)

    def poll(self) -> View:
        self.cloud.told()
        self.woken.clear()
        self.view = merge(self.view, views.answer(self.store, self.host, request(self.view, 0)))
        return self.view


def test_every_participant_sees_all_ports_subnets_and_ends(fleet: Cloud) -> None:
    network = vxlan(fleet)
    ports = {fleet.port(network, host).id for host in ("h1", "h2", None)}
    ports |= {port.id for port in dhcp_ports(fleet, network)}
    for host in ENDS:
        scope = Agent(fleet, host).poll().scopes[network.id]
        assert set(scope.ports) == ports
        assert [s.cidr for s in scope.subnets.values()] == [IPv4Network("10.0.0.0/24")]
        assert scope.peers == ENDS


def test_a_host_without_a_port_takes_no_part(fleet: Cloud) -> None:
    network = vxlan(fleet)
    fleet.port(network, "h1")
    assert Agent(fleet, "h2").poll().scopes == {}
    assert Agent(fleet, "h1").poll().scopes[network.id].peers.keys() == {"net", "h1"}


def test_a_host_without_a_tunnel_end_is_no_peer(fleet: Cloud) -> None:
    network = vxlan(fleet)
    fleet.port(network, "h1")
    tunnel(fleet, "h1", local_ip=None)
    assert Agent(fleet, "h1").poll().scopes[network.id].peers.keys() == {"net"}


@pytest.mark.parametrize("way", ["create", "delete", "move"])
def test_peers_follow_the_ports(fleet: Cloud, way: str) -> None:
    network = vxlan(fleet)
    kept = fleet.port(network, "h1")
    other = fleet.port(network, "h1" if way == "create" else "h2")
    agent = Agent(fleet, "h1")
    agent.poll()
    if way == "create":
        fleet.port(network, "h2")
    elif way == "delete":
        fleet.store.ports.delete(other.id)
    else:
        fleet.store.ports.update(other.id, {"binding_host": "h1"})
    fleet.told()
    assert {"net", "h1", "h2"} <= agent.woken
    peers = agent.poll().scopes[network.id].peers
    assert peers.keys() == ({"net", "h1", "h2"} if way == "create" else {"net", "h1"})
    assert kept.id in agent.view.scopes[network.id].ports


def test_a_changed_tunnel_end_is_told_to_all_who_take_part(fleet: Cloud) -> None:
    network = vxlan(fleet)
    for host in ("h1", "h2"):
        fleet.port(network, host)
    agent = Agent(fleet, "h2")
    agent.poll()
    tunnel(fleet, "h1", local_ip=IPv4Address("198.51.100.7"))
    fleet.told()
    assert agent.woken == {"net", "h1", "h2"}
    change = views.answer(fleet.store, "h2", request(agent.view, 0)).scopes[network.id]
    assert (change.whole, change.ports) == (False, ())
    assert agent.poll().scopes[network.id].peers["h1"] == IPv4Address("198.51.100.7")


def test_the_same_report_again_wakes_nobody(fleet: Cloud) -> None:
    fleet.port(vxlan(fleet), "h1")
    agent = Agent(fleet, "h1")
    agent.poll()
    tunnel(fleet, "h1", in_sync=True)
    fleet.told()
    assert agent.woken == set()


# --- DHCP ports with subnets ----------------------------------------------------------------------


def test_a_dhcp_port_has_an_address_of_each_dhcp_subnet(fleet: Cloud) -> None:
    network = vxlan(fleet)
    second = fleet.subnet(network, "10.0.1.0/24")
    third = fleet.subnet(network, "10.0.2.0/24", enable_dhcp=False)
    [port] = dhcp_ports(fleet, network)
    assert ips_of(port) == ["10.0.0.2", "10.0.1.2"]
    assert fleet.state(network, "10.0.0.2") is AddressState.SERVER
    fleet.store.subnets.delete(second.id)
    fleet.store.subnets.update(third.id, {"enable_dhcp": True})
    [after] = dhcp_ports(fleet, network)
    assert (after.id, ips_of(after)) == (port.id, ["10.0.0.2", "10.0.2.2"])


def test_without_dhcp_subnets_there_is_no_dhcp_port(fleet: Cloud) -> None:
    network = vxlan(fleet, None)
    assert dhcp_ports(fleet, network) == []
    subnet: Subnet = fleet.subnet(network, "10.0.0.0/24", enable_dhcp=False)
    assert dhcp_ports(fleet, network) == []
    fleet.store.subnets.update(subnet.id, {"enable_dhcp": True})
    assert len(dhcp_ports(fleet, network)) == 1
    agent = Agent(fleet, "net")
    agent.poll()
    fleet.store.subnets.delete(subnet.id)
    assert dhcp_ports(fleet, network) == []
    assert agent.poll().scopes == {}


def test_a_deleted_network_takes_its_dhcp_ports_along(fleet: Cloud) -> None:
    network = vxlan(fleet)
    agent = Agent(fleet, "net")
    agent.poll()
    fleet.store.networks.delete(network.id)
    assert fleet.store.ports.find() == []
    assert agent.poll().scopes == {}


# --- IPv6 underlay --------------------------------------------------------------------------------


def test_an_ipv6_tunnel_end_is_kept_told_to_peers_and_one_hosts_only(fleet: Cloud) -> None:
    ends = {name: ip_address(f"2001:db8::{n}") for n, name in enumerate(ENDS, 1)}
    for name, end in ends.items():
        tunnel(fleet, name, local_ip=end)
    assert fleet.store.hosts.get("h1").local_ip == ends["h1"]
    network = vxlan(fleet)
    fleet.port(network, "h1")
    view = merge(View(), views.answer(fleet.store, "h1", request(View(), 0)))
    assert view.scopes[network.id].peers == {name: ends[name] for name in ("net", "h1")}
    with pytest.raises(Conflict, match="host h2 reports local_ip 2001:db8::2"):
        tunnel(fleet, "h2", local_ip=ends["h1"])


def test_over_ipv6_a_tunnel_takes_20_bytes_more(fleet: Cloud) -> None:
    assert vxlan(fleet).mtu == 1450
    tunnel(fleet, "h2", local_ip=ip_address("2001:db8::2"))
    assert vxlan(fleet, "10.1.0.0/24").mtu == 1430
    with pytest.raises(Invalid, match="it takes 70 bytes"):
        vxlan(fleet, "10.2.0.0/24", mtu=1450)
