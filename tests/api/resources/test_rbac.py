"""RBAC policies: networks shared with single projects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.people import Cloud

OVERLAY = {"provider:network_type": "vxlan"}


@pytest.fixture
def cloud(serve: Callable[..., Any], tmp_path: Path) -> Cloud:
    from tests.api.people import password_files  # noqa: PLC0415 - one place

    return Cloud(serve(**password_files(tmp_path)))


def share(cloud: Cloud, network: str, target: str, who: str = "root") -> Any:
    body = {
        "object_type": "network",
        "object_id": network,
        "action": "access_as_shared",
        "target_tenant": target,
    }
    return cloud.ask(who, "POST", "/v2.0/rbac-policies", {"rbac_policy": body})


def sees(cloud: Cloud, who: str, network: str) -> bool | None:
    """Return what `shared` is to somebody; None: he doesn't see the network."""
    answer = cloud.ask(who, "GET", f"/v2.0/networks/{network}")
    return bool(answer.json()["network"]["shared"]) if answer.is_success else None


def test_a_network_is_shared_with_one_project(cloud: Cloud) -> None:
    network = cloud.network("p1")["id"]
    assert sees(cloud, "bob", network) is None
    made = share(cloud, network, "p2", "alice")
    assert made.status_code == 201
    policy = made.json()["rbac_policy"]
    assert policy == {
        "id": policy["id"], "project_id": "p1", "tenant_id": "p1", "object_type": "network",
        "object_id": network, "action": "access_as_shared", "target_tenant": "p2",
    }  # fmt: skip
    assert [sees(cloud, who, network) for who in ("bob", "alice", "root")] == [True, False, False]
    names = cloud.ask("bob", "GET", "/v2.0/networks?shared=true").json()["networks"]
    assert [row["id"] for row in names] == [network]
    assert cloud.ask("bob", "GET", "/v2.0/networks?shared=false").json()["networks"] == []


def test_the_guest_uses_the_network_and_then_it_can_not_be_taken_away(cloud: Cloud) -> None:
    network = cloud.network("p1")["id"]
    cloud.make("subnet", "alice", network_id=network, cidr="10.0.0.0/24")
    policy = share(cloud, network, "p2").json()["rbac_policy"]["id"]
    port = cloud.make("port", "bob", network_id=network)
    assert port["fixed_ips"]
    subnets = cloud.ask("bob", "GET", "/v2.0/subnets").json()["subnets"]
    assert [row["network_id"] for row in subnets] == [network]

    path = f"/v2.0/rbac-policies/{policy}"
    for method, body in (("DELETE", None), ("PUT", {"rbac_policy": {"target_tenant": "p3"}})):
        refused = cloud.ask("root", method, path, body)
        assert refused.status_code == 409
        assert refused.json()["NeutronError"]["type"] == "RbacPolicyInUse"
        assert "p2" in refused.json()["NeutronError"]["message"]
    assert sees(cloud, "bob", network) is True

    share(cloud, network, "*")  # by this he goes on seeing it
    assert cloud.ask("root", "DELETE", path).status_code == 204
    unshare = {"network": {"shared": False}}
    refused = cloud.ask("root", "PUT", f"/v2.0/networks/{network}", unshare)
    assert refused.status_code == 409
    assert refused.json()["NeutronError"]["type"] == "InvalidSharedSetting"
    cloud.ask("bob", "DELETE", f"/v2.0/ports/{port['id']}")
    changed = cloud.ask("root", "PUT", f"/v2.0/networks/{network}", unshare)
    assert changed.json()["network"]["shared"] is False
    assert sees(cloud, "bob", network) is None


def test_the_attribute_and_the_policy_for_everybody_say_the_same(cloud: Cloud) -> None:
    network = cloud.network("p1", shared=True)["id"]
    path = f"/v2.0/rbac-policies?object_id={network}"
    (policy,) = cloud.ask("root", "GET", path).json()["rbac_policies"]
    assert (policy["target_tenant"], policy["project_id"]) == ("*", "p1")
    assert cloud.ask("root", "DELETE", f"/v2.0/rbac-policies/{policy['id']}").status_code == 204
    assert sees(cloud, "root", network) is False

    assert share(cloud, network, "*").status_code == 201
    assert sees(cloud, "bob", network) is True
    cloud.ask("root", "PUT", f"/v2.0/networks/{network}", {"network": {"shared": False}})
    assert cloud.ask("root", "GET", path).json()["rbac_policies"] == []


