"""Every filter and every sort key of every resource, from the resources' own tables of fields."""

from __future__ import annotations

from typing import Any

import pytest

from lessor.api.resources import (
    address_scopes,
    addresses,
    agents,
    availability,
    hosts,
    instances,
    leases,
    networks,
    ports,
    rbac,
    subnetpools,
    subnets,
    zones,
)
from lessor.api.rest import fields
from lessor.api.rest.fields import Field, Resource

Server = Any  # tests/api/conftest.py
RESOURCES = (
    networks.RESOURCE,
    subnets.RESOURCE,
    ports.RESOURCE,
    leases.RESOURCE,
    instances.RESOURCE,
    addresses.RESOURCE,
    hosts.RESOURCE,
    agents.RESOURCE,
    subnetpools.RESOURCE,
    address_scopes.RESOURCE,
    rbac.RESOURCE,
    availability.RESOURCE,
    zones.RESOURCE,
)
PATHS = {
    "address_scopes": "address-scopes",
    "rbac_policies": "rbac-policies",
    "network_ip_availabilities": "network-ip-availabilities",
}
NO_ID = "00000000-0000-0000-0000-000000000000"
# Filters whose text is not the value that is shown: what finds the row, and what does not.
WORDS = {
    "tags": ("red", "blue"),
    "tags-any": ("red,blue", "blue"),
    "not-tags": ("blue", "red"),
    "not-tags-any": ("blue", "red,blue"),
    "changed_since": ("2020-01-01T00:00:00", "2099-01-01T00:00:00Z"),
    "fixed_ips": ("ip_address=10.0.0.5", "ip_address=10.0.0.77"),
    "security_groups": ("", NO_ID),
    "service_types": ("", "compute:nova"),
    "at": None,  # tests/api/resources/test_agents.py
    "ip_version": ("4", "6"),
}
HIDDEN = {("subnets", "shared"): ("true", "false")}  # of rows that do not show it
# Other values than the row's, where not just any text will do.
OTHERS = {
    "gateway_ip": "10.0.0.9",
    "lessor:dhcp_server": "10.0.0.9",
    "cidr": "10.9.0.0/24",
    "address": "10.0.0.77",
    "state": "leased",
    "mac_address": "fa:16:3e:ff:ff:ff",
    "provider:segmentation_id": "77",
    "default_quota": "77",
}
OWN_OTHERS = {bool: lambda value: str(not value), int: lambda value: str(value + 1)}


