"""openstacksdk's calls for quotas, sharing, projects."""

from __future__ import annotations

from typing import Any

import pytest
from openstack import exceptions


def test_quotas_are_read_set_used_up_and_deleted(network: Any) -> None:
    usual = network.get_quota_default("blue")
    assert network.get_quota("blue").networks == usual.networks
    assert list(network.quotas()) == []
    changed = network.update_quota("blue", networks=1, ports=7)
    assert (changed.networks, changed.ports, changed.subnets) == (1, 7, usual.subnets)
    assert [(row.project_id, row.networks) for row in network.quotas()] == [("blue", 1)]
    made = network.create_network(name="one", project_id="blue")
    with pytest.raises(exceptions.ConflictException, match="quota exceeded"):
        network.create_network(name="two", project_id="blue")
    assert network.get_quota("blue", details=True).networks["used"] == 1
    with pytest.raises(exceptions.BadRequestException, match="already used 1"):
        network.update_quota("blue", networks=0, check_limit=True)
    network.delete_network(made)
    network.delete_quota("blue")
    assert network.get_quota("blue").networks == usual.networks


def test_a_network_is_shared_with_a_project(network: Any, blue: Any) -> None:
    made = network.create_rbac_policy(
        object_type="network",
        object_id=blue.id,
        action="access_as_shared",
        target_project_id="red",
    )
    assert (made.object_id, made.target_project_id) == (blue.id, "red")
    assert network.get_rbac_policy(made.id).action == "access_as_shared"
    assert [row.id for row in network.rbac_policies(object_id=blue.id)] == [made.id]
    assert list(network.rbac_policies(target_project_id="green")) == []
    changed = network.update_rbac_policy(made, target_project_id="green")
    assert changed.target_project_id == "green"
    network.delete_rbac_policy(made)
    with pytest.raises(exceptions.NotFoundException):
        network.get_rbac_policy(made.id)


def test_a_project_is_whatever_is_named(cloud: Any, network: Any) -> None:
    assert cloud.identity.find_project("blue", ignore_missing=False).id == "blue"
    made = network.create_network(name="n", project_id="red")
    assert [row.id for row in cloud.identity.projects()] == ["red"]
    assert [row.id for row in network.networks(project_id="red")] == [made.id]
    network.delete_network(made)


def test_how_full_networks_are_is_told(network: Any, blue: Any) -> None:
    network.create_port(network_id=blue.id)
    (row,) = network.network_ip_availabilities(network_name="blue")
    assert (row.network_id, row.total_ips, row.used_ips) == (blue.id, 65533, 1)
    assert network.find_network_ip_availability(blue.id, ignore_missing=False).used_ips == 1
    shown = network.get_network_ip_availability(blue.id)
    assert shown.subnet_ip_availability[0]["cidr"] == "10.1.0.0/16"


@pytest.mark.parametrize("noun", ["network", "subnet", "port"])
def test_an_outdated_change_is_refused(network: Any, blue: Any, noun: str) -> None:
    made = {
        "network": lambda: network.get_network(blue.id),
        "subnet": lambda: network.find_subnet("blue4", ignore_missing=False),
        "port": lambda: network.create_port(network_id=blue.id),
    }[noun]()
    update, delete = (getattr(network, f"{verb}_{noun}") for verb in ("update", "delete"))
    seen = made.revision_number
    changed = update(made.id, if_revision=seen, description="first")
    assert changed.revision_number > seen
    with pytest.raises(exceptions.PreconditionFailedException):
        update(made.id, if_revision=seen, description="second")
    with pytest.raises(exceptions.PreconditionFailedException):
        delete(made.id, if_revision=seen)
    assert getattr(network, f"get_{noun}")(made.id).description == "first"