def test_a_deleted_network_leaves_no_policy(cloud: Cloud) -> None:
    network = cloud.network("p1", shared=True)["id"]
    share(cloud, network, "p2")
    assert cloud.ask("root", "DELETE", f"/v2.0/networks/{network}").status_code == 204
    assert cloud.ask("root", "GET", "/v2.0/rbac-policies").json()["rbac_policies"] == []


def test_who_is_shared_with_shares_no_further(cloud: Cloud) -> None:
    network = cloud.network("p1")["id"]
    share(cloud, network, "p2")
    assert share(cloud, network, "p3", "bob").status_code == 400
    assert share(cloud, cloud.network("p3")["id"], "p2", "bob").status_code == 404
    assert share(cloud, network, "*", "alice").status_code == 403
    policies = cloud.ask("bob", "GET", "/v2.0/rbac-policies").json()["rbac_policies"]
    assert policies == []


@pytest.mark.parametrize(
    ("change", "status", "type_"),
    [
        ({"object_type": "router"}, 400, "InvalidInput"),
        ({"action": "access_as_owner"}, 400, "InvalidActionForType"),
        ({"object_id": "00000000-0000-0000-0000-000000000000"}, 404, "NetworkNotFound"),
        ({"target_tenant": "p2"}, 409, "DuplicateRbacPolicy"),
        ({"target_tenant": ""}, 400, "HTTPBadRequest"),
    ],
)
def test_what_can_not_be_shared_is_refused(
    cloud: Cloud, change: dict[str, str], status: int, type_: str
) -> None:
    network = cloud.network("p1")["id"]
    share(cloud, network, "p2")
    body = {"object_type": "network", "object_id": network, "action": "access_as_shared"}
    policy = {**body, "target_tenant": "p3", **change}
    answer = cloud.ask("root", "POST", "/v2.0/rbac-policies", {"rbac_policy": policy})
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (status, type_)


def test_only_the_target_can_be_changed(cloud: Cloud) -> None:
    network = cloud.network("p1")["id"]
    policy = share(cloud, network, "p2").json()["rbac_policy"]["id"]
    path = f"/v2.0/rbac-policies/{policy}"
    refused = cloud.ask("root", "PUT", path, {"rbac_policy": {"object_id": "x"}})
    assert refused.status_code == 400
    changed = cloud.ask("root", "PUT", path, {"rbac_policy": {"target_tenant": "*"}})
    assert changed.json()["rbac_policy"]["target_tenant"] == "*"
    assert sees(cloud, "root", network) is True


# --- subnet pools and address scopes --------------------------------------------------------------

PLURALS = {"subnetpool": "subnetpools", "address_scope": "address-scopes"}
BODIES: dict[str, dict[str, Any]] = {
    "subnetpool": {"prefixes": ["10.0.0.0/8"], "default_prefixlen": 24},
    "address_scope": {"ip_version": 4},
}


def thing(cloud: Cloud, kind: str, who: str = "alice", **fields: Any) -> str:
    body = {"name": kind} | BODIES[kind] | fields
    return str(cloud.make(kind, who, PLURALS[kind], **body)["id"])


def share_thing(cloud: Cloud, kind: str, key: str, target: str, who: str = "alice") -> Any:
    body = {"object_type": kind, "object_id": key, "action": "access_as_shared"}
    policy = {"rbac_policy": {**body, "target_tenant": target}}
    return cloud.ask(who, "POST", "/v2.0/rbac-policies", policy)


def shown(cloud: Cloud, who: str, kind: str, key: str) -> bool | None:
    """Return what `shared` is to somebody; None: he doesn't see it."""
    answer = cloud.ask(who, "GET", f"/v2.0/{PLURALS[kind]}/{key}")
    return bool(answer.json()[kind]["shared"]) if answer.is_success else None


