"""The network that a project has for the asking, and agents that are taken down."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.people import Cloud, password_files
from tests.api.world import World

PATH = "/v2.0/auto-allocated-topology"


@pytest.fixture
def cloud(serve: Callable[..., Any], tmp_path: Path) -> Cloud:
    return Cloud(serve(**password_files(tmp_path)))


def _pool(cloud: Cloud) -> str:
    pool: dict[str, Any] = {"name": "all", "prefixes": ["10.0.0.0/8"], "default_prefixlen": 24}
    pool |= {"is_default": True, "shared": True}
    return str(cloud.make("subnetpool", "root", **pool)["id"])


def test_a_project_gets_a_network_once(cloud: Cloud) -> None:
    pool = _pool(cloud)
    dry = cloud.ask("alice", "GET", f"{PATH}/p1?fields=dry-run").json()["auto_allocated_topology"]
    assert dry == {"id": "dry-run=pass", "project_id": "p1", "tenant_id": "p1"}
    assert cloud.ask("alice", "GET", "/v2.0/networks").json()["networks"] == []

    made = cloud.ask("alice", "GET", f"{PATH}/None").json()["auto_allocated_topology"]
    again = cloud.ask("rita", "GET", f"{PATH}/p1").json()["auto_allocated_topology"]
    assert made == again == {"id": made["id"], "project_id": "p1", "tenant_id": "p1"}
    network = cloud.ask("alice", "GET", f"/v2.0/networks/{made['id']}").json()["network"]
    assert (network["name"], network["project_id"]) == ("auto_allocated_network", "p1")
    [subnet] = cloud.ask("alice", "GET", "/v2.0/subnets").json()["subnets"]
    assert (subnet["cidr"], subnet["subnetpool_id"]) == ("10.0.0.0/24", pool)
    assert subnet["network_id"] == made["id"]
    port = cloud.make("port", "alice", network_id=made["id"])
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.2"

    in_use = cloud.ask("alice", "DELETE", f"{PATH}/p1")
    assert in_use.json()["NeutronError"]["type"] == "NetworkInUse"
    cloud.ask("alice", "DELETE", f"/v2.0/ports/{port['id']}")
    for _ in range(2):
        assert cloud.ask("alice", "DELETE", f"{PATH}/p1").status_code == 204
    assert cloud.ask("alice", "GET", "/v2.0/networks").json()["networks"] == []
    new = cloud.ask("alice", "GET", f"{PATH}/p1").json()["auto_allocated_topology"]
    assert new["id"] != made["id"]
    assert cloud.ask("alice", "DELETE", f"/v2.0/networks/{new['id']}").status_code == 204
    other = cloud.ask("alice", "GET", f"{PATH}/p1").json()["auto_allocated_topology"]
    assert other["id"] != new["id"]


def test_a_project_gets_no_network_where_none_can_be_made(cloud: Cloud) -> None:
    for rest in ("?fields=dry-run", ""):
        answer = cloud.ask("alice", "GET", f"{PATH}/p1{rest}")
        problem = answer.json()["NeutronError"]
        assert (answer.status_code, problem["type"]) == (409, "AutoAllocationFailure")
        assert "is_default" in problem["message"]
    _pool(cloud)
    assert cloud.ask("rita", "GET", f"{PATH}/p1").status_code == 403  # she makes no networks
    assert cloud.ask("bob", "GET", f"{PATH}/p1").status_code == 403
    assert cloud.ask("bob", "DELETE", f"{PATH}/p1").status_code == 403
    assert cloud.ask("alice", "GET", f"{PATH}/p1?fields=id").status_code == 400
    cloud.ask("root", "PUT", "/v2.0/quotas/p1", {"quota": {"subnet": 0}})
    over = cloud.ask("alice", "GET", f"{PATH}/p1").json()["NeutronError"]
    assert over["type"] == "OverQuota"
    assert cloud.ask("root", "GET", "/v2.0/networks").json()["networks"] == []


def test_an_agent_taken_down_hands_its_networks_on_and_is_shown_so(server: Any) -> None:
    world = World(server)
    first, _ = world.dhcp_host()
    network = world.subnet()["network_id"]
    second, _ = world.dhcp_host()

    def serving() -> list[str]:
        rows = world.ask("GET", f"networks/{network}/dhcp-agents").json()["agents"]
        return [row["host"] for row in rows]

    assert serving() == [first]
    path = f"agents/{world.agent(first)}"
    said = {"agent": {"admin_state_up": False, "description": "a new disk"}}
    agent = world.ask("PUT", path, said).json()["agent"]
    assert (agent["admin_state_up"], agent["description"], agent["alive"]) == (
        False,
        "a new disk",
        True,
    )
    assert serving() == [second]
    down = world.ask("GET", "agents?admin_state_up=false").json()["agents"]
    assert [row["host"] for row in down] == [first]
    host = world.ask("GET", f"hosts/{first}").json()["host"]
    assert (host["admin_state_up"], host["description"]) == (False, "a new disk")
    assert world.ask("DELETE", path).status_code == 204
    assert world.ask("GET", f"hosts/{first}").status_code == 404
    in_use = world.ask("DELETE", f"agents/{world.agent(second)}")
    assert in_use.json()["NeutronError"]["type"] == "HostInUse"
