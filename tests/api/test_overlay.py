"""vxlan networks and their DHCP agents, as clients see them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lessor import wire
from lessor.agent.server.client import Client
from lessor.errors import NotFound
from lessor.model import LeaseBatch, LeaseEvent, Report
from lessor.store.addresses import leases as lease_rules
from lessor.store.hosts import dhcp_scheduler
from tests.api.conftest import Json, Server


def add_host(server: Server, name: str, end: str | None, *, dhcp: bool) -> dict[str, str]:
    """Make a host whose agent reported; return the header its agent sends."""
    header = server.token(name)
    report = Report(
        run_id=f"run-{name}", network_host=dhcp, local_ip=IPv4Address(end) if end else None
    )
    answer = server.agents.post("/agent/v1/report", content=wire.encode(report), headers=header)
    assert answer.status_code == 200, answer.text
    return header


def vxlan(server: Server, **fields: Any) -> Json:
    network = server.make("network", **{"provider:network_type": "vxlan", **fields})
    server.make("subnet", network_id=network["id"], cidr="10.0.0.0/24")
    return server.api.get(f"/v2.0/networks/{network['id']}").json()["network"]  # type: ignore[no-any-return]


def agent_id(server: Server, host: str) -> str:
    [agent] = server.api.get("/v2.0/agents", params={"host": host}).json()["agents"]
    return str(agent["id"])


def test_a_vxlan_network_shows_its_type_number_and_mtu(server: Server) -> None:
    network = vxlan(server, **{"provider:segmentation_id": 77})
    shown = {key: value for key, value in network.items() if key.startswith("provider:")}
    assert shown == {
        "provider:network_type": "vxlan",
        "provider:physical_network": None,
        "provider:segmentation_id": 77,
    }
    assert (network["mtu"], network["lessor:bridge"]) == (1450, None)
    by_vni = server.api.get("/v2.0/networks", params={"provider:segmentation_id": 77})
    assert [row["id"] for row in by_vni.json()["networks"]] == [network["id"]]


def test_a_vni_in_use_is_a_conflict(server: Server) -> None:
    network = vxlan(server)
    body = {"network": {"provider:segmentation_id": network["provider:segmentation_id"]}}
    answer = server.api.post("/v2.0/networks", json=body)
    assert answer.status_code == 409
    problem = answer.json()["NeutronError"]
    assert problem["type"] == "TunnelIdInUse"
    assert f"segmentation_id 1 is in use by network {network['id']}" in problem["message"]


def test_two_hosts_with_one_tunnel_end_are_refused(server: Server) -> None:
    add_host(server, "h1", "192.0.2.1", dhcp=True)
    report = Report(run_id="other", local_ip=IPv4Address("192.0.2.1"))
    answer = server.agents.post(
        "/agent/v1/report", content=wire.encode(report), headers=server.token("h2")
    )
    assert answer.status_code == 409
    message = answer.json()["NeutronError"]["message"]
    assert "h1" in message
    assert "h2" in message


def test_a_host_shows_its_tunnel_end(server: Server) -> None:
    add_host(server, "h1", "192.0.2.1", dhcp=True)
    assert server.api.get("/v2.0/hosts/h1").json()["host"]["local_ip"] == "192.0.2.1"
    agent = server.api.get(f"/v2.0/agents/{agent_id(server, 'h1')}").json()["agent"]
    assert agent["configurations"]["tunneling_ip"] == "192.0.2.1"


def test_a_port_on_a_host_without_an_agent_says_so(server: Server) -> None:
    add_host(server, "h1", "192.0.2.1", dhcp=False)
    server.token("h2")
    network = vxlan(server)
    port = server.make("port", network_id=network["id"], **{"binding:host_id": "h2"})
    assert (port["binding:vif_type"], port["binding:vif_details"]) == ("binding_failed", {})
    assert port["lessor:pending"].startswith(
        "host h2 had no live agent, or lacked the network, when"
    )


def test_a_port_is_told_the_datapath_of_its_host(server: Server) -> None:
    """os-vif gives br-int the datapath_type it is told: a wrong one makes both fight over it."""
    report = Report(run_id="r", local_ip=IPv4Address("192.0.2.1"), datapath_type="netdev")
    server.agents.post("/agent/v1/report", content=wire.encode(report), headers=server.token("h1"))
    network = vxlan(server)
    port = server.make("port", network_id=network["id"], **{"binding:host_id": "h1"})
    assert port["binding:vif_details"]["datapath_type"] == "netdev"
    (listed,) = server.api.get(f"/v2.0/ports?id={port['id']}").json()["ports"]
    assert listed["binding:vif_details"] == port["binding:vif_details"]


def test_a_vxlan_port_is_plugged_into_open_vswitch(server: Server) -> None:
    add_host(server, "h1", "192.0.2.1", dhcp=False)
    port = server.make("port", network_id=vxlan(server)["id"], **{"binding:host_id": "h1"})
    assert port["binding:vif_type"] == "ovs"
    assert port["binding:vif_details"] == {
        "bridge_name": "br-int",
        "datapath_type": "system",
        "ovs_hybrid_plug": False,
        "ovs_create_tap": True,
        "port_filter": True,
        "connectivity": "l2",
        "tap_name": f"tap{port['id'][:11]}",
    }
    waits = "not wired on host h1 yet; no DHCP server has its reservation yet"
    assert port["lessor:pending"] == waits


def test_a_vxlan_network_has_no_one_address_of_its_dhcp_servers(server: Server) -> None:
    network = server.make("network", **{"provider:network_type": "vxlan"})
    body = {"network_id": network["id"], "cidr": "10.0.0.0/24", "lessor:dhcp_server": "10.0.0.9"}
    answer = server.api.post("/v2.0/subnets", json={"subnet": body})
    assert answer.status_code == 400
    assert "10.0.0.9" in answer.json()["NeutronError"]["message"]
    assert server.api.get("/v2.0/subnets").json() == {"subnets": []}


def test_a_dhcp_servers_own_port_keeps_what_it_is(server: Server) -> None:
    add_host(server, "h1", "192.0.2.1", dhcp=True)
    query = {"network_id": vxlan(server)["id"], "device_owner": "network:dhcp"}
    [port] = server.api.get("/v2.0/ports", params=query).json()["ports"]
    path = f"/v2.0/ports/{port['id']}"
    changes: list[Json] = [
        {"device_id": "x"},
        {"fixed_ips": []},
        {"mac_address": "fa:16:3e:00:00:09"},
        {"port_security_enabled": not port["port_security_enabled"]},
        {"admin_state_up": False},
        {"dns_name": "x"},
        {"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1400"}]},
    ]
    for change in changes:
        answer = server.api.put(path, json={"port": change})
        assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (409, "PortInUse")
    gone = server.api.delete(path)
    assert (gone.status_code, gone.json()["NeutronError"]["type"]) == (409, "PortInUse")
    assert server.api.get(path).json() == {"port": port}


def test_dhcp_agents_are_listed_added_and_removed(server: Server) -> None:
    for n, name in enumerate(("h1", "h2"), 1):
        add_host(server, name, f"192.0.2.{n}", dhcp=True)
    network = vxlan(server)
    agents = f"/v2.0/networks/{network['id']}/dhcp-agents"
    other = f"/v2.0/agents/{agent_id(server, 'h2')}/dhcp-networks"

    def hosts() -> list[str]:
        return [agent["host"] for agent in server.api.get(agents).json()["agents"]]

    assert hosts() == ["h1"]
    assert server.api.get(other).json() == {"networks": []}
    added = server.api.post(other, json={"network_id": network["id"]})
    assert (added.status_code, added.json()) == (201, {})
    assert hosts() == ["h1", "h2"]
    assert server.api.get(other).json() == {"networks": [network]}
    again = server.api.post(other, json={"network_id": network["id"]})
    assert (again.status_code, again.json()["NeutronError"]["type"]) == (
        409,
        "NetworkHostedByDHCPAgent",
    )
    assert server.api.delete(f"{other}/{network['id']}").status_code == 204
    assert hosts() == ["h1"]
    gone = server.api.delete(f"{other}/{network['id']}")
    assert (gone.status_code, gone.json()["NeutronError"]["type"]) == (
        409,
        "NetworkNotHostedByDhcpAgent",
    )


@pytest.mark.parametrize(
    ("path", "type_"),
    [
        ("/v2.0/networks/nothing/dhcp-agents", "NetworkNotFound"),
        ("/v2.0/agents/nobody/dhcp-networks", "AgentNotFound"),
    ],
)
def test_dhcp_agents_of_nothing_are_not_found(shared: Server, path: str, type_: str) -> None:
    answer = shared.api.get(path)
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (404, type_)


def test_an_agent_that_cannot_serve_is_refused(server: Server) -> None:
    add_host(server, "h1", None, dhcp=True)
    path = f"/v2.0/agents/{agent_id(server, 'h1')}/dhcp-networks"
    answer = server.api.post(path, json={"network_id": vxlan(server)["id"]})
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (404, "InvalidDHCPAgent")


def test_the_scheduler_is_announced(shared: Server) -> None:
    answer = shared.api.get("/v2.0/extensions/dhcp_agent_scheduler")
    assert answer.status_code == 200


def test_a_successor_is_told_the_live_leases(server: Server, tmp_path: Path) -> None:
    header = add_host(server, "h1", "192.0.2.1", dhcp=True)
    add_host(server, "h2", "192.0.2.2", dhcp=True)
    network = vxlan(server)
    port = server.make("port", network_id=network["id"])
    event = LeaseEvent(
        seq=1,
        action="add",
        network_id=network["id"],
        address=IPv4Address(port["fixed_ips"][0]["ip_address"]),
        mac_address=port["mac_address"],
        client_id="ff:01",
    )
    server.store.write(lease_rules.apply, "h1", LeaseBatch(epoch="e", events=(event,)))
    token_file = tmp_path / "token"
    token_file.write_text(header["Authorization"].removeprefix("Bearer "))

    async def ask(network_id: str) -> Any:
        client = Client([str(server.agents.base_url)], token_file)
        try:
            return await client.leases_of(network_id)
        finally:
            await client.close()

    [lease] = asyncio.run(ask(network["id"]))
    assert (lease.address, lease.mac_address, lease.client_id) == (
        event.address,
        event.mac_address,
        "ff:01",
    )
    with pytest.raises(NotFound, match="takes no part"):
        asyncio.run(ask("nothing"))


def test_a_dead_dhcp_host_is_replaced_by_itself(serve: Callable[..., Server]) -> None:
    server = serve(dhcp_down_time=4)  # looks come every second, and half of it is a clock jump
    add_host(server, "h1", "192.0.2.1", dhcp=True)
    network = vxlan(server)
    living = add_host(server, "h2", "192.0.2.2", dhcp=True)
    beat = wire.encode(
        Report(run_id="run-h2", network_host=True, local_ip=IPv4Address("192.0.2.2"))
    )
    deadline = time.monotonic() + 40
    while [
        host.name for host in server.store.read(dhcp_scheduler.hosts_serving, network["id"])
    ] != ["h2"]:
        assert time.monotonic() < deadline, "the DHCP server of h1 is not on h2 after 40 s"
        server.agents.post("/agent/v1/report", content=beat, headers=living)
        time.sleep(0.1)


def test_zones_are_listed_asked_for_and_shown(server: Server) -> None:
    add_host(server, "h1", "192.0.2.1", dhcp=True)
    zones = server.api.get("/v2.0/availability_zones").json()["availability_zones"]
    assert zones == [{"name": "nova", "state": "available", "resource": "network"}]
    network = vxlan(server, availability_zone_hints=["nova"])
    assert network["availability_zone_hints"] == network["availability_zones"] == ["nova"]
    body = {"network": {"availability_zone_hints": ["mars"]}}
    answer = server.api.post("/v2.0/networks", json=body)
    assert answer.status_code == 404
    assert answer.json()["NeutronError"]["type"] == "AvailabilityZoneNotFound"
    agents = server.api.get("/v2.0/agents", params={"availability_zone": "nova"}).json()["agents"]
    assert [agent["availability_zone"] for agent in agents] == ["nova"]
