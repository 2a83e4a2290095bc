"""The name that an instance gives to its ports."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lessor.model import Port
from tests.store.store_cloud import Cloud


def instance(cloud: Cloud, **values: Any) -> None:
    known = {"id": "vm-1", "hostname": "web"} | values
    cloud.store.instances.create([cast(Any, known)])


def name_of(cloud: Cloud, port: Port) -> str:
    return cloud.store.ports.get(port.id).dns_name


def test_a_port_made_after_its_instance_has_its_name(cloud: Cloud) -> None:
    instance(cloud)
    assert cloud.port(cloud.network(), device_id="vm-1", name="p").dns_name == "web"


def test_a_port_made_before_its_instance_gets_its_name_and_hosts_hear_of_it(cloud: Cloud) -> None:
    cloud.host("h1")
    port = cloud.port(cloud.network(), "h1", device_id="vm-1")
    instance(cloud)
    assert name_of(cloud, port) == "web"
    assert cloud.store.ports.get(port.id).revision > port.revision


def test_a_name_follows_its_instance(cloud: Cloud) -> None:
    port = cloud.port(cloud.network(), device_id="vm-1")
    instance(cloud)
    cloud.store.instances.update("vm-1", {"hostname": "db"})
    assert name_of(cloud, port) == "db"
    cloud.store.instances.update("vm-1", {"hostname": "", "name": "My VM"})
    assert name_of(cloud, port) == "my-vm"
    cloud.store.instances.delete("vm-1")
    assert name_of(cloud, port) == ""


def test_a_name_of_its_own_stays(cloud: Cloud) -> None:
    port = cloud.port(cloud.network(), device_id="vm-1", dns_name="own")
    instance(cloud)
    cloud.store.instances.update("vm-1", {"hostname": "db"})
    assert name_of(cloud, port) == "own"
    cloud.store.ports.update(port.id, {"device_id": "vm-2"})
    assert name_of(cloud, port) == "own"
    cloud.store.ports.update(port.id, {"device_id": "vm-1", "dns_name": ""})
    assert name_of(cloud, port) == "db"


@pytest.mark.parametrize(("device", "name"), [("vm-2", "db"), ("", ""), ("nobody", "")])
def test_a_port_that_changes_its_instance_changes_its_name(
    cloud: Cloud, device: str, name: str
) -> None:
    instance(cloud)
    instance(cloud, id="vm-2", hostname="db")
    port = cloud.port(cloud.network(), device_id="vm-1")
    assert cloud.store.ports.update(port.id, {"device_id": device}).dns_name == name


def test_another_projects_instance_gives_no_name(cloud: Cloud) -> None:
    network = cloud.network()
    port = cloud.port(network, device_id="vm-1", project_id="p1")
    instance(cloud, project_id="p2")
    assert name_of(cloud, port) == ""
    assert cloud.port(network, device_id="vm-1", project_id="p1").dns_name == ""
    cloud.store.instances.update("vm-1", {"hostname": "db"})
    assert name_of(cloud, port) == ""
    assert cloud.port(network, device_id="vm-1", project_id="p2").dns_name == "db"
