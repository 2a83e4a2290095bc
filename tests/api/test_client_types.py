"""The JSON types that typed clients read: Terraform's provider, by way of gophercloud, above all.

A Go client fails on an attribute of another type than its struct has, where Python would not
notice. Source: the tables of the OpenStack Networking API v2.0 reference.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.api.conftest import Server

TEXT, FLAG, NUMBER, TEXTS, OBJECT = "text", "flag", "number", "texts", "object"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")  # RFC 3339, as gophercloud reads it
OF_ALL = {"id": TEXT, "name": TEXT, "description": TEXT, "tenant_id": TEXT, "project_id": TEXT}
OF_ALL |= {"tags": TEXTS, "revision_number": NUMBER}
NOUNS = {
    "network": OF_ALL
    | {"admin_state_up": FLAG, "status": TEXT, "subnets": TEXTS, "shared": FLAG, "mtu": NUMBER}
    | {"provider:network_type": TEXT, "provider:physical_network": TEXT}
    | {"port_security_enabled": FLAG, "dns_domain": TEXT},
    "subnet": OF_ALL
    | {"network_id": TEXT, "ip_version": NUMBER, "cidr": TEXT, "gateway_ip": TEXT}
    | {"dns_nameservers": TEXTS, "allocation_pools": OBJECT, "host_routes": OBJECT}
    | {"enable_dhcp": FLAG},
    "port": OF_ALL
    | {"network_id": TEXT, "admin_state_up": FLAG, "status": TEXT, "mac_address": TEXT}
    | {"fixed_ips": OBJECT, "device_id": TEXT, "device_owner": TEXT, "security_groups": TEXTS}
    | {"allowed_address_pairs": OBJECT, "extra_dhcp_opts": OBJECT, "binding:host_id": TEXT}
    | {"binding:vif_type": TEXT, "binding:vnic_type": TEXT, "port_security_enabled": FLAG}
    | {"dns_name": TEXT, "dns_assignment": OBJECT},
}


def kind(value: Any) -> str:
    """Return which of the types a Go client takes it for."""
    if isinstance(value, bool):
        return FLAG
    if isinstance(value, int):
        return NUMBER
    if isinstance(value, str):
        return TEXT
    assert isinstance(value, list), value
    return TEXTS if all(isinstance(one, str) for one in value) else OBJECT


@pytest.fixture
def made(server: Server) -> dict[str, Any]:
    network, subnet = server.network(dns_domain="blue.example.", description="d", tags=["web"])
    body = {
        "subnet": {
            "dns_nameservers": ["10.0.0.5"],
            "host_routes": [{"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}],
        }
    }
    subnet = server.api.put(f"/v2.0/subnets/{subnet['id']}", json=body).json()["subnet"]
    option = {"opt_name": "ntp-server", "opt_value": "10.0.0.9"}
    pair = {"ip_address": "10.0.0.0/28"}
    port = server.make(
        "port", network_id=network["id"], extra_dhcp_opts=[option], allowed_address_pairs=[pair]
    )
    return {"network": network, "subnet": subnet, "port": port}


@pytest.mark.parametrize("noun", sorted(NOUNS))
def test_each_attribute_has_the_type_that_typed_clients_read(
    made: dict[str, Any], noun: str
) -> None:
    row = made[noun]
    empty = {name for name in NOUNS[noun] if row[name] == []}
    found = {name: kind(row[name]) for name in NOUNS[noun] if name not in empty}
    assert found == {name: wanted for name, wanted in NOUNS[noun].items() if name not in empty}
    assert empty <= {"subnets", "tags", "security_groups"}
    assert TIME.fullmatch(row["created_at"])
    assert TIME.fullmatch(row["updated_at"])


def test_the_parts_of_lists_have_them_too(made: dict[str, Any]) -> None:
    port, subnet = made["port"], made["subnet"]
    (option,) = port["extra_dhcp_opts"]
    assert {name: kind(value) for name, value in option.items()} == {
        "opt_name": TEXT,
        "opt_value": TEXT,
        "ip_version": NUMBER,
    }
    for part in (*port["fixed_ips"], *port["allowed_address_pairs"], *port["dns_assignment"]):
        assert {kind(value) for value in part.values()} == {TEXT}
    for part in (*subnet["allocation_pools"], *subnet["host_routes"]):
        assert {kind(value) for value in part.values()} == {TEXT}
    assert isinstance(port["binding:profile"], dict)
    assert isinstance(port["binding:vif_details"], dict)


def test_an_agent_s_times_are_as_neutron_s_agents_have_them(server: Server) -> None:
    server.make("host", name="h1")
    (agent,) = server.api.get("/v2.0/agents").json()["agents"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", agent["created_at"])
    assert (kind(agent["alive"]), kind(agent["admin_state_up"])) == (FLAG, FLAG)
    assert isinstance(agent["configurations"], dict)