@pytest.mark.parametrize("kind", PLURALS)
def test_pools_and_scopes_are_shared_with_one_project(cloud: Cloud, kind: str) -> None:
    key = thing(cloud, kind)
    assert shown(cloud, "bob", kind, key) is None
    assert share_thing(cloud, kind, key, "p2", "bob").status_code == 404
    made = share_thing(cloud, kind, key, "p2")
    assert (made.status_code, made.json()["rbac_policy"]["project_id"]) == (201, "p1")
    assert [shown(cloud, who, kind, key) for who in ("bob", "alice", "root")] == [
        True,
        False,
        False,
    ]
    rows = f"{kind}s"
    for wanted, ids in (("true", [key]), ("false", [])):
        found = cloud.ask("bob", "GET", f"/v2.0/{PLURALS[kind]}?shared={wanted}").json()[rows]
        assert [row["id"] for row in found] == ids
    assert share_thing(cloud, kind, key, "p3", "bob").status_code == 400
    assert share_thing(cloud, kind, key, "*").status_code == 403
    path = f"/v2.0/rbac-policies/{made.json()['rbac_policy']['id']}"
    assert cloud.ask("alice", "DELETE", path).status_code == 204
    assert shown(cloud, "bob", kind, key) is None


@pytest.mark.parametrize("kind", PLURALS)
def test_what_everybody_may_use_has_a_policy_that_says_so(cloud: Cloud, kind: str) -> None:
    key = thing(cloud, kind, "root", shared=True, project_id="p1")
    path = f"/v2.0/rbac-policies?object_id={key}"
    [policy] = cloud.ask("root", "GET", path).json()["rbac_policies"]
    assert (policy["object_type"], policy["target_tenant"], policy["project_id"]) == (
        kind,
        "*",
        "p1",
    )
    assert shown(cloud, "bob", kind, key) is True
    assert cloud.ask("root", "DELETE", f"/v2.0/rbac-policies/{policy['id']}").status_code == 204
    assert (shown(cloud, "bob", kind, key), shown(cloud, "root", kind, key)) == (None, False)
    assert share_thing(cloud, kind, key, "*", "root").status_code == 201
    assert (shown(cloud, "bob", kind, key), shown(cloud, "root", kind, key)) == (True, True)
    assert cloud.ask("root", "DELETE", f"/v2.0/{PLURALS[kind]}/{key}").status_code == 204
    assert cloud.ask("root", "GET", path).json()["rbac_policies"] == []


def test_a_guest_cuts_subnets_from_a_pool_and_then_it_stays_his(cloud: Cloud) -> None:
    pool = thing(cloud, "subnetpool")
    policy = share_thing(cloud, "subnetpool", pool, "p2").json()["rbac_policy"]["id"]
    network = cloud.make("network", "bob")["id"]
    subnet = cloud.make("subnet", "bob", network_id=network, subnetpool_id=pool)
    assert subnet["cidr"] == "10.0.0.0/24"
    change = {"subnetpool": {"name": "mine"}}
    assert cloud.ask("bob", "PUT", f"/v2.0/subnetpools/{pool}", change).status_code == 403
    path = f"/v2.0/rbac-policies/{policy}"
    refused = cloud.ask("root", "DELETE", path)
    problem = refused.json()["NeutronError"]
    assert (refused.status_code, problem["type"]) == (409, "RbacPolicyInUse")
    assert "subnets of project p2" in problem["message"]
    assert cloud.ask("bob", "DELETE", f"/v2.0/subnets/{subnet['id']}").status_code == 204
    assert cloud.ask("root", "DELETE", path).status_code == 204


def test_who_may_use_a_pool_may_use_its_scope(cloud: Cloud) -> None:
    scope = thing(cloud, "address_scope")
    pool = thing(cloud, "subnetpool", address_scope_id=scope)
    refused = share_thing(cloud, "subnetpool", pool, "p2")
    problem = refused.json()["NeutronError"]
    assert (refused.status_code, problem["type"]) == (400, "RbacPolicyInitError")
    assert scope in problem["message"]
    policy = share_thing(cloud, "address_scope", scope, "p2").json()["rbac_policy"]["id"]
    assert share_thing(cloud, "subnetpool", pool, "p2").status_code == 201
    in_use = cloud.ask("alice", "DELETE", f"/v2.0/rbac-policies/{policy}")
    assert in_use.json()["NeutronError"]["type"] == "RbacPolicyInUse"

    loose = thing(cloud, "subnetpool", prefixes=["192.168.0.0/16"])
    assert share_thing(cloud, "subnetpool", loose, "p3").status_code == 201
    body = {"subnetpool": {"address_scope_id": scope}}
    moved = cloud.ask("alice", "PUT", f"/v2.0/subnetpools/{loose}", body)
    problem = moved.json()["NeutronError"]
    assert problem["type"] == "IllegalSubnetPoolAssociationToAddressScope"
    assert "p3" in problem["message"]
