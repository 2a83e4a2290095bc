"""openstacksdk's calls for networks, subnets, ports and what is found out about the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openstack import exceptions, resource

MANY = 1020


def test_a_network_is_made_found_changed_and_deleted(network: Any) -> None:
    made = network.create_network(name="red", description="a net", mtu=1400)
    try:
        assert (made.name, made.mtu, made.is_admin_state_up) == ("red", 1400, True)
        assert made.status == "ACTIVE"
        assert made.subnet_ids == []
        assert network.find_network("red").id == made.id
        assert network.find_network(made.id).name == "red"
        assert network.get_network(made.id).description == "a net"
        before = made.revision_number
        changed = network.update_network(made, name="crimson", mtu=1300)
        assert (changed.name, changed.mtu) == ("crimson", 1300)
        assert changed.revision_number > before
        assert [found.id for found in network.networks(name="crimson")] == [made.id]
        assert list(network.networks(name="red")) == []
    finally:
        network.delete_network(made)
    assert network.find_network("crimson") is None
    with pytest.raises(exceptions.NotFoundException, match=made.id):
        network.get_network(made.id)


def test_a_subnet_is_made_found_changed_and_deleted(network: Any, blue: Any) -> None:
    made = network.create_subnet(
        network_id=blue.id,
        name="second",
        ip_version=4,
        cidr="10.2.0.0/24",
        gateway_ip="10.2.0.254",
        allocation_pools=[{"start": "10.2.0.10", "end": "10.2.0.20"}],
        dns_nameservers=["10.2.0.5"],
        host_routes=[{"destination": "10.9.0.0/16", "nexthop": "10.2.0.9"}],
    )
    assert (made.cidr, made.gateway_ip, made.is_dhcp_enabled) == ("10.2.0.0/24", "10.2.0.254", True)
    assert network.find_subnet("second").id == made.id
    assert network.get_subnet(made.id).dns_nameservers == ["10.2.0.5"]
    changed = network.update_subnet(made, name="third", dns_nameservers=["10.2.0.6"])
    assert (changed.name, changed.dns_nameservers) == ("third", ["10.2.0.6"])
    assert {found.name for found in network.subnets(network_id=blue.id)} == {"blue4", "third"}
    assert [found.name for found in network.subnets(cidr="10.2.0.0/24")] == ["third"]
    network.delete_subnet(made)
    assert network.find_subnet("third") is None


def test_a_port_is_made_found_changed_and_deleted(network: Any, blue: Any) -> None:
    subnet = blue.subnet_ids[0] if blue.subnet_ids else network.find_subnet("blue4").id
    made = network.create_port(
        network_id=blue.id,
        name="vm1",
        device_id="vm-1",
        device_owner="compute:nova",
        fixed_ips=[{"subnet_id": subnet, "ip_address": "10.1.0.12"}],
        dns_name="vm1",
        extra_dhcp_opts=[{"opt_name": "ntp-server", "opt_value": "10.1.0.3"}],
        allowed_address_pairs=[{"ip_address": "10.1.9.0/28"}],
    )
    assert made.fixed_ips == [{"subnet_id": subnet, "ip_address": "10.1.0.12"}]
    assert made.status == "DOWN"
    assert made.binding_vif_type == "unbound"
    assert network.find_port("vm1").mac_address == made.mac_address
    assert network.get_port(made.id).device_id == "vm-1"
    changed = network.update_port(made, name="vm2", is_admin_state_up=False)
    assert (changed.name, changed.is_admin_state_up) == ("vm2", False)
    assert [p.id for p in network.ports(fixed_ips="ip_address=10.1.0.12")] == [made.id]
    assert [p.id for p in network.ports(device_id="vm-1", is_admin_state_up=False)] == [made.id]
    assert [p.id for p in network.ports(mac_address=made.mac_address)] == [made.id]
    network.delete_port(made)
    with pytest.raises(exceptions.NotFoundException, match=made.id):
        network.delete_port(made.id, ignore_missing=False)
    network.delete_port(made.id)


def test_what_is_in_use_is_a_conflict(network: Any, blue: Any) -> None:
    port = network.create_port(network_id=blue.id)
    address = port.fixed_ips[0]["ip_address"]
    with pytest.raises(exceptions.ConflictException, match=address):
        network.create_port(network_id=blue.id, fixed_ips=[{"ip_address": address}])
    with pytest.raises(exceptions.ConflictException):
        network.delete_network(blue)
    with pytest.raises(exceptions.ConflictException):
        network.delete_subnet(port.fixed_ips[0]["subnet_id"], if_revision=None)
    with pytest.raises(exceptions.BadRequestException, match="mtu"):
        network.create_network(name="x", mtu=9001)


def test_ports_are_waited_for(network: Any, blue: Any) -> None:
    port = network.create_port(network_id=blue.id)
    assert network.wait_for_status(port, "DOWN", interval=0.1, wait=5).id == port.id
    network.delete_port(port)
    network.wait_for_delete(port, interval=0.1, wait=5)


def test_many_ports_are_made_at_once_and_read_page_by_page(network: Any, blue: Any) -> None:
    wanted = [{"network_id": blue.id, "name": f"p{at}"} for at in range(MANY)]
    made = list(network.create_ports(wanted[:50]))
    assert sorted(port.name for port in made) == sorted(port["name"] for port in wanted[:50])
    for start in range(50, MANY, 500):  # the library takes 3 ms to make an object of a port
        answer = network.post("/ports", json={"ports": wanted[start : start + 500]})
        assert answer.status_code == 201, answer.text
    paged = [p.name for p in network.ports(network_id=blue.id, limit=100, sort_key="name")]
    assert paged == sorted(port["name"] for port in wanted)


def test_a_bulk_with_one_wrong_port_makes_none(network: Any, blue: Any) -> None:
    wanted = [{"network_id": blue.id}, {"network_id": blue.id, "mac_address": "no"}]
    with pytest.raises(exceptions.BadRequestException, match="MAC"):
        list(network.create_ports(wanted))
    assert list(network.ports(network_id=blue.id)) == []


def test_extensions_are_found_by_their_alias(network: Any) -> None:
    assert network.find_extension("agent").alias == "agent"
    assert network.find_extension("router") is None
    assert {"provider", "binding"} <= {found.alias for found in network.extensions()}


def test_the_clouds_own_searches_find_by_name_and_filter(cloud: Any, blue: Any) -> None:
    port = cloud.network.create_port(network_id=blue.id, name="vm1")
    assert cloud.get_network("blue").id == blue.id
    assert cloud.get_subnet("blue4").network_id == blue.id
    assert cloud.get_port("vm1").id == port.id
    assert [p.id for p in cloud.search_ports(filters={"name": "vm1"})] == [port.id]
    assert [n.id for n in cloud.list_networks({"name": "blue"})] == [blue.id]


LISTS: dict[str, Callable[[Any], Any]] = {
    "agents": lambda network: network.agents(),
    "extensions": lambda network: network.extensions(),
    "networks": lambda network: network.networks(),
    "ports": lambda network: network.ports(),
    "subnets": lambda network: network.subnets(),
}


@pytest.mark.parametrize("noun", sorted(LISTS))
def test_a_list_is_a_list(network: Any, noun: str) -> None:
    assert all(isinstance(row, resource.Resource) for row in LISTS[noun](network))


def test_each_of_several_ports_may_be_wrapped_in_its_name(network: Any, blue: Any) -> None:
    body = {"ports": [{"port": {"network_id": blue.id, "name": name}} for name in ("a", "b")]}
    made = network.post("/ports", json=body).json()["ports"]
    assert [port["name"] for port in made] == ["a", "b"]


def test_a_page_links_back(network: Any, blue: Any) -> None:
    for name in ("a", "b", "c"):
        network.create_port(network_id=blue.id, name=name)
    query = f"network_id={blue.id}&sort_key=name&limit=1"
    page = network.get(f"/ports?{query}").json()
    for name, rel in (("a", "next"), ("b", "next"), ("c", "previous"), ("b", "previous")):
        assert [port["name"] for port in page["ports"]] == [name]
        links = {link["rel"]: link["href"] for link in page["ports_links"]}
        page = network.get(links[rel]).json()
    assert [port["name"] for port in page["ports"]] == ["a"]


def test_subnets_are_found_by_whether_their_network_is_shared(network: Any, blue: Any) -> None:
    (subnet,) = network.get("/subnets?shared=false").json()["subnets"]
    assert subnet["network_id"] == blue.id
    network.update_network(blue, is_shared=True)
    assert network.get("/subnets?shared=false").json()["subnets"] == []


def test_a_pool_s_lengths_given_as_text_are_numbers(network: Any) -> None:
    body = {"name": "p", "prefixes": ["10.0.0.0/16"], "min_prefixlen": "24"}
    made = network.post("/subnetpools", json={"subnetpool": body}).json()["subnetpool"]
    assert made["min_prefixlen"] == 24
    network.delete_subnet_pool(made["id"])
