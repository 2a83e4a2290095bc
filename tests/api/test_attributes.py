"""Attributes that clients of OpenStack read: their values, and what of them can't be set."""

from __future__ import annotations

from typing import Any

import pytest

Server = Any  # tests/api/conftest.py

# What every row says, whatever was asked for: attributes of what Lessor has not.
ALWAYS: dict[str, dict[str, Any]] = {
    "network": {
        "router:external": False,
        "is_default": False,
        "l2_adjacency": True,
        "qos_policy_id": None,
        "status": "ACTIVE",
    },
    "subnet": {
        "ip_version": 4,
        "ipv6_ra_mode": None,
        "ipv6_address_mode": None,
        "service_types": [],
        "segment_id": None,
        "dns_publish_fixed_ip": False,
    },
    "port": {
        "security_groups": [],
        "binding:vnic_type": "normal",
        "binding:profile": {},
        "dns_domain": "",
        "ip_allocation": "immediate",
        "qos_policy_id": None,
        "propagate_uplink_status": False,
        "resource_request": None,
        "device_profile": None,
        "numa_affinity_policy": None,
        "data_plane_status": None,
    },
}
# Another value of each that a client may say.
OTHERS: list[tuple[str, str, Any]] = [
    ("network", "router:external", True),
    ("network", "is_default", True),
    ("network", "qos_policy_id", "q"),
    ("subnet", "ipv6_ra_mode", "slaac"),
    ("subnet", "ipv6_address_mode", "slaac"),
    ("subnet", "service_types", ["compute:nova"]),
    ("subnet", "segment_id", "s"),
    ("subnet", "dns_publish_fixed_ip", True),
    ("port", "security_groups", ["g"]),
    ("port", "dns_domain", "example.org."),
    ("port", "qos_policy_id", "q"),
    ("port", "propagate_uplink_status", True),
]


@pytest.fixture(scope="module")
def rows(shared: Server) -> dict[str, dict[str, Any]]:
    network, subnet = shared.network()
    port = shared.make("port", network_id=network["id"])
    return {"network": network, "subnet": subnet, "port": port}


@pytest.mark.parametrize("noun", ALWAYS)
def test_what_lessor_has_not_is_said(rows: dict[str, dict[str, Any]], noun: str) -> None:
    assert {name: rows[noun].get(name, "absent") for name in ALWAYS[noun]} == ALWAYS[noun]


@pytest.mark.parametrize(("noun", "name", "other"), OTHERS)
def test_what_lessor_has_not_may_be_repeated_and_not_changed(
    shared: Server, rows: dict[str, dict[str, Any]], noun: str, name: str, other: Any
) -> None:
    path = f"/v2.0/{noun}s/{rows[noun]['id']}"
    before = shared.api.get(path).json()
    same = shared.api.put(path, json={noun: {name: ALWAYS[noun][name]}})
    assert (same.status_code, same.json()[noun]) == (200, before[noun])
    refused = shared.api.put(path, json={noun: {name: other}})
    assert refused.status_code == 400
    assert name in refused.json()["NeutronError"]["message"]
    assert shared.api.get(path).json() == before


def test_a_client_may_say_all_that_is_so(shared: Server) -> None:
    """As openstack, Ansible and Terraform do."""
    said = {"router:external": False, "is_default": False, "lessor:bridge": "br100"}
    network = shared.make("network", **said)
    subnet: dict[str, Any] = {
        "ipv6_ra_mode": None,
        "service_types": [],
        "dns_publish_fixed_ip": False,
    }
    shared.make("subnet", network_id=network["id"], cidr="10.7.0.0/24", **subnet)
    port: dict[str, Any] = {"security_groups": [], "qos_policy_id": None, "dns_domain": ""}
    assert shared.make("port", network_id=network["id"], **port)["security_groups"] == []


def test_a_binding_profile_keeps_what_nova_puts_there(
    shared: Server, rows: dict[str, dict[str, Any]]
) -> None:
    profile = {
        "migrating_to": "h2",
        "os_vif_delegation": True,
        "allocation": {"9a1d": "b4c2"},
        "numbers": [1, 2.5, None],
    }
    path = f"/v2.0/ports/{rows['port']['id']}"
    for body in (profile, {}):
        answer = shared.api.put(path, json={"port": {"binding:profile": body}})
        assert answer.json()["port"]["binding:profile"] == body
        assert shared.api.get(path).json()["port"]["binding:profile"] == body
    too_long = shared.api.put(path, json={"port": {"binding:profile": {"x": "y" * 5000}}})
    assert too_long.status_code == 400
    assert "4095" in too_long.json()["NeutronError"]["message"]


def test_a_port_without_addresses_says_so(shared: Server, rows: dict[str, dict[str, Any]]) -> None:
    port = shared.make("port", network_id=rows["network"]["id"], fixed_ips=[])
    assert (port["fixed_ips"], port["ip_allocation"]) == ([], "none")
    found = shared.api.get("/v2.0/ports?ip_allocation=none").json()["ports"]
    assert [row["id"] for row in found] == [port["id"]]


def test_ports_are_found_by_how_they_are_plugged(server: Server) -> None:
    server.token("dead")
    able = {"run_id": "r", "physical_networks": ["physnet1"], "local_ip": "192.0.2.1"}
    server.agents.post("/agent/v1/report", json=able, headers=server.token("h1"))
    flat, _ = server.network()
    tunnelled = server.make("network", **{"provider:network_type": "vxlan"})
    made = {
        "tap": (flat, "h1"),
        "ovs": (tunnelled, "h1"),
        "unbound": (flat, ""),
        "binding_failed": (tunnelled, "dead"),
    }
    for name, (network, host) in made.items():
        server.make("port", name=name, network_id=network["id"], **{"binding:host_id": host})
    for kind in made:
        assert server.names(f"/v2.0/ports?binding:vif_type={kind}") == [kind]
    assert server.names("/v2.0/ports?binding:vif_type=hw_veb") == []


def test_pages_lead_through_rows_whose_key_is_null_or_the_same(server: Server) -> None:
    server.token("h1")
    network, _ = server.network()
    for n in range(7):
        host = {"binding:host_id": "h1"} if n % 3 == 0 else {}
        server.make("port", name=f"p{n}", network_id=network["id"], **host)
    query = "/v2.0/ports?limit=2&sort_key=binding:host_id&sort_key=name&fields=name"
    query += "&sort_dir=desc&sort_dir=asc"
    forth, back = [], []
    page = server.api.get(query).json()
    while True:
        forth.append([row["name"] for row in page["ports"]])
        links = {link["rel"]: link["href"] for link in page.get("ports_links", [])}
        if "next" not in links or not page["ports"]:
            break
        page = server.api.get(links["next"]).json()
    assert [name[1:] for part in forth for name in part] == list("0361245")
    while "previous" in links:
        page = server.api.get(links["previous"]).json()
        back.append([row["name"] for row in page["ports"]])
        links = {link["rel"]: link["href"] for link in page.get("ports_links", [])}
    assert [part for part in back if part] == forth[:-1][::-1]
