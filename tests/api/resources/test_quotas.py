"""Quotas, and how many addresses are left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Server = Any  # tests/api/conftest.py
OPEN = {"network": -1, "subnet": -1, "port": -1, "subnetpool": -1, "rbac_policy": -1}
PLURALS = {"rbac_policy": "rbac_policies"}


def quota(server: Server, rest: str) -> dict[str, Any]:
    answer = server.api.get(f"/v2.0/quotas/{rest}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["quota"]
    return found


def set_quota(server: Server, project: str, **values: int) -> dict[str, Any]:
    answer = server.api.put(f"/v2.0/quotas/{project}", json={"quota": values})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["quota"]
    return found


def test_without_authentication_nothing_is_limited(server: Server) -> None:
    ids = {"project_id": "p1", "tenant_id": "p1"}
    assert quota(server, "p1") == quota(server, "p1/default") == OPEN | ids
    assert server.api.get("/v2.0/quotas").json() == {"quotas": []}


def test_what_is_set_counts_and_what_is_not_stays(serve: Callable[..., Server]) -> None:
    server = serve(network_quota=7)
    assert set_quota(server, "p1", port=2)["port"] == 2
    assert set_quota(server, "p1", subnet=0)["port"] == 2
    ids = {"project_id": "p1", "tenant_id": "p1"}
    mine = OPEN | {"network": 7, "port": 2, "subnet": 0} | ids
    assert quota(server, "p1") == mine
    assert quota(server, "p2")["port"] == -1
    assert server.api.get("/v2.0/quotas").json() == {"quotas": [mine]}
    assert server.api.delete("/v2.0/quotas/p1").status_code == 204
    assert quota(server, "p1") == OPEN | {"network": 7} | ids


def _bodies(network_id: str) -> dict[str, list[dict[str, Any]]]:
    common = {"project_id": "p1"}
    policy = {"object_type": "network", "object_id": network_id, "action": "access_as_shared"}
    return {
        "network": [{"lessor:bridge": "br100"} | common for _ in range(3)],
        "subnet": [{"network_id": network_id, "cidr": f"10.{n}.0.0/24"} | common for n in "123"],
        "port": [{"network_id": network_id} | common for _ in range(3)],
        "subnetpool": [{"name": n, "prefixes": [f"10.{n}.0.0/16"]} | common for n in "123"],
        "rbac_policy": [{**policy, "target_tenant": f"t{n}"} | common for n in "123"],
    }


@pytest.mark.parametrize("noun", OPEN)
def test_one_more_than_the_quota_is_refused(server: Server, noun: str) -> None:
    network, _ = server.network("10.200.0.0/24")
    set_quota(server, "p1", **{noun: 2})
    bodies = _bodies(network["id"])[noun]
    plural = PLURALS.get(noun, f"{noun}s")
    path = f"/v2.0/{plural.replace('_', '-')}"
    before = len(server.api.get(path).json()[plural])

    bulk = server.api.post(path, json={plural: bodies})
    assert (bulk.status_code, bulk.json()["NeutronError"]["type"]) == (409, "OverQuota")
    assert len(server.api.get(path).json()[plural]) == before

    made = [server.api.post(path, json={noun: body}) for body in bodies]
    assert [answer.status_code for answer in made] == [201, 201, 409]
    problem = made[2].json()["NeutronError"]
    assert problem["type"] == "OverQuota"
    assert f"quota exceeded for resources: ['{noun}']" in problem["message"]
    assert "2 of 2" in problem["message"]

    assert quota(server, "p1/details")[noun] == {"limit": 2, "used": 2, "reserved": 0}
    assert quota(server, "p1/details.json") == quota(server, "p1/details")
    other = server.api.post(path, json={noun: bodies[2] | {"project_id": "p2"}})
    assert other.status_code == 201, other.text

    gone = made[0].json()[noun]["id"]
    assert server.api.delete(f"{path}/{gone}").status_code == 204
    assert quota(server, "p1/details")[noun]["used"] == 1
    assert server.api.post(path, json={noun: bodies[0]}).status_code == 201


def test_the_quota_is_asked_before_anything_is_made(server: Server) -> None:
    set_quota(server, "p1", network=2)
    wrong = {"provider:physical_network": "nowhere", "project_id": "p1"}
    answer = server.api.post("/v2.0/networks", json={"networks": [wrong] * 3})
    assert answer.json()["NeutronError"]["type"] == "OverQuota", answer.text
    answer = server.api.post("/v2.0/networks", json={"networks": [wrong] * 2})
    assert answer.json()["NeutronError"]["type"] != "OverQuota", answer.text


def test_a_subnet_counts_for_the_project_of_its_network(server: Server) -> None:
    network = server.make("network", project_id="p1", **{"lessor:bridge": "br100"})
    set_quota(server, "p1", subnet=1)
    bodies = [{"network_id": network["id"], "cidr": f"10.{n}.0.0/24"} for n in "12"]
    bulk = server.api.post("/v2.0/subnets", json={"subnets": bodies})
    assert bulk.json()["NeutronError"]["type"] == "OverQuota", bulk.text
    assert server.api.post("/v2.0/subnets", json={"subnet": bodies[0]}).status_code == 201
    assert server.api.post("/v2.0/subnets", json={"subnet": bodies[1]}).status_code == 409


def test_a_request_makes_at_most_1000(shared: Server) -> None:
    answer = shared.api.post("/v2.0/networks", json={"networks": [{}] * 1001})
    assert answer.status_code == 400
    assert "at most 1000" in answer.json()["NeutronError"]["message"]


@pytest.mark.parametrize("body", [{"port": -2}, {"port": "many"}, {"router": 5}, {"port": 1 << 40}])
def test_what_can_be_no_quota_is_refused(shared: Server, body: dict[str, Any]) -> None:
    answer = shared.api.put("/v2.0/quotas/p9", json={"quota": body})
    assert answer.status_code == 400
    assert next(iter(body)) in answer.json()["NeutronError"]["message"]
    assert quota(shared, "p9")["port"] == -1


def test_fewer_than_there_are_is_refused_if_that_is_asked(server: Server) -> None:
    server.make("network", project_id="p1", **{"lessor:bridge": "br100"})
    server.make("network", project_id="p1", **{"lessor:bridge": "br100"})

    def put(**values: object) -> Any:
        return server.api.put("/v2.0/quotas/p1", json={"quota": values})

    refused = put(network=1, port=5, check_limit=True)
    problem = refused.json()["NeutronError"]
    assert (refused.status_code, problem["type"]) == (400, "HTTPBadRequest")
    assert "limit 1 for network" in problem["message"]
    assert "used 2" in problem["message"]
    assert quota(server, "p1")["port"] == -1
    for values in ({"network": 2}, {"network": -1}, {"network": 1, "force": True}):
        answer = put(**values, check_limit=True)
        assert answer.status_code == 200, answer.text
        assert answer.json()["quota"]["network"] == values["network"]
    assert put(network=0).status_code == 200


def test_addresses_that_are_left_are_counted(server: Server) -> None:
    network, subnet = server.network("10.0.0.0/29")  # .1 is the gateway: five are left
    empty = server.make("network", name="empty", **{"lessor:bridge": "br200"})
    path = f"/v2.0/network-ip-availabilities/{network['id']}"
    inside = {
        "subnet_id": subnet["id"],
        "subnet_name": "",
        "cidr": "10.0.0.0/29",
        "ip_version": 4,
        "total_ips": 5,
        "used_ips": 0,
    }
    whole = {
        "network_id": network["id"],
        "network_name": "",
        "project_id": "",
        "tenant_id": "",
        "total_ips": 5,
        "used_ips": 0,
        "subnet_ip_availability": [inside],
    }
    assert server.api.get(path).json() == {"network_ip_availability": whole}

    server.make("port", network_id=network["id"])
    server.make("address", network_id=network["id"], address="10.0.0.5")
    assert server.api.get(path).json()["network_ip_availability"]["used_ips"] == 2

    many = "/v2.0/network-ip-availabilities"
    for query, found in (
        ("", {network["id"], empty["id"]}),
        ("?network_name=empty", {empty["id"]}),
        (f"?network_id={network['id']}", {network["id"]}),
        ("?ip_version=4", {network["id"], empty["id"]}),
        ("?ip_version=6", set()),
        ("?project_id=p1", set()),
    ):
        rows = server.api.get(f"{many}{query}").json()["network_ip_availabilities"]
        assert {row["network_id"] for row in rows} == found, query
    assert server.api.get(f"{many}/{'0' * 8}").status_code == 404


def test_a_full_network_has_as_many_used_as_there_are(server: Server) -> None:
    network, _ = server.network("10.0.0.0/29")
    for _ in range(5):
        server.make("port", network_id=network["id"])
    row = server.api.get(f"/v2.0/network-ip-availabilities/{network['id']}").json()
    found = row["network_ip_availability"]
    assert found["used_ips"] == found["total_ips"] == 5
