"""Subnet pools and address scopes through HTTP."""

from __future__ import annotations

from typing import Any

import pytest

Server = Any  # tests/api/conftest.py
NO_ID = "00000000-0000-0000-0000-000000000000"


def test_a_pool_has_the_defaults_of_the_api(server: Server) -> None:
    pool = server.make("subnetpool", name="p", prefixes=["10.1.0.0/16", "10.0.0.0/16"])
    expected = {
        "name": "p",
        "prefixes": ["10.0.0.0/15"],
        "ip_version": 4,
        "min_prefixlen": 8,
        "default_prefixlen": 8,
        "max_prefixlen": 32,
        "default_quota": None,
        "address_scope_id": None,
        "shared": False,
        "is_default": False,
        "description": "",
        "project_id": "",
        "tenant_id": "",
    }
    assert {key: pool[key] for key in expected} == expected
    assert pool["revision_number"] > 0
    assert server.api.get(f"/v2.0/subnetpools/{pool['id']}").json() == {"subnetpool": pool}


def test_a_subnet_is_cut_shown_and_found_by_its_pool(server: Server) -> None:
    scope = server.make("address_scope", name="s", ip_version=4)
    pool = server.make(
        "subnetpool", prefixes=["10.0.0.0/16"], default_prefixlen="24", address_scope_id=scope["id"]
    )
    network = server.make("network")
    subnet = server.make("subnet", network_id=network["id"], subnetpool_id=pool["id"], ip_version=4)
    assert (subnet["cidr"], subnet["subnetpool_id"]) == ("10.0.0.0/24", pool["id"])
    found = server.api.get(f"/v2.0/subnets?subnetpool_id={pool['id']}").json()["subnets"]
    assert found == [subnet]
    shown = server.api.get(f"/v2.0/networks/{network['id']}").json()["network"]
    assert (shown["ipv4_address_scope"], shown["ipv6_address_scope"]) == (scope["id"], None)
    in_use = server.api.delete(f"/v2.0/address-scopes/{scope['id']}")
    assert (in_use.status_code, in_use.json()["NeutronError"]["type"]) == (409, "AddressScopeInUse")


def test_prefixes_are_added_and_removed(server: Server) -> None:
    pool = server.make("subnetpool", prefixes=["10.0.0.0/16"])
    path = f"/v2.0/subnetpools/{pool['id']}"
    added = server.api.put(f"{path}/add_prefixes", json={"prefixes": ["10.1.0.0/16"]})
    assert (added.status_code, added.json()) == (200, {"prefixes": ["10.0.0.0/15"]})
    removed = server.api.put(f"{path}/remove_prefixes", json={"prefixes": ["10.0.0.0/16"]})
    assert (removed.status_code, removed.json()) == (200, {"prefixes": ["10.1.0.0/16"]})
    assert server.api.get(path).json()["subnetpool"]["prefixes"] == ["10.1.0.0/16"]


def test_pools_are_listed_filtered_and_sorted(server: Server) -> None:
    for name, length in (("b", 24), ("a", 26), ("c", 24)):
        fields = {"prefixes": ["10.0.0.0/16"], "default_prefixlen": length, "tags": [name]}
        server.make("subnetpool", name=name, **fields)
    assert server.names("/v2.0/subnetpools?tags=b") == ["b"]
    assert server.names("/v2.0/subnetpools?sort_key=name") == ["a", "b", "c"]
    assert server.names("/v2.0/subnetpools?default_prefixlen=24&sort_key=name&sort_dir=desc") == [
        "c",
        "b",
    ]
    server.make("address_scope", name="x", ip_version=4, shared=True)
    assert server.names("/v2.0/address-scopes?shared=true") == ["x"]