@pytest.fixture(scope="module")
def world(shared: Server) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each resource: one that all is said of, and one of which little is."""
    shared.token("h1")
    common: dict[str, Any] = {"description": "words", "project_id": "p1", "tags": ["red"]}
    network = shared.make(
        "network",
        name="n1",
        mtu=1400,
        shared=True,
        dns_domain="one.example",
        port_security_enabled=False,
        **{"lessor:bridge": "br100", "lessor:host": "h1"},
        **common,
    )
    block = {"network_id": network["id"], "cidr": "10.0.0.0/24", "gateway_ip": "10.0.0.254"}
    shared.make("subnet", name="s1", **block, **common, **{"lessor:dhcp_server": "10.0.0.253"})
    shared.make(
        "port",
        network_id=network["id"],
        name="p1",
        device_id="vm1",
        device_owner="compute:nova",
        dns_name="vm1",
        mac_address="fa:16:3e:00:00:05",
        fixed_ips=[{"ip_address": "10.0.0.5"}],
        admin_state_up=False,
        **{"binding:host_id": "h1"},
        **common,
    )
    shared.make("instance", name="i1", hostname="i1", project_id="p1", availability_zone="z1")
    other, _ = shared.network("10.1.0.0/24", name="n2")
    shared.make("port", network_id=other["id"], name="p2")
    shared.make("instance", name="i2")
    shared.token("h2")
    scope = shared.make("address_scope", name="a1", ip_version=4, project_id="p1", shared=True)
    shared.make("address_scope", name="a2", ip_version=4)
    pool = {"prefixes": ["10.128.0.0/9"], "default_prefixlen": 24, "default_quota": 512}
    pool |= {"min_prefixlen": 16, "max_prefixlen": 28, "shared": True, "is_default": True}
    shared.make("subnetpool", name="o1", address_scope_id=scope["id"], **pool, **common)
    shared.make("subnetpool", name="o2", prefixes=["192.168.0.0/16"])
    policy = {"object_type": "network", "object_id": network["id"], "action": "access_as_shared"}
    for target in ("p2", "p3"):
        shared.make("rbac_policy", target_tenant=target, project_id="p1", **policy)
    for name, zone in (("z1", "north"), ("z2", "south")):
        said = {"run_id": name, "availability_zone": zone}
        shared.agents.post("/agent/v1/report", json=said, headers=shared.token(name))
    plurals = [resource.plural for resource in RESOURCES]
    return {plural: _rows(shared, plural) for plural in plurals}


def _at(plural: str) -> str:
    return f"/v2.0/{PATHS.get(plural, plural)}"


def _rows(server: Server, plural: str) -> list[dict[str, Any]]:
    """Return all rows, first the one that all is said of."""
    rows: list[dict[str, Any]] = server.api.get(_at(plural)).json()[plural]
    return sorted(rows, key=lambda row: row.get("description") != "words")


def _filters(resource: Resource) -> list[Field]:
    return [field for field in resource.fields if field.query or field.fixed is not None]


CASES = [(resource, field) for resource in RESOURCES for field in _filters(resource)]
SORTS = [(resource, field) for resource in RESOURCES for field in resource.fields if field.sort]


def _key(row: dict[str, Any]) -> str:
    return str(row.get("id") or [row.get(name) for name in ("network_id", "address", "name")])


def _found(server: Server, plural: str, name: str, text: str) -> set[str]:
    answer = server.api.get(_at(plural), params={name: text})
    assert answer.status_code == 200, answer.text
    return {_key(row) for row in answer.json()[plural]}


@pytest.mark.parametrize(
    ("resource", "field"), CASES, ids=[f"{r.plural}-{f.name}" for r, f in CASES]
)
def test_each_filter_finds_what_has_the_value_and_nothing_else(
    shared: Server, world: dict[str, list[dict[str, Any]]], resource: Resource, field: Field
) -> None:
    rows = world[resource.plural]
    if field.name in WORDS or (resource.plural, field.name) in HIDDEN:
        words = HIDDEN.get((resource.plural, field.name)) or WORDS[field.name]
        if words is not None:
            found, missed = (_found(shared, resource.plural, field.name, w) for w in words)
            assert _key(rows[0]) in found
            assert _key(rows[0]) not in missed
        return
    for row in rows:
        value = row[field.name]
        if value is None and field.name == "mac_address":
            continue  # who has none is no question
        text = "" if value is None else str(value)
        same = {_key(other) for other in rows if other[field.name] == value}
        assert _found(shared, resource.plural, field.name, text) == same
        other = OTHERS.get(field.name) or OWN_OTHERS.get(type(value), lambda _: "nothing")(value)
        if not any(str(known[field.name]) == other for known in rows):
            assert _found(shared, resource.plural, field.name, other) == set()


@pytest.mark.parametrize(
    ("resource", "field"), CASES, ids=[f"{r.plural}-{f.name}" for r, f in CASES]
)
def test_a_repeated_filter_is_either(
    shared: Server, world: dict[str, list[dict[str, Any]]], resource: Resource, field: Field
) -> None:
    if field.name in WORDS or (resource.plural, field.name) in HIDDEN:
        return
    rows = [row for row in world[resource.plural] if row.get("mac_address", "") is not None]
    texts = ["" if row[field.name] is None else str(row[field.name]) for row in rows]
    answer = shared.api.get(_at(resource.plural), params={field.name: texts})
    assert {_key(row) for row in answer.json()[resource.plural]} >= {_key(row) for row in rows}


@pytest.mark.parametrize(
    ("resource", "field"), SORTS, ids=[f"{r.plural}-{f.name}" for r, f in SORTS]
)
def test_each_sort_key_sorts_both_ways(
    shared: Server, world: dict[str, list[dict[str, Any]]], resource: Resource, field: Field
) -> None:
    def values(turn: str) -> list[Any]:
        params = {"sort_key": field.name, "sort_dir": turn}
        answer = shared.api.get(_at(resource.plural), params=params)
        assert answer.status_code == 200, answer.text
        return [row[field.name] for row in answer.json()[resource.plural]]

    assert len(values("asc")) == len(world[resource.plural])
    assert values("asc") == values("desc")[::-1]


PLAIN = (
    fields.text,
    fields.text_or_none,
    fields.split,
    agents.role,
    agents.topic,
)  # these can mean any text
CHECKED = [(resource, field) for resource, field in CASES if field.query not in PLAIN]


@pytest.mark.parametrize(
    ("resource", "field"), CHECKED, ids=[f"{r.plural}-{f.name}" for r, f in CHECKED]
)
def test_a_filter_that_can_not_be_meant_is_refused_by_name(
    shared: Server, resource: Resource, field: Field
) -> None:
    answer = shared.api.get(_at(resource.plural), params={field.name: "?"})
    if field.fixed is not None and field.kind is not bool:
        assert answer.json()[resource.plural] == []  # it is compared as a text
        return
    assert answer.status_code == 400
    message = answer.json()["NeutronError"]["message"]
    assert field.name in message or "'?'" in message


@pytest.mark.parametrize("resource", RESOURCES, ids=[r.plural for r in RESOURCES])
def test_each_field_can_be_asked_for_alone(
    shared: Server, world: dict[str, list[dict[str, Any]]], resource: Resource
) -> None:
    for field in resource.fields:
        answer = shared.api.get(_at(resource.plural), params={"fields": field.name})
        names = [set(row) for row in answer.json()[resource.plural]]
        shown = set() if field.write_only else {field.name}
        assert names == [shown] * len(world[resource.plural])


@pytest.mark.parametrize("resource", RESOURCES, ids=[r.plural for r in RESOURCES])
def test_no_field_is_without_a_filter_by_mistake(resource: Resource) -> None:
    """Scalars that clients see can be asked for, but for these."""
    free = {
        "state", "silent_s",
        "lessor:pending", "lessor:bridge", "lessor:bridge_interface", "revision_number",
        "hostname", "client_id", "started_at", "renewed_at", "expires_at", "ended_at",
        "end_reason", "created_at", "updated_at", "heartbeat_at", "heartbeat_timestamp",
        "leased_until", "version", "network_host", "in_sync", "local_ip", "password",
        "user_data", "topic", "resources_synced", "availability_zone", "description",
        "l2_adjacency", "tags", "total_ips", "used_ips", "ipv4_address_scope", "ipv6_address_scope", "use_default_subnetpool", "prefixlen",
        *ports.NOTHING,
    }  # fmt: skip
    known = {field.name for field in _filters(resource)} | free
    scalars = {str, int, bool, str | None, int | None}
    assert {f.name for f in resource.fields if f.kind in scalars} - known == set()


@pytest.mark.parametrize(
    ("plural", "type_"),
    [
        ("networks", "NetworkNotFound"),
        ("subnets", "SubnetNotFound"),
        ("ports", "PortNotFound"),
        ("leases", "LeaseNotFound"),
        ("instances", "InstanceNotFound"),
        ("hosts", "HostNotFound"),
        ("subnetpools", "SubnetPoolNotFound"),
        ("address_scopes", "AddressScopeNotFound"),
        ("rbac_policies", "RbacPolicyNotFound"),
    ],
)
def test_a_marker_that_is_no_row_s_is_not_found(shared: Server, plural: str, type_: str) -> None:
    answer = shared.api.get(_at(plural), params={"marker": NO_ID, "limit": 1})
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (404, type_)
