"""Which of /v2.0/agents a client takes for DHCP agents, and what it can do with those."""

from __future__ import annotations

import pytest

from tests.api.conftest import Server
from tests.api.world import World


@pytest.fixture
def w(server: Server) -> World:
    return World(server)


def test_clients_that_look_for_dhcp_agents_find_those_that_can_serve(w: World) -> None:
    serving = sorted(w.dhcp_host()[0] for _ in range(2))
    switch, _ = w.host(local_ip="192.0.2.99")
    bridge, _ = w.host()

    def names(query: str) -> list[str]:
        found = w.ask("GET", f"agents?{query}").json()["agents"]
        return sorted(row["host"] for row in found)

    assert names("agent_type=DHCP agent") == serving
    assert names("topic=dhcp_agent") == serving
    assert names("agent_type=Open vSwitch agent") == [switch]
    assert names("agent_type=Linux bridge agent") == [bridge]
    assert names("topic=N/A") == sorted([switch, bridge])
    assert names("agent_type=L3 agent") == []
    both = "agent_type=DHCP agent&agent_type=Linux bridge agent"
    assert names(both) == sorted([*serving, bridge])


def test_a_network_moves_between_any_two_agents_that_a_list_shows(w: World) -> None:
    for _ in range(2):
        w.dhcp_host()
    w.host(local_ip="192.0.2.98")  # a compute host
    network = w.subnet()["network_id"]
    agents = w.ask("GET", "agents?agent_type=DHCP agent").json()["agents"]
    (first,) = w.ask("GET", f"networks/{network}/dhcp-agents").json()["agents"]
    for agent in (*agents, *agents):
        (now,) = w.ask("GET", f"networks/{network}/dhcp-agents").json()["agents"]
        if agent["id"] == now["id"]:
            continue
        gone = w.ask("DELETE", f"agents/{now['id']}/dhcp-networks/{network}")
        assert gone.status_code == 204, gone.text
        body = {"network_id": network}
        added = w.ask("POST", f"agents/{agent['id']}/dhcp-networks", body)
        assert added.status_code == 201, added.text
        (then,) = w.ask("GET", f"networks/{network}/dhcp-agents").json()["agents"]
        assert then["id"] == agent["id"]
    assert first["agent_type"] == "DHCP agent"
