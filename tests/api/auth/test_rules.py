"""Authorization over HTTP: each action by each kind of caller, each attribute of the table."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lessor.api.auth.access import Access, guard
from lessor.api.auth.rules import TABLE, Rules
from lessor.errors import Forbidden
from tests.api.conftest import served
from tests.api.people import ROLES, Cloud, Things, cells, password_files


@pytest.fixture(scope="module")
def cloud(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("rules")
    files = password_files(folder)
    with served(migrated, folder / "state", network_quota=-1, **files) as server:
        yield Cloud(server)


RBAC = {"object_type": "network", "object_id": "{network}", "action": "access_as_shared"}
# action: method, path, body, what each caller is answered:
#                                                       root alice bob rita nova nobody stranger
ACTIONS: dict[str, tuple[str, str, Any, str]] = {
    "create_network": ("POST", "networks", {"network": {}}, "201 201 201 403 403 403 401"),
    "get_network": ("GET", "networks/{network}", None, "200 200 404 200 200 404 401"),
    "update_network": (
        "PUT", "networks/{network}", {"network": {"name": "x"}}, "200 200 404 403 403 404 401",
    ),
    "delete_network": ("DELETE", "networks/{network}", None, "204 204 404 403 403 404 401"),
    "create_subnet": (
        "POST", "subnets", {"subnet": {"network_id": "{network}", "cidr": "10.1.0.0/24"}},
        "201 201 404 403 403 404 401",
    ),
    "get_subnet": ("GET", "subnets/{subnet}", None, "200 200 404 200 200 404 401"),
    "update_subnet": (
        "PUT", "subnets/{subnet}", {"subnet": {"name": "x"}}, "200 200 404 403 403 404 401",
    ),
    "delete_subnet": ("DELETE", "subnets/{subnet}", None, "204 204 404 403 403 404 401"),
    "create_port": (
        "POST", "ports", {"port": {"network_id": "{network}"}}, "201 201 404 403 201 404 401",
    ),
    "get_port": ("GET", "ports/{port}", None, "200 200 404 200 200 404 401"),
    "update_port": (
        "PUT", "ports/{port}", {"port": {"name": "x"}}, "200 200 404 403 200 404 401",
    ),
    "delete_port": ("DELETE", "ports/{port}", None, "204 204 404 403 204 404 401"),
    "create_rbac_policy": (
        "POST", "rbac-policies", {"rbac_policy": {**RBAC, "target_tenant": "p9"}},
        "201 201 404 403 403 404 401",
    ),
    "get_rbac_policy": ("GET", "rbac-policies/{policy}", None, "200 200 404 200 200 404 401"),
    "update_rbac_policy": (
        "PUT", "rbac-policies/{policy}", {"rbac_policy": {"target_tenant": "p4"}},
        "200 200 404 403 403 404 401",
    ),
    "delete_rbac_policy": (
        "DELETE", "rbac-policies/{policy}", None, "204 204 404 403 403 404 401",
    ),
    "create_subnetpool": (
        "POST", "subnetpools", {"subnetpool": {"name": "x", "prefixes": ["10.0.0.0/8"]}},
        "201 201 201 403 403 403 401",
    ),
    "get_subnetpool": ("GET", "subnetpools/{pool}", None, "200 200 404 200 200 404 401"),
    "update_subnetpool": (
        "PUT", "subnetpools/{pool}", {"subnetpool": {"name": "y"}}, "200 200 404 403 403 404 401",
    ),
    "delete_subnetpool": ("DELETE", "subnetpools/{pool}", None, "204 204 404 403 403 404 401"),
    "create_address_scope": (
        "POST", "address-scopes", {"address_scope": {"name": "x", "ip_version": 4}},
        "201 201 201 403 403 403 401",
    ),
    "get_address_scope": ("GET", "address-scopes/{scope}", None, "200 200 404 200 200 404 401"),
    "update_address_scope": (
        "PUT", "address-scopes/{scope}", {"address_scope": {"name": "y"}},
        "200 200 404 403 403 404 401",
    ),
    "delete_address_scope": (
        "DELETE", "address-scopes/{scope}", None, "204 204 404 403 403 404 401",
    ),
    "get_quota": ("GET", "quotas/p1", None, "200 200 403 200 403 403 401"),
    "update_quota": (
        "PUT", "quotas/p1", {"quota": {"port": 9999}}, "200 403 403 403 403 403 401",
    ),
    "delete_quota": ("DELETE", "quotas/p1", None, "204 403 403 403 403 403 401"),
    "get_network_ip_availability": (
        "GET", "network-ip-availabilities/{network}", None, "200 404 404 404 404 404 401",
    ),
    "get_port_binding": ("GET", "ports/{port}/bindings", None, "200 403 403 403 200 403 401"),
    "create_port_binding": (
        "POST", "ports/{port}/bindings", {"binding": {"host": "{host}"}},
        "201 403 403 403 201 403 401",
    ),
    "update_port_binding": (
        "PUT", "ports/{port}/bindings/none/activate", None, "404 403 403 403 404 403 401",
    ),
    "delete_port_binding": (
        "DELETE", "ports/{port}/bindings/none", None, "404 403 403 403 404 403 401",
    ),
    "create_instance": ("POST", "instances", {"instance": {}}, "201 201 201 403 403 403 401"),
    "get_instance": ("GET", "instances/{instance}", None, "200 200 404 200 200 404 401"),
    "update_instance": (
        "PUT", "instances/{instance}", {"instance": {"name": "x"}}, "200 200 404 403 403 404 401",
    ),
    "delete_instance": ("DELETE", "instances/{instance}", None, "204 204 404 403 403 404 401"),
    "get_lease": ("GET", "leases/{lease}", None, "200 200 404 200 200 404 401"),
    "delete_lease": ("DELETE", "leases/{lease}", None, "204 403 404 403 403 404 401"),
    "create_address": (
        "POST", "addresses", {"address": {"network_id": "{network}", "address": "{free}"}},
        "201 403 403 403 403 403 401",
    ),
    "delete_address": ("DELETE", "addresses/{reserved}", None, "204 403 403 403 403 403 401"),
    "create_host": ("POST", "hosts", {"host": {"name": "h{network}"}}, "201 403 403 403 403 403 401"),
    "create_host_token": ("POST", "hosts/{host}/token", None, "200 403 403 403 403 403 401"),
    "get_host": ("GET", "hosts/{host}", None, "200 404 404 404 404 404 401"),
    "delete_host": ("DELETE", "hosts/{host}", None, "204 404 404 404 404 404 401"),
    "get_agent": ("GET", "agents/{agent}", None, "200 404 404 404 404 404 401"),
    "update_agent": (
        "PUT", "agents/{agent}", {"agent": {"description": "x"}}, "200 404 404 404 404 404 401",
    ),
    "delete_agent": ("DELETE", "agents/{agent}", None, "204 404 404 404 404 404 401"),
    "get_auto_allocated_topology": (
        "GET", "auto-allocated-topology/p1?fields=dry-run", None,
        "409 409 403 409 403 403 401",  # there is no default subnet pool
    ),
    "delete_auto_allocated_topology": (
        "DELETE", "auto-allocated-topology/p1", None, "204 204 403 403 403 403 401",
    ),
    "get_dhcp-networks": (
        "GET", "agents/{agent}/dhcp-networks", None, "200 403 403 403 403 403 401",
    ),
    "create_dhcp-network": (
        "POST", "agents/{agent}/dhcp-networks", {"network_id": "{elsewhere}"},
        "404 403 403 403 403 403 401",  # the host has no tunnel address
    ),
    "delete_dhcp-network": (
        "DELETE", "agents/{agent}/dhcp-networks/{network}", None, "409 403 403 403 403 403 401",
    ),
    "get_dhcp-agents": (
        "GET", "networks/{network}/dhcp-agents", None, "200 403 403 403 403 403 401",
    ),
    "get_project": ("GET", "/v3/projects/p1", None, "200 200 403 200 403 403 401"),
    "get_metrics": ("GET", "/metrics", None, "200 403 403 403 403 403 401"),
}  # fmt: skip
NO_ID = "00000000-0000-0000-0000-000000000000"
# Lists, and what is not here yet: each has a test of its own or no route.
NO_ROUTE = {"get_address", "get_availability_zone"}


def test_each_action_of_the_table_is_tried() -> None:
    actions = {
        r.name for r in TABLE if r.name.startswith(("create_", "get_", "update_", "delete_"))
    }
    assert {name for name in actions if ":" not in name} - NO_ROUTE == set(ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
def test_each_caller_is_answered_as_the_table_says(cloud: Cloud, action: str) -> None:
    method, path, body, row = ACTIONS[action]
    said, things = {}, Things(cloud)
    for who, _ in cells(row):
        where = path if path.startswith("/") else f"/v2.0/{path}"
        answer = cloud.ask(who, method, things.fill(where), things.fill(body))
        said[who] = answer.status_code
        if answer.is_success and method != "GET":
            things = Things(cloud)
    assert said == dict(cells(row))


@pytest.mark.parametrize(
    ("plural", "wanted"),
    [
        ("networks", "id={network}"),
        ("subnets", "id={subnet}"),
        ("ports", "id={port}"),
        ("instances", "id={instance}"),
        ("addresses", "port_id={port}"),
        ("leases", "id={lease}"),
        ("rbac-policies", "id={policy}"),
        ("subnetpools", "id={pool}"),
        ("address-scopes", "id={scope}"),
    ],
)
def test_a_list_has_what_its_reader_may_see(cloud: Cloud, plural: str, wanted: str) -> None:
    path = Things(cloud).fill(f"/v2.0/{plural}?{wanted}")
    seen = {}
    for who in ROLES:
        answer = cloud.ask(who, "GET", path)
        assert answer.status_code == 200, answer.text
        seen[who] = bool(answer.json()[plural.replace("-", "_")])
    assert seen == {
        "root": True, "alice": True, "bob": False, "rita": True, "nova": True, "nobody": False,
    }  # fmt: skip


@pytest.mark.parametrize("plural", ["hosts", "agents"])
def test_the_fleet_is_empty_to_all_but_administrators(cloud: Cloud, plural: str) -> None:
    assert Things(cloud)["agent"]
    seen = {who: bool(cloud.ask(who, "GET", f"/v2.0/{plural}").json()[plural]) for who in ROLES}
    assert seen == {who: who == "root" for who in ROLES}


# --- attributes -----------------------------------------------------------------------------------

# attribute: a value that says something
VALUES: dict[str, Any] = {
    "network:shared": True,
    "network:provider:network_type": "vxlan",
    "network:provider:physical_network": "physnet1",
    "network:provider:segmentation_id": 7,
    "network:lessor:host": "{host}",
    "network:lessor:bridge": "br100",
    "network:lessor:multi_host": True,
    "network:lessor:share_address": True,
    "port:device_owner": "network:dhcp",
    "port:mac_address": "fa:16:3e:aa:00:01",
    "port:fixed_ips:ip_address": [{"ip_address": "10.9.0.99"}],
    "port:port_security_enabled": False,
    "port:allowed_address_pairs": [{"ip_address": "10.9.0.1"}],
    "port:binding:host_id": "{host}",
    "port:binding:profile": {"tap": "managed"},
    "rbac_policy:target_tenant": "*",
    "subnetpool:shared": True,
    "subnetpool:is_default": True,
    "address_scope:shared": True,
    "instance:id": "vm-of-somebody-else",
}
AROUND: dict[str, dict[str, Any]] = {
    "network": {},
    "port": {"network_id": "{common}"},  # a network of p2, shared with all
    "rbac_policy": RBAC,
    "instance": {},
    "subnetpool": {"name": "x", "prefixes": ["10.0.0.0/8"]},
    "address_scope": {"name": "x", "ip_version": 4},
}
PATHS = {"rbac_policy": "rbac-policies", "address_scope": "address-scopes"}
KEYS = {"rbac_policy": "policy", "address_scope": "scope", "subnetpool": "pool"}
# Members may, of what is their own; the first of them is the network's owner.
MAY = {"network:port_security_enabled", "subnet:lessor:dhcp_server"}


def settable(action: str) -> list[str]:
    names = [r.name.removeprefix(f"{action}_") for r in TABLE if r.name.startswith(f"{action}_")]
    return [name for name in names if ":" in name and name not in MAY]


def test_each_attribute_of_the_table_is_tried() -> None:
    assert set(settable("create")) == set(VALUES)
    assert set(settable("update")) <= set(VALUES)


def said_of(name: str, things: Things) -> dict[str, Any]:
    noun, attribute = name.split(":", 1)
    value = VALUES[name]
    if attribute == "fixed_ips:ip_address":
        attribute = "fixed_ips"
    return {noun: {attribute: things.fill(value)}}


@pytest.mark.parametrize("name", settable("create"))
def test_a_member_may_not_make_something_with_an_attribute_of_administrators(
    cloud: Cloud, name: str
) -> None:
    noun = name.split(":", 1)[0]
    things = Things(cloud)
    body = said_of(name, things)
    body[noun] = things.fill(AROUND[noun]) | body[noun]
    answer = cloud.ask("alice", "POST", f"/v2.0/{PATHS.get(noun, noun + 's')}", body)
    assert answer.status_code == 403, answer.text
    error = answer.json()["NeutronError"]
    assert error["type"] == "PolicyNotAuthorized"
    assert f"rule:create_{name} is disallowed by policy" in error["message"]


@pytest.mark.parametrize("name", settable("update"))
def test_a_member_may_not_change_an_attribute_of_administrators(cloud: Cloud, name: str) -> None:
    noun = name.split(":", 1)[0]
    things = Things(cloud)
    if noun == "port":
        key = cloud.make("port", network_id=things["common"], project_id="p1")["id"]
    else:
        key = things[KEYS.get(noun, noun)]
    body = said_of(name, things)
    answer = cloud.ask("alice", "PUT", f"/v2.0/{PATHS.get(noun, noun + 's')}/{key}", body)
    if answer.status_code == 400:  # it can't be changed by anybody
        assert "can't be changed" in answer.text
        return
    assert answer.status_code == 403, answer.text
    assert f"rule:update_{name} is disallowed" in answer.json()["NeutronError"]["message"]


SEEN = [rule.name.removeprefix("get_") for rule in TABLE if rule.name.startswith("get_")]
HIDDEN = [name.split(":", 1) for name in SEEN if ":" in name]


@pytest.mark.parametrize(("noun", "attribute"), HIDDEN)
def test_an_attribute_of_administrators_is_hidden(cloud: Cloud, noun: str, attribute: str) -> None:
    things = Things(cloud)
    plural = {"address": "addresses"}.get(noun, f"{noun}s")
    assert things["port"]
    asked = f"/v2.0/{plural}?network_id={things['network']}"
    if noun == "network":
        asked = f"/v2.0/networks?id={things['network']}"
    if noun == "lease":
        asked = f"/v2.0/leases?id={things['lease']}"
    for who, seen in (("root", True), ("alice", False), ("rita", False)):
        rows = cloud.ask(who, "GET", asked).json()[plural]
        assert rows
        assert {attribute in row for row in rows} == {seen}, who
    named = cloud.ask("alice", "GET", f"{asked}&fields={attribute}").json()[plural]
    assert attribute not in named[0]
    filtered = cloud.ask("alice", "GET", f"{asked}&{attribute}=x")
    assert filtered.status_code in {400, 403}  # no such filter, or not for her
    if noun in {"network", "port"}:
        body = {noun: {"name": "y"}}
        changed = cloud.ask("alice", "PUT", f"/v2.0/{plural}/{rows[0]['id']}", body)
        assert attribute not in changed.json()[noun]


@pytest.mark.parametrize("name", ["port_security_enabled", "allowed_address_pairs", "mac_address"])
def test_the_owner_of_a_network_may_more_than_its_guests(cloud: Cloud, name: str) -> None:
    things = Things(cloud)
    assert things["subnet"]
    body = {"port": {"network_id": things["network"], name: VALUES[f"port:{name}"]}}
    assert cloud.ask("alice", "POST", "/v2.0/ports", body).status_code == 201


def test_nova_binds_ports_of_all_projects(cloud: Cloud) -> None:
    things = Things(cloud)
    body = {"port": {"binding:host_id": things["host"], "device_owner": "compute:nova"}}
    answer = cloud.ask("nova", "PUT", f"/v2.0/ports/{things['port']}", body)
    assert answer.status_code == 200
    assert answer.json()["port"]["binding:host_id"] == things["host"]
    assert answer.json()["port"]["project_id"] == "p1"


def test_a_thing_is_of_its_makers_project_unless_an_administrator_says_another(
    cloud: Cloud,
) -> None:
    assert cloud.make("network", "alice")["project_id"] == "p1"
    assert cloud.make("network", "alice", tenant_id="p1")["project_id"] == "p1"
    refused = cloud.ask("alice", "POST", "/v2.0/networks", {"network": {"project_id": "p2"}})
    assert refused.status_code == 400
    assert "administrator" in refused.json()["NeutronError"]["message"]
    assert cloud.network("p2")["project_id"] == "p2"


def test_a_guest_of_a_shared_network_has_ports_there_and_changes_nothing_of_it(
    cloud: Cloud,
) -> None:
    common = Things(cloud)["common"]
    port = cloud.make("port", "alice", network_id=common)
    assert port["fixed_ips"]
    for path, body in (
        (f"networks/{common}", {"network": {"name": "mine"}}),
        (f"subnets/{port['fixed_ips'][0]['subnet_id']}", {"subnet": {"name": "mine"}}),
    ):
        assert cloud.ask("alice", "PUT", f"/v2.0/{path}", body).status_code == 403
    assert cloud.ask("bob", "GET", f"/v2.0/ports/{port['id']}").status_code == 200  # its owner
    assert cloud.ask("bob", "DELETE", f"/v2.0/ports/{port['id']}").status_code == 204


def test_a_bulk_with_one_thing_refused_makes_nothing(cloud: Cloud) -> None:
    bulk = {"networks": [{"name": "bulk-a"}, {"name": "bulk-b", "shared": True}]}
    assert cloud.ask("alice", "POST", "/v2.0/networks", bulk).status_code == 403
    assert cloud.ask("root", "GET", "/v2.0/networks?name=bulk-a").json() == {"networks": []}


def test_a_marker_tells_nothing_of_what_is_hidden(cloud: Cloud) -> None:
    things = Things(cloud)
    path = f"/v2.0/networks?limit=1&marker={things['network']}"
    assert cloud.ask("alice", "GET", path).status_code == 200
    assert cloud.ask("bob", "GET", path).status_code == 404


def test_only_versions_and_health_are_open(cloud: Cloud) -> None:
    for path in ("/", "/healthz"):
        assert cloud.ask("stranger", "GET", path).status_code == 200
    for path in ("/v2.0", "/v2.0/extensions", "/schema/openapi.json"):
        assert cloud.ask("stranger", "GET", path).status_code == 401
        assert cloud.ask("rita", "GET", path).status_code == 200


def test_a_route_without_a_rule_is_for_administrators() -> None:
    """What somebody adds and forgets to give a rule is closed, not open."""
    rules = Rules()
    state = SimpleNamespace(access=lambda caller: Access(caller, rules, {}))
    handler: Any = SimpleNamespace(opt={})
    for roles, closed in ((["admin"], False), (["member", "reader"], True), (["service"], True)):
        connection: Any = SimpleNamespace(
            app=SimpleNamespace(state=state),
            state=SimpleNamespace(caller=rules.known("u", "p1", roles)),
            scope={"path": "/v2.0/new"},
        )
        with pytest.raises(Forbidden) if closed else nullcontext():
            asyncio.run(guard(connection, handler))


def test_what_a_project_may_not_see_it_can_not_name(cloud: Cloud) -> None:
    things = Things(cloud)
    subnet = {"network_id": cloud.make("network", "bob")["id"], "prefixlen": 26}
    for body, type_ in (
        ({"subnet": subnet | {"subnetpool_id": things["pool"]}}, "SubnetPoolNotFound"),
        (
            {"subnetpool": {"name": "x", "prefixes": ["10.0.0.0/8"], "address_scope_id": things["scope"]}},
            "AddressScopeNotFound",
        ),
    ):  # fmt: skip
        noun = next(iter(body))
        refused = cloud.ask("bob", "POST", f"/v2.0/{noun}s", body)
        assert (refused.status_code, refused.json()["NeutronError"]["type"]) == (404, type_)
        absent = cloud.ask("bob", "GET", f"/v2.0/{PATHS.get(noun, noun + 's')}/none")
        assert absent.status_code == 404


@pytest.mark.parametrize("noun", ["network", "subnet", "port", "subnetpool", "address_scope"])
def test_what_is_hidden_is_refused_in_the_words_of_what_is_not_there(
    cloud: Cloud, noun: str
) -> None:
    things = Things(cloud)
    key = things[KEYS.get(noun, noun)]
    path = f"/v2.0/{PATHS.get(noun, noun + 's')}"
    hidden = cloud.ask("bob", "GET", f"{path}/{key}")
    absent = cloud.ask("root", "GET", f"{path}/{NO_ID}")
    assert hidden.text.replace(key, NO_ID) == absent.text


@pytest.mark.parametrize(
    ("method", "path", "row"),
    [
        ("GET", "/tags", "200 200 404 200 200 404 401"),
        ("PUT", "/tags/blue", "201 201 404 403 403 404 401"),
        ("DELETE", "/tags", "204 204 404 403 403 404 401"),
    ],
)
def test_tags_are_of_who_may_change_what_they_hang_on(
    cloud: Cloud, method: str, path: str, row: str
) -> None:
    things = Things(cloud)
    where = f"/v2.0/networks/{things['network']}{path}"
    said = {who: cloud.ask(who, method, where).status_code for who, _ in cells(row)}
    assert said == dict(cells(row))


# what an administrator said of alice's own, and how it is taken back
TAKEN_BACK: dict[str, tuple[Any, Any]] = {
    "network:shared": (True, False),
    "network:lessor:multi_host": (True, False),
    "port:port_security_enabled": (False, True),
    "port:allowed_address_pairs": ([{"ip_address": "10.9.0.1"}], []),
    "port:binding:host_id": ("{host}", ""),
    "port:binding:profile": ({"tap": "managed"}, {}),
    "subnetpool:is_default": (True, False),
    "address_scope:shared": (True, False),
}


@pytest.mark.parametrize("name", TAKEN_BACK)
def test_a_member_may_repeat_a_value_that_says_nothing_but_not_take_back_one(
    cloud: Cloud, name: str
) -> None:
    noun, attribute = name.split(":", 1)
    things = Things(cloud)
    said, nothing = TAKEN_BACK[name]
    around = things.fill(AROUND[noun])
    if name == "network:lessor:multi_host":
        around = {"provider:network_type": "flat", "provider:physical_network": "physnet1"}
    plural = PATHS.get(noun, noun + "s")

    def answered(value: Any) -> Any:
        made = cloud.make(
            noun, path=plural, project_id="p1", **around | {attribute: things.fill(value)}
        )
        body = {noun: {attribute: nothing, "name": "hers"}}
        answer = cloud.ask("alice", "PUT", f"/v2.0/{plural}/{made['id']}", body).status_code
        cloud.ask("root", "DELETE", f"/v2.0/{plural}/{made['id']}")
        return answer

    assert (answered(said), answered(nothing)) == (403, 200)
