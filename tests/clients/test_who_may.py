"""Users with passwords: keystoneauth's http_basic, through the real `openstack` client."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.clients.started import Openstack, needs_clients

pytestmark = [pytest.mark.clients, needs_clients]
As = Callable[[str], Openstack]


def test_a_user_sees_the_own_project_and_what_is_shared(log_in: As) -> None:
    alice, bob, root = (log_in(name) for name in ("alice", "bob", "root"))
    network = alice("network create blue")
    assert (network["project_id"], network["shared"]) == ("p-alice", False)
    assert bob("network list") == []
    assert "No Network found for blue" in bob.refusal("network show blue")
    assert [row["Name"] for row in root("network list")] == ["blue"]
    policy = root(
        "network rbac create --type network --action access_as_shared --target-all-projects blue"
    )
    assert policy["object_id"] == network["id"]
    assert [row["Name"] for row in bob("network list")] == ["blue"]
    assert [row["ID"] for row in root("network rbac list")] == [policy["id"]]
    root.run("network", "rbac", "delete", policy["id"])
    assert bob("network list") == []


def test_what_is_an_administrator_s_is_refused_to_others(log_in: As) -> None:
    refusal = log_in("alice").refusal("network create x --provider-network-type flat")
    assert "provider:network_type is disallowed by policy" in refusal
    assert "password is wrong" in log_in("stranger").refusal("network list")
