"""openstacksdk's calls for agents, DHCP scheduling, zones, bindings, with hosts h1 and h2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from openstack import exceptions

HOSTS = {"h1": "192.0.2.1", "h2": "192.0.2.2"}  # and their ends of tunnels


@pytest.fixture(scope="module", autouse=True)
def hosts(cloud: Any) -> Iterator[None]:
    """Hosts whose agents have spoken once, as the first thing that agents do."""
    for name, end in HOSTS.items():
        host = cloud.network.post("/hosts", json={"host": {"name": name}}).json()["host"]
        report: Any = {"run_id": "r1", "in_sync": True, "network_host": True, "local_ip": end}
        answer = requests.post(
            f"{os.environ['LESSOR_AGENTS']}/agent/v1/report",
            json=report,
            headers={"Authorization": f"Bearer {host['token']}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text
    yield
    for name in HOSTS:
        cloud.network.delete(f"/hosts/{name}")


@pytest.fixture
def overlay(network: Any) -> Iterator[Any]:
    made = network.create_network(name="overlay", provider_network_type="vxlan")
    network.create_subnet(network_id=made.id, ip_version=4, cidr="10.3.0.0/24")
    yield made
    network.delete_network(made)


def test_agents_are_listed(network: Any) -> None:
    agents = {agent.host: agent for agent in network.agents()}
    assert sorted(agents) == ["h1", "h2"]
    agent = agents["h1"]
    assert (agent.agent_type, agent.is_alive, agent.is_admin_state_up) == ("DHCP agent", True, True)
    assert [row.id for row in network.agents(host="h1")] == [agent.id]
    assert network.get_agent(agent.id).binary == "lessor-agent"


def test_a_network_is_given_to_agents_and_taken_from_them(network: Any, overlay: Any) -> None:
    (first,) = network.network_hosting_dhcp_agents(overlay)
    (second,) = (agent for agent in network.agents() if agent.id != first.id)
    assert [row.id for row in network.dhcp_agent_hosting_networks(first)] == [overlay.id]
    network.add_dhcp_agent_to_network(second, overlay)
    assert len(list(network.network_hosting_dhcp_agents(overlay))) == 2
    # by its id: what the library returned as `first` can't be asked for under its own address
    network.remove_dhcp_agent_from_network(first.id, overlay)
    assert list(network.dhcp_agent_hosting_networks(first)) == []
    assert [agent.id for agent in network.network_hosting_dhcp_agents(overlay)] == [second.id]


def test_zones_are_listed_and_asked_for(network: Any) -> None:
    zones = {zone.name: (zone.state, zone.resource) for zone in network.availability_zones()}
    assert zones == {"nova": ("available", "network")}
    made = network.create_network(
        name="z", provider_network_type="vxlan", availability_zone_hints=["nova"]
    )
    assert made.availability_zone_hints == ["nova"]
    network.delete_network(made)
    with pytest.raises(exceptions.SDKException, match="north"):
        network.create_network(name="z", availability_zone_hints=["north"])


def test_a_port_is_prepared_for_another_host_and_moves_there(network: Any, overlay: Any) -> None:
    port = network.create_port(network_id=overlay.id, binding_host_id="h1")
    try:
        made = network.create_port_binding(port, host="h2")
        assert (made.host, made.status, made.vif_type) == ("h2", "INACTIVE", "ovs")
        both = {binding.host: binding.status for binding in network.port_bindings(port)}
        assert both == {"h1": "ACTIVE", "h2": "INACTIVE"}
        network.activate_port_binding(port, "h2")
        both = {binding.host: binding.status for binding in network.port_bindings(port)}
        assert both == {"h1": "INACTIVE", "h2": "ACTIVE"}
        assert network.get_port(port.id).binding_host_id == "h2"
        network.delete_port_binding(port, "h1")
        assert [binding.host for binding in network.port_bindings(port)] == ["h2"]
    finally:
        network.delete_port(port)


def test_a_port_is_bound_to_a_host_that_nobody_knows(network: Any, overlay: Any) -> None:
    port = network.create_port(network_id=overlay.id, binding_host_id="h9")
    assert (port.binding_host_id, port.binding_vif_type) == ("h9", "binding_failed")
    network.delete_port(port)
