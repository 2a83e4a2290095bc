"""Whom a member's port may send as: itself, on a network of her project, and nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Server
from tests.api.people import Cloud, password_files

Json = dict[str, Any]
Serve = Callable[..., Server]
MAC = "fa:16:3e:aa:00:01"


@pytest.fixture
def cloud(serve: Serve, tmp_path: Path) -> Cloud:
    wires = {"project_physical_networks": ("physnet1",), "project_network_types": ("flat",)}
    return Cloud(serve(**password_files(tmp_path) | wires))


def network(cloud: Cloud, who: str, cidr: str = "10.0.0.0/24", **fields: Any) -> str:
    """Make a network with a subnet; return its id."""
    made = cloud.make("network", who, **fields)["id"]
    cloud.make("subnet", who, network_id=made, cidr=cidr, ip_version=4)
    return str(made)


def refused(cloud: Cloud, who: str, method: str, path: str, port: Json) -> tuple[int, str, str]:
    answer = cloud.ask(who, method, f"/v2.0/{path}", {"port": port})
    assert answer.status_code in {403, 409}, answer.text
    error = answer.json()["NeutronError"]
    return answer.status_code, error["type"], error["message"]


def test_a_member_takes_no_address_of_another_project_on_the_wire(cloud: Cloud) -> None:
    """What was found: bob's port of his own network had the address and MAC of alice's."""
    hers = cloud.make("port", "alice", network_id=network(cloud, "alice"))
    address, mac = hers["fixed_ips"][0]["ip_address"], hers["mac_address"]
    his = network(cloud, "bob", "10.66.0.0/24")
    port = cloud.make("port", "bob", network_id=his)
    for pair in (
        {"ip_address": address, "mac_address": mac},
        {"ip_address": address},
        {"ip_address": "0.0.0.0/0"},
        {"ip_address": "10.66.0.9", "mac_address": mac},
    ):
        given = {"allowed_address_pairs": [pair]}
        status, kind, words = refused(cloud, "bob", "POST", "ports", {"network_id": his} | given)
        assert (status, kind) == (403, "PolicyNotAuthorized")
        assert hers["id"] not in words
        assert hers["network_id"] not in words
        assert refused(cloud, "bob", "PUT", f"ports/{port['id']}", given)[0] == 403
    off = {"port_security_enabled": False}
    assert refused(cloud, "bob", "POST", "ports", {"network_id": his} | off)[0] == 403
    assert refused(cloud, "bob", "PUT", f"ports/{port['id']}", off)[0] == 403
    device = {"device_owner": "network:dhcp"}
    assert refused(cloud, "bob", "PUT", f"ports/{port['id']}", device)[0] == 403
    answer = cloud.ask("bob", "PUT", f"/v2.0/networks/{his}", {"network": off})
    assert answer.status_code == 403
    assert cloud.ask("bob", "GET", f"/v2.0/ports/{port['id']}").json()["port"] == port


def test_administrators_and_services_are_not_held_to_it(cloud: Cloud) -> None:
    his = network(cloud, "bob")
    port = cloud.make("port", "bob", network_id=his)
    path = f"/v2.0/ports/{port['id']}"
    pair = {"port": {"allowed_address_pairs": [{"ip_address": "10.9.0.0/16"}]}}
    assert cloud.ask("root", "PUT", path, pair).status_code == 200
    none: dict[str, Any] = {"port": {"allowed_address_pairs": []}}
    assert cloud.ask("root", "PUT", path, none).status_code == 200
    off = {"port": {"port_security_enabled": False}}
    assert cloud.ask("nova", "PUT", path, off).status_code == 200


def test_without_authentication_nobody_is_held_to_it(serve: Serve) -> None:
    server = serve()
    made, _ = server.network()
    pair = {"ip_address": "0.0.0.0/0", "mac_address": MAC}
    port = server.make("port", network_id=made["id"], allowed_address_pairs=[pair])
    assert port["allowed_address_pairs"] == [pair]
    assert server.make("port", network_id=made["id"])["fixed_ips"]


def test_a_guest_gets_no_address_that_a_port_of_the_owner_may_send_with(cloud: Cloud) -> None:
    hers = network(cloud, "alice")
    body = {"network": {"shared": True}}
    assert cloud.ask("root", "PUT", f"/v2.0/networks/{hers}", body).status_code == 200
    pair = {"ip_address": "10.0.0.3"}
    holder = cloud.make("port", "alice", network_id=hers, allowed_address_pairs=[pair])
    his = cloud.make("port", "bob", network_id=hers)
    assert his["fixed_ips"][0]["ip_address"] == "10.0.0.4"
    taken: Json = {"network_id": hers, "project_id": "p2", "fixed_ips": [pair]}
    status, kind, words = refused(cloud, "nova", "POST", "ports", taken)
    assert (status, kind) == (409, "IpAddressInUse")
    assert holder["id"] in words
    his_pair = {"allowed_address_pairs": [{"ip_address": "10.0.0.4"}]}
    status, kind, words = refused(cloud, "alice", "PUT", f"ports/{holder['id']}", his_pair)
    assert (status, kind) == (409, "IpAddressInUse")
    assert his["id"] in words  # she sees what is on her network


def test_a_policy_that_lets_guests_give_pairs_does_not_open_anothers_network(
    serve: Serve, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    names = ("allowed_address_pairs", "port_security_enabled")
    policy.write_text("".join(f'"create_port:{name}": "rule:member"\n' for name in names))
    cloud = Cloud(serve(**password_files(tmp_path), policy_file=policy))
    shared = cloud.network("p1", shared=True)["id"]
    cloud.make("subnet", network_id=shared, cidr="10.0.0.0/24", ip_version=4)
    for given in (
        {"allowed_address_pairs": [{"ip_address": "10.0.0.9"}]},
        {"port_security_enabled": False},
    ):
        status, _, words = refused(cloud, "bob", "POST", "ports", {"network_id": shared} | given)
        assert (status, "another project's" in words) == (403, True)


def test_a_refusal_names_nothing_that_the_caller_may_not_see(cloud: Cloud) -> None:
    hers = cloud.make("port", "alice", network_id=network(cloud, "alice"))
    his = network(cloud, "bob", "10.66.0.0/24")
    taken = {"network_id": his, "mac_address": hers["mac_address"]}
    status, kind, words = refused(cloud, "bob", "POST", "ports", taken)
    assert (status, kind) == (409, "MacAddressInUse")
    assert hers["id"] not in words
    assert hers["network_id"] not in words
    scope: Json = {"name": "scope", "ip_version": 4, "shared": True}
    made = cloud.make("address_scope", path="address-scopes", project_id="p1", **scope)["id"]
    pools = [
        cloud.make("subnetpool", who, name=who, address_scope_id=made, prefixes=[block])
        for who, block in (("root", "10.0.0.0/16"), ("alice", "10.1.0.0/16"))
    ]
    path = f"/v2.0/subnetpools/{pools[1]['id']}/add_prefixes"
    answer = cloud.ask("alice", "PUT", path, {"prefixes": ["10.0.5.0/24"]})
    assert answer.status_code == 409
    assert pools[0]["id"] not in answer.text
    assert "10.0.0.0/16" not in answer.text
