"""Quotas, sharing and whatever else names a project, through the real `openstack` client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.clients.started import Openstack, needs_clients

pytestmark = [pytest.mark.clients, needs_clients]
As = Callable[[str], Openstack]


def quotas(rows: list[dict[str, Any]], column: str = "Limit") -> dict[str, Any]:
    return {row["Resource"]: row[column] for row in rows if row[column] is not None}


def test_quotas_are_set_used_up_listed_and_deleted(openstack: Openstack) -> None:
    usual = quotas(openstack("quota show --network --default blue"))
    assert openstack("quota list --network") == []
    openstack.run("quota set --networks 1 --ports 7 blue")
    shown = quotas(openstack("quota show --network blue"))
    assert shown == usual | {"networks": 1, "ports": 7}
    (row,) = openstack("quota list --network")
    assert (row["Project ID"], row["Networks"], row["Ports"]) == ("blue", 1, 7)

    openstack("network create one --project blue")
    assert "quota exceeded" in openstack.refusal("network create two --project blue")
    openstack("network create two --project red")
    used = quotas(openstack("quota show --network --usage blue"), "In Use")
    assert (used["networks"], used["ports"]) == (1, 0)

    assert "already used 1" in openstack.refusal("quota set --networks 0 blue")
    openstack.run("quota set --networks 0 --force blue")
    openstack.run("quota delete --network blue")
    assert quotas(openstack("quota show --network blue")) == usual


def test_things_are_made_for_a_project_and_listed_by_it(openstack: Openstack) -> None:
    for project, block in (("blue", "10.1.0.0/24"), ("red", "10.2.0.0/24")):
        network = openstack(f"network create {project} --project {project}")
        assert network["project_id"] == project
        where = f"--network {project} --subnet-range {block}"
        openstack(f"subnet create {project} {where} --project {project}")
        openstack(f"port create {project} --network {project} --project {project}")
        openstack(f"subnet pool create {project} --pool-prefix 10.8.0.0/16 --project {project}")
        openstack(f"address scope create {project} --project {project}")
    for noun in ("network", "subnet", "port", "subnet pool", "address scope"):
        (row,) = openstack(f"{noun} list --project red")
        assert row["Name"] == "red", noun
    (row,) = openstack("ip availability list --project red")
    assert (row["Network Name"], row["Total IPs"], row["Used IPs"]) == ("red", 253, 1)


def test_a_network_is_shared_with_a_project_and_no_longer(openstack: Openstack) -> None:
    network = openstack("network create blue --project blue")
    policy = openstack(
        "network rbac create --type network --action access_as_shared --target-project red blue"
    )
    assert (policy["object_id"], policy["target_project_id"]) == (network["id"], "red")
    (listed,) = openstack("network rbac list --type network --long")
    assert (listed["ID"], listed["Action"]) == (policy["id"], "access_as_shared")
    openstack.run("network", "rbac", "set", "--target-project", "green", policy["id"])
    assert openstack(f"network rbac show {policy['id']}")["target_project_id"] == "green"
    assert openstack("network rbac list --target-project red") == []
    openstack.run("network", "rbac", "delete", policy["id"])
    assert openstack("network rbac list") == []


def test_a_member_shares_with_a_project_that_he_may_not_look_up(log_in: As) -> None:
    alice, bob = log_in("alice"), log_in("bob")
    alice("network create blue")
    alice(
        "network rbac create --type network --action access_as_shared --target-project p-bob blue"
    )
    assert [row["Name"] for row in bob("network list")] == ["blue"]


def test_a_member_sees_the_quotas_of_his_own_project_only(log_in: As) -> None:
    alice = log_in("alice")
    assert quotas(alice("quota show --network p-alice"))["networks"] == 100
    assert "disallowed by policy" in alice.refusal("quota show --network p-bob")
    assert "update_quota" in alice.refusal("quota set --networks 5 p-alice")