def test_a_scope_is_made_shown_renamed_and_deleted(server: Server) -> None:
    scope = server.make("address_scope", name="old", ip_version=4)
    path = f"/v2.0/address-scopes/{scope['id']}"
    assert scope == {
        "id": scope["id"],
        "name": "old",
        "project_id": "",
        "tenant_id": "",
        "ip_version": 4,
        "shared": False,
    }
    changed = server.api.put(path, json={"address_scope": {"name": "new"}})
    assert changed.json()["address_scope"] == scope | {"name": "new"}
    assert server.api.delete(path).status_code == 204
    gone = server.api.get(path)
    assert (gone.status_code, gone.json()["NeutronError"]["type"]) == (404, "AddressScopeNotFound")


BAD: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("post", "subnetpools", {"subnetpool": {"prefixes": []}}, 400, "EmptySubnetPoolPrefixList"),
    ("post", "subnetpools", {"subnetpool": {"prefixes": ["x"]}}, 400, "InvalidInput"),
    ("post", "subnetpools", {"subnetpool": {"prefixes": ["fd00::/64"]}}, 400, "InvalidInput"),
    (
        "post",
        "subnetpools",
        {"subnetpool": {"prefixes": ["fd00::/64", "10.0.0.0/8"]}},
        400,
        "PrefixVersionMismatch",
    ),
    (
        "post",
        "subnetpools",
        {"subnetpool": {"prefixes": ["10.0.0.0/8"], "min_prefixlen": 40}},
        400,
        "HTTPBadRequest",
    ),
    (
        "post",
        "subnetpools",
        {"subnetpool": {"prefixes": ["10.0.0.0/8"], "address_scope_id": NO_ID}},
        404,
        "AddressScopeNotFound",
    ),
    ("put", f"subnetpools/{NO_ID}", {"subnetpool": {"name": "x"}}, 404, "SubnetPoolNotFound"),
    (
        "put",
        f"subnetpools/{NO_ID}/add_prefixes",
        {"prefixes": ["10.0.0.0/8"]},
        404,
        "SubnetPoolNotFound",
    ),
    ("put", f"subnetpools/{NO_ID}/add_prefixes", {"prefixes": ["x"]}, 400, "InvalidInput"),
    ("post", "address-scopes", {"address_scope": {"ip_version": 6}}, 400, "InvalidInput"),
    ("post", "address-scopes", {"address_scope": {"name": "x"}}, 400, "HTTPBadRequest"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "type_"), BAD)
def test_bad_pools_are_refused(  # noqa: PLR0917 - the columns of the table
    shared: Server, method: str, path: str, body: dict[str, Any], status: int, type_: str
) -> None:
    answer = shared.api.request(method.upper(), f"/v2.0/{path}", json=body)
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (status, type_)
    assert shared.api.get("/v2.0/subnetpools").json() == {"subnetpools": []}


def test_too_many_prefixes_or_pools_are_refused(server: Server) -> None:
    """Others' writes wait for as long as they are compared."""
    apart = [f"10.{n // 256}.{n % 256}.0/30" for n in range(1001)]
    pool = server.make("subnetpool", prefixes=apart[:1000])
    path = f"/v2.0/subnetpools/{pool['id']}"
    network = server.make("network")["id"]
    spans = [{"start": f"10.0.{n}.1", "end": f"10.0.{n}.9"} for n in range(101)]
    subnet = {"network_id": network, "cidr": "10.0.0.0/8", "allocation_pools": spans}
    api = server.api
    for answer, words in (
        (api.post("/v2.0/subnetpools", json={"subnetpool": {"prefixes": apart}}), "prefixes"),
        (api.put(path, json={"subnetpool": {"prefixes": apart}}), "prefixes"),
        (api.put(f"{path}/add_prefixes", json={"prefixes": apart[1000:]}), "prefixes"),
        (api.put(f"{path}/remove_prefixes", json={"prefixes": apart}), "prefixes"),
        (api.post("/v2.0/subnets", json={"subnet": subnet}), "allocation pools"),
    ):
        assert answer.status_code == 400, answer.text
        assert words in answer.json()["NeutronError"]["message"]
