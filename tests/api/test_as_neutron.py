"""Calls that clients and conformance programs make and that Neutron answers so: see each test.

Source: neutron-lib's definitions of the API, Neutron 29 and the Tempest plugin's expectations.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lessor.api.resources import (
    address_scopes,
    agents,
    availability,
    networks,
    ports,
    quotas,
    rbac,
    subnetpools,
    subnets,
    zones,
)
from tests.api.conftest import Server
from tests.api.people import Cloud, password_files
from tests.api.world import NO_ID, VXLAN, Json, World

Serve = Callable[..., Server]


@pytest.fixture
def w(server: Server) -> World:
    return World(server)


@pytest.fixture(scope="module")
def ws(shared: Server) -> World:
    return World(shared)


@pytest.fixture
def cloud(serve: Serve, tmp_path: Path) -> Cloud:
    return Cloud(serve(**password_files(tmp_path)))


def said(answer: Any) -> tuple[int, str]:
    """Return the status of a refusal and the type of its error."""
    return answer.status_code, answer.json()["NeutronError"]["type"]


# --- lists ----------------------------------------------------------------------------------------

# What neutron-lib 5.0 marks with is_filter of what is announced here.
STANDARD = "id name project_id tenant_id description revision_number changed_since tags tags-any not-tags not-tags-any"
FILTERS: dict[Any, str] = {
    networks.RESOURCE: f"{STANDARD} admin_state_up status shared mtu is_default router:external "
    "provider:network_type provider:physical_network provider:segmentation_id",
    subnets.RESOURCE: f"{STANDARD} cidr enable_dhcp gateway_ip ip_version ipv6_address_mode "
    "ipv6_ra_mode network_id segment_id shared subnetpool_id router:external",
    ports.RESOURCE: f"{STANDARD} admin_state_up binding:host_id device_id device_owner fixed_ips "
    "ip_allocation mac_address network_id status security_groups",
    subnetpools.RESOURCE: f"{STANDARD} address_scope_id default_prefixlen default_quota ip_version "
    "is_default max_prefixlen min_prefixlen shared",
    address_scopes.RESOURCE: "id name project_id tenant_id ip_version shared",
    agents.RESOURCE: "id admin_state_up agent_type alive availability_zone binary description host topic",
    rbac.RESOURCE: "id project_id tenant_id object_type object_id action target_tenant",
    availability.RESOURCE: "network_id network_name project_id tenant_id ip_version",
    zones.RESOURCE: "name state resource",
}


@pytest.mark.parametrize("resource", FILTERS, ids=lambda resource: resource.plural)
def test_each_filter_of_neutron_s_definitions_is_there(resource: Any) -> None:
    known = {field.name for field in resource.fields if field.query or field.fixed is not None}
    assert set(FILTERS[resource].split()) - known == set()


def test_subnets_are_found_by_whether_their_network_is_shared(cloud: Cloud) -> None:
    made = {}
    for n, (name, project, shared) in enumerate(
        (
            ("own", "p1", False),
            ("common", "p2", True),
            ("given", "p2", False),
            ("hidden", "p2", False),
        )
    ):
        network = cloud.network(project, shared=shared)["id"]
        made[name] = network
        cloud.make("subnet", network_id=network, name=name, cidr=f"10.{n}.0.0/24")
    cloud.make(
        "rbac_policy", path="rbac-policies", project_id="p2", object_type="network",
        object_id=made["given"], action="access_as_shared", target_tenant="p1",
    )  # fmt: skip

    def found(who: str, shared: str) -> set[str]:
        answer = cloud.ask(who, "GET", f"/v2.0/subnets?shared={shared}")
        assert answer.status_code == 200, answer.text
        assert all("shared" not in row for row in answer.json()["subnets"])
        return {row["name"] for row in answer.json()["subnets"]}

    assert found("alice", "True") == {"common", "given"}
    assert found("alice", "False") == {"own"}
    assert found("root", "true") == {"common"}
    assert found("root", "false") == {"own", "given", "hidden"}


def test_bindings_of_a_port_are_found_by_what_they_have(ws: World) -> None:
    (here, _), (there, _) = ws.host(local_ip="192.0.2.200"), ws.host(local_ip="192.0.2.201")
    port = ws.port(**{"binding:host_id": here})["id"]
    assert ws.ask("POST", f"ports/{port}/bindings", {"binding": {"host": there}}).status_code == 201

    def hosts(query: str) -> list[str]:
        answer = ws.ask("GET", f"ports/{port}/bindings?{query}")
        assert answer.status_code == 200, answer.text
        return [row["host"] for row in answer.json()["bindings"]]

    assert hosts("status=ACTIVE") == [here]
    assert hosts(f"host={there}") == [there]
    assert hosts("vif_type=ovs&vnic_type=normal") == [here, there]
    assert hosts("vif_type=tap") == []
    cut = ws.ask("GET", f"ports/{port}/bindings?fields=status&status=ACTIVE").json()
    assert cut == {"bindings": [{"status": "ACTIVE"}]}
    assert said(ws.ask("GET", f"ports/{port}/bindings?colour=red")) == (400, "InvalidInput")


def test_the_root_names_each_resource_as_its_bodies_do(ws: World) -> None:
    root = ws.ask("GET", "/v2.0/").json()["resources"]
    names = {row["name"]: row["collection"] for row in root}
    resources = (*FILTERS, quotas.RESOURCE)
    assert {resource.singular for resource in resources} <= names.keys()
    for name, collection in names.items():
        answer = ws.ask("GET", collection)
        assert answer.status_code == 200, name
        (plural,) = (key for key in answer.json() if not key.endswith("_links"))
        assert plural == collection.replace("-", "_")
    assert names["rbac_policy"] == "rbac-policies"
    assert names["address_scope"] == "address-scopes"


# --- numbers as text ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noun", "given"),
    [
        (
            "subnetpool",
            {"min_prefixlen": "24", "default_prefixlen": "26", "max_prefixlen": "28"},
        ),
        ("subnetpool", {"default_quota": "256"}),
        ("network", {**VXLAN, "mtu": "1400", "provider:segmentation_id": "4242"}),
        ("subnet", {"ip_version": "4"}),
        ("address_scope", {"ip_version": "4"}),
    ],
)
def test_numbers_given_as_text_come_back_as_numbers(ws: World, noun: str, given: Json) -> None:
    base: dict[str, Callable[[], Json]] = {
        "subnetpool": lambda: {"name": "p", "prefixes": ["10.0.0.0/16"]},
        "network": dict,
        "subnet": lambda: {"network_id": ws.network(), "cidr": "10.0.0.0/24"},
        "address_scope": lambda: {"name": "s"},
    }
    made = ws.make(noun, **base[noun]() | given)
    wanted = {name: int(value) if value.isdigit() else value for name, value in given.items()}
    assert {name: made[name] for name in given} == wanted


def test_the_page_of_the_api_calls_them_numbers(ws: World) -> None:
    schemas = ws.ask("GET", "/schema/openapi.json").json()["components"]["schemas"]
    for name in ("min_prefixlen", "default_prefixlen", "max_prefixlen", "default_quota"):
        assert "string" not in json.dumps(schemas["Subnetpool"]["properties"][name])


def test_numbers_are_taken_as_text_in_changes_pools_and_quotas(w: World) -> None:
    pool = w.pool(min_prefixlen=16)
    changed = w.change("subnetpool", pool, default_prefixlen="28").json()["subnetpool"]
    assert changed["default_prefixlen"] == 28
    subnet = w.make("subnet", network_id=w.network(), subnetpool_id=pool, prefixlen="27")
    assert subnet["cidr"].endswith("/27")
    body = {"quota": {"network": "7"}}
    assert w.ask("PUT", "quotas/p9", body).json()["quota"]["network"] == 7


@pytest.mark.parametrize(
    ("noun", "given"),
    [
        ("subnetpool", {"default_prefixlen": "33"}),
        ("subnetpool", {"default_prefixlen": "many"}),
        ("subnetpool", {"default_quota": "-1"}),
        ("network", {"mtu": "65536"}),
        ("network", {"mtu": ""}),
    ],
)
def test_text_that_is_no_number_of_the_field_is_refused(ws: World, noun: str, given: Json) -> None:
    base: Json = {"subnetpool": {"name": "p", "prefixes": ["10.0.0.0/16"]}, "network": VXLAN}
    answer = ws.post(noun, **base[noun] | given)
    assert answer.status_code == 400
    assert next(iter(given)) in answer.json()["NeutronError"]["message"]


# --- bulk -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("noun", ["port", "network", "subnet", "subnetpool"])
def test_each_of_several_may_be_wrapped_in_its_name(ws: World, noun: str) -> None:
    def body(n: int) -> Json:
        bodies: Json = {
            "port": {"network_id": ws.network()},
            "network": VXLAN,
            "subnet": {"network_id": ws.network(), "cidr": "10.0.0.0/24"},
            "subnetpool": {"prefixes": ["10.0.0.0/16"]},
        }
        return {**bodies[noun], "name": f"{noun}{n}"}

    plural = f"{noun}s"
    several = [{noun: body(0)}, body(1), {noun: body(2)}]
    answer = ws.ask("POST", plural, {plural: several})
    assert answer.status_code == 201, answer.text
    assert [row["name"] for row in answer.json()[plural]] == [f"{noun}{n}" for n in range(3)]


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({"port": {"name": "p"}}, "network_id is required"),
        ({"name": "p"}, "network_id is required in ports[1]"),
        ({"port": {"network_id": NO_ID}, "name": "p"}, "'port' and attributes beside it"),
        ({"port": {"network_id": NO_ID, "colour": "red"}}, "colour"),
        ({"network": {}}, "network"),
        ({"port": {"port": {"network_id": NO_ID}}}, "port"),
    ],
)
def test_what_is_wrong_in_a_wrapped_one_is_said(ws: World, item: Json, word: str) -> None:
    good = {"port": {"network_id": ws.network()}}
    answer = ws.ask("POST", "ports", {"ports": [good, item]})
    assert answer.status_code == 400, answer.text
    assert word in answer.json()["NeutronError"]["message"]


# --- networks -------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["test.org.", "test.org", ""])
def test_a_domain_is_shown_as_it_was_given(ws: World, given: str) -> None:
    network = ws.make("network", **VXLAN, dns_domain=given)
    assert network["dns_domain"] == given
    other = ws.network(dns_domain="else.org.")
    assert ws.change("network", other, dns_domain=given).json()["network"]["dns_domain"] == given
    ws.subnet(network["id"])
    (assigned,) = ws.port(network["id"], dns_name="vm1")["dns_assignment"]
    assert assigned["fqdn"] == f"vm1.{(given or 'novalocal').rstrip('.')}."


@pytest.mark.parametrize(
    "given",
    [".", "169.254.169.254", "a.1", "a..b", "x" * 64 + ".org", "arpa", "10.In-Addr.ARPA.",
     "1.0.0.10.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"],
)  # fmt: skip
def test_a_domain_in_which_no_vm_can_be_found_is_refused(ws: World, given: str) -> None:
    network = ws.network()
    assert ws.change("network", network, dns_domain=given).status_code == 400
    assert ws.post("network", **VXLAN, dns_domain=given).status_code == 400


@pytest.mark.parametrize("given", ["com", "lan", "local", "home.arpa", "1.example", "a-1.b"])
def test_an_administrators_domain_may_be_any_other(ws: World, given: str) -> None:
    assert ws.change("network", ws.network(), dns_domain=given).status_code == 200


FLAT = {"provider:network_type": "flat"}


@pytest.mark.parametrize(("kind", "most"), [(FLAT, 1500), (VXLAN, 1450)], ids=["flat", "vxlan"])
def test_an_mtu_above_what_the_wire_carries_is_refused(ws: World, kind: Json, most: int) -> None:
    network = ws.make("network", **kind, mtu=most)
    assert network["mtu"] == most
    assert said(ws.post("network", **kind, mtu=most + 1)) == (400, "InvalidInput")
    assert said(ws.change("network", network["id"], mtu=most + 1)) == (400, "InvalidInput")
    assert ws.make("network", **kind, mtu=0)["mtu"] == most  # 0: the largest


@pytest.mark.parametrize("kind", [FLAT, VXLAN], ids=["flat", "vxlan"])
def test_an_mtu_too_small_for_ipv4_has_no_subnet(ws: World, kind: Json) -> None:
    block = f"10.{ws.name().removeprefix('x')}.0.0/24"
    network = ws.make("network", **kind, mtu=67)
    assert network["mtu"] == 67
    answer = ws.post("subnet", network_id=network["id"], cidr=block)
    assert said(answer) == (409, "NetworkMTUSubnetConflict")
    assert ws.change("network", network["id"], mtu=68).status_code == 200
    ws.subnet(network["id"], block)
    assert said(ws.change("network", network["id"], mtu=67)) == (409, "NetworkMTUSubnetConflict")
    assert ws.change("network", network["id"], mtu=1400, name="n").status_code == 200


# --- subnets and revisions ------------------------------------------------------------------------


def test_a_block_that_overlaps_is_refused_in_the_words_that_clients_look_for(
    server: Server,
) -> None:
    network, _ = server.network("10.0.0.0/24")
    other = server.make("network", **{"lessor:bridge": "br100"})["id"]
    for where, status in ((network["id"], 400), (other, 409)):
        body = {"subnet": {"network_id": where, "cidr": "10.0.0.128/25"}}
        answer = server.api.post("/v2.0/subnets", json=body)
        assert answer.status_code == status
        assert "overlaps with another subnet" in answer.json()["NeutronError"]["message"]


def test_a_change_of_what_belongs_to_something_is_a_change_of_that(w: World) -> None:
    network = w.network()
    (here, _), (there, _) = w.host(), w.host()
    subnet = w.subnet(network)["id"]
    port = w.port(network, **{"binding:host_id": here})["id"]
    pool, scope = w.pool(), w.scope()
    one = f"ports/{port}/bindings/{there}"
    policy: dict[str, str] = {}

    def shared(kind: str, key: str) -> Any:
        answer = w.share(kind, key, "p1")
        policy[kind] = answer.json()["rbac_policy"]["id"]
        return answer

    steps: tuple[tuple[str, str, Callable[[], Any]], ...] = (
        ("network", network, lambda: w.post("subnet", network_id=network, cidr="10.1.0.0/24")),
        ("network", network, lambda: w.change("subnet", subnet, name="s")),
        ("network", network, lambda: shared("network", network)),
        (
            "network",
            network,
            lambda: w.change("rbac_policy", policy["network"], target_tenant="p2"),
        ),
        ("network", network, lambda: w.ask("DELETE", f"rbac-policies/{policy['network']}")),
        ("subnetpool", pool, lambda: shared("subnetpool", pool)),
        ("port", port, lambda: w.change("port", port, **{"binding:host_id": there})),
        ("port", port, lambda: w.change("port", port, **{"binding:host_id": here})),
        (
            "port",
            port,
            lambda: w.ask("POST", f"ports/{port}/bindings", {"binding": {"host": there}}),
        ),
        ("port", port, lambda: w.ask("PUT", one, {"binding": {"profile": {"a": "b"}}})),
        ("port", port, lambda: w.ask("PUT", f"{one}/activate")),
        ("port", port, lambda: w.ask("DELETE", f"ports/{port}/bindings/{here}")),
        ("network", network, lambda: _without_port(w, port, subnet)),
    )
    assert scope
    for n, (noun, key, step) in enumerate(steps):
        before = w.ask("GET", f"{noun}s/{key}").json()[noun]["revision_number"]
        answer = step()
        assert answer.status_code in {200, 201, 204}, answer.text
        after = w.ask("GET", f"{noun}s/{key}").json()[noun]["revision_number"]
        assert after > before, n
    same = w.ask("GET", f"networks/{network}").json()["network"]["revision_number"]
    assert w.change("network", network, name="").status_code == 200  # nothing new
    assert w.ask("GET", f"networks/{network}").json()["network"]["revision_number"] == same


def _without_port(w: World, port: str, subnet: str) -> Any:
    assert w.ask("DELETE", f"ports/{port}").status_code == 204
    return w.ask("DELETE", f"subnets/{subnet}")


# --- ports ----------------------------------------------------------------------------------------

PAIR = {"allowed_address_pairs": [{"ip_address": "10.0.0.77"}]}
OFF = {"port_security_enabled": False}
REFUSED = (409, "AddressPairAndPortSecurityRequired")


def test_address_pairs_and_no_port_security_are_refused_in_either_order(ws: World) -> None:
    network = ws.subnet()["network_id"]
    assert said(ws.post("port", network_id=network, **PAIR, **OFF)) == REFUSED
    first = ws.port(network, **PAIR)["id"]
    assert said(ws.change("port", first, **OFF)) == REFUSED
    second = ws.port(network, **OFF)["id"]
    assert said(ws.change("port", second, **PAIR)) == REFUSED
    assert ws.change("port", first, **OFF, allowed_address_pairs=[]).status_code == 200
    assert ws.change("port", second, **PAIR, port_security_enabled=True).status_code == 200
    open_ = ws.network(port_security_enabled=False)
    ws.subnet(open_)
    assert said(ws.post("port", network_id=open_, **PAIR)) == REFUSED


def test_a_binding_to_an_unknown_host_is_taken_and_said_to_have_failed(w: World) -> None:
    network = w.subnet()["network_id"]
    port = w.port(network, **{"binding:host_id": "nowhere"})
    assert (port["binding:host_id"], port["binding:vif_type"]) == ("nowhere", "binding_failed")
    moved = w.change("port", w.port(network)["id"], **{"binding:host_id": "nowhere"})
    assert moved.json()["port"]["binding:vif_type"] == "binding_failed"
    there, _ = w.host(local_ip="192.0.2.77")
    other = w.port(network, **{"binding:host_id": there})["id"]
    answer = w.ask("POST", f"ports/{other}/bindings", {"binding": {"host": "elsewhere"}})
    assert answer.status_code == 201, answer.text
    assert answer.json()["binding"]["vif_type"] == "binding_failed"
    for query in ("binding:host_id=nowhere", "binding:vif_type=binding_failed"):
        assert len(w.ask("GET", f"ports?{query}").json()["ports"]) == 2
    assert [row["name"] for row in w.ask("GET", "hosts").json()["hosts"]] == [there]
    assert said(w.ask("DELETE", "hosts/nowhere")) == (404, "HostNotFound")
    w.make("host", name="nowhere")
    kept = w.ask("GET", f"ports/{port['id']}").json()["port"]
    assert kept["binding:host_id"] == "nowhere"


def test_a_setting_refuses_unknown_hosts(serve: Serve) -> None:
    w = World(serve(bind_unknown_hosts=False))
    network = w.network()
    answer = w.post("port", network_id=network, **{"binding:host_id": "nowhere"})
    assert said(answer) == (400, "HostNotFound")


# --- ids in bodies --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["nothing", "", "10.0.0.0/24", NO_ID + "0"])
def test_an_id_that_is_none_is_malformed(ws: World, key: str) -> None:
    network = ws.network()
    for noun, fields in (
        ("port", {"network_id": key}),
        ("port", {"network_id": network, "fixed_ips": [{"subnet_id": key}]}),
        ("subnet", {"network_id": key, "cidr": "10.0.0.0/24"}),
        ("subnet", {"network_id": network, "subnetpool_id": key}),
        ("subnetpool", {"prefixes": ["10.0.0.0/8"], "address_scope_id": key}),
        (
            "rbac_policy",
            {
                "object_type": "network",
                "object_id": key,
                "action": "access_as_shared",
                "target_tenant": "p1",
            },
        ),
    ):
        answer = ws.post(noun, **fields)
        assert answer.status_code == 400, (noun, fields)
        assert "is not a UUID" in answer.json()["NeutronError"]["message"]
    assert ws.change("subnetpool", ws.pool(), address_scope_id=key).status_code == 400


def test_an_id_that_nobody_has_is_not_found(ws: World) -> None:
    network = ws.network()
    assert said(ws.post("port", network_id=NO_ID)) == (404, "NetworkNotFound")
    assert said(ws.post("subnet", network_id=NO_ID, cidr="10.0.0.0/24")) == (404, "NetworkNotFound")
    assert said(ws.post("subnet", network_id=network, subnetpool_id=NO_ID)) == (
        404,
        "SubnetPoolNotFound",
    )
    missing = (404, "AddressScopeNotFound")
    assert said(ws.post("subnetpool", prefixes=["10.0.0.0/8"], address_scope_id=NO_ID)) == missing
    assert said(ws.change("subnetpool", ws.pool(), address_scope_id=NO_ID)) == missing
    for kind, type_ in (
        ("network", "NetworkNotFound"),
        ("subnetpool", "SubnetPoolNotFound"),
        ("address_scope", "AddressScopeNotFound"),
    ):
        assert said(ws.share(kind, NO_ID, "p1")) == (404, type_)


def test_a_member_is_told_the_same_of_such_ids(cloud: Cloud) -> None:
    pool = cloud.make("subnetpool", "alice", name="p", prefixes=["10.0.0.0/8"])["id"]
    for key, status in (("nothing", 400), (NO_ID, 404)):
        body = {"subnetpool": {"address_scope_id": key}}
        answer = cloud.ask("alice", "PUT", f"/v2.0/subnetpools/{pool}", body)
        assert answer.status_code == status
        made = {"port": {"network_id": key}}
        assert cloud.ask("alice", "POST", "/v2.0/ports", made).status_code == status


# --- pools, scopes, sharing -----------------------------------------------------------------------


def test_a_project_changes_no_prefixes_in_another_s_address_scope(cloud: Cloud) -> None:
    scope = cloud.make(
        "address_scope", path="address-scopes", name="s", ip_version=4, shared=True, project_id="p2"
    )["id"]
    pool = cloud.make(
        "subnetpool", "alice", name="p", prefixes=["10.0.0.0/16"], address_scope_id=scope
    )["id"]
    path = f"/v2.0/subnetpools/{pool}"
    more = {"prefixes": ["10.0.0.0/16", "10.2.0.0/16"]}
    refused = (400, "IllegalSubnetPoolUpdate")
    assert said(cloud.ask("alice", "PUT", path, {"subnetpool": more})) == refused
    for way in ("add_prefixes", "remove_prefixes"):
        answer = cloud.ask("alice", "PUT", f"{path}/{way}", {"prefixes": ["10.2.0.0/16"]})
        assert said(answer) == refused
    name = {"subnetpool": {"name": "q"}}
    assert cloud.ask("alice", "PUT", path, name).status_code == 200
    assert cloud.ask("root", "PUT", path, {"subnetpool": more}).status_code == 200
    out = {"subnetpool": {"address_scope_id": None}}
    assert cloud.ask("alice", "PUT", path, out).status_code == 200
    added = cloud.ask("alice", "PUT", f"{path}/add_prefixes", {"prefixes": ["10.4.0.0/16"]})
    assert added.status_code == 200


@pytest.mark.parametrize("noun", ["network", "address_scope"])
def test_what_an_administrator_shared_is_not_a_member_s_to_take_back(
    cloud: Cloud, noun: str
) -> None:
    path = {"network": "networks", "address_scope": "address-scopes"}[noun]
    every: Json = {"network": VXLAN, "address_scope": {"name": "s", "ip_version": 4}}
    fields = every[noun]
    key = cloud.make(noun, path=path, project_id="p1", shared=True, **fields)["id"]
    back = {noun: {"shared": False}}
    for who in ("alice", "bob", "rita"):
        answer = cloud.ask(who, "PUT", f"/v2.0/{path}/{key}", back)
        assert said(answer) == (403, "PolicyNotAuthorized"), who
    hidden = cloud.make(noun, path=path, project_id="p1", **fields)["id"]
    assert cloud.ask("bob", "PUT", f"/v2.0/{path}/{hidden}", back).status_code == 404


@pytest.mark.parametrize("kind", ["network", "subnetpool", "address_scope"])
def test_sharing_what_is_another_project_s_is_malformed(cloud: Cloud, kind: str) -> None:
    path = {"network": "networks", "subnetpool": "subnetpools", "address_scope": "address-scopes"}
    every: Json = {
        "network": VXLAN,
        "subnetpool": {"name": "p", "prefixes": ["10.0.0.0/8"]},
        "address_scope": {"name": "s", "ip_version": 4},
    }
    fields = every[kind]
    key = cloud.make(kind, path=path[kind], project_id="p2", shared=True, **fields)["id"]
    hidden = cloud.make(kind, path=path[kind], project_id="p2", **fields)["id"]

    def share(who: str, key: str, target: str) -> int:
        body = {
            "object_type": kind,
            "object_id": key,
            "action": "access_as_shared",
            "target_tenant": target,
        }
        answer = cloud.ask(who, "POST", "/v2.0/rbac-policies", {"rbac_policy": body})
        return int(answer.status_code)

    assert share("alice", key, "p3") == 400
    assert share("alice", key, "*") == 403  # that would be an administrator's of her own, too
    assert share("rita", key, "p3") == 403  # a reader shares nothing
    assert share("alice", hidden, "p3") == 404
    assert share("bob", key, "p3") == 201
    assert share("root", key, "p4") == 201
