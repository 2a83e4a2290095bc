from __future__ import annotations

import uuid
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.errors import Conflict
from lessor.model import Port
from lessor.settings import NovaSettings
from lessor.store import rowcounts
from lessor.store.ports import bindings as portbindings
from lessor.store.ports import compute_events
from lessor.store.values import FixedIpRequest
from tests.store.store_cloud import Cloud

VM = str(uuid.uuid4())


@pytest.fixture
def cloud(make_cloud: Callable[..., Cloud]) -> Cloud:
    cloud = make_cloud(nova=NovaSettings(endpoint_override="http://127.0.0.1:1/v2.1"))
    cloud.host("h1")
    cloud.host("h2")
    return cloud


def vm_port(cloud: Cloud, **values: Any) -> Port:
    known: dict[str, Any] = {"device_id": VM, "device_owner": "compute:nova"}
    return cloud.port(cloud.network(host="h1"), "h1", **known | values)


def told(cloud: Cloud) -> list[str]:
    """Take what waits, as the one who sends."""
    events = compute_events.due(cloud.store)
    cloud.store.write(compute_events.drop, [event.id for event in events])
    return [event.name for event in events]


def ready(cloud: Cloud, port: Port) -> None:
    cloud.wire(port.binding_host or "", port, wired=True, served=True)


def test_a_port_that_becomes_active_is_plugged_once(cloud: Cloud) -> None:
    port = vm_port(cloud)
    assert told(cloud) == []
    cloud.wire("h1", port, wired=True)
    assert told(cloud) == []
    ready(cloud, port)
    (event,) = compute_events.due(cloud.store)
    assert (event.name, event.server_uuid, event.port_id) == ("network-vif-plugged", VM, port.id)
    ready(cloud, port)
    assert told(cloud) == ["network-vif-plugged"]


def test_a_tap_on_a_host_that_is_prepared_is_plugged_once(cloud: Cloud) -> None:
    """Nova waits for it before it moves a VM while that runs (live_migration_wait_for_vif_plug)."""
    port = vm_port(cloud)
    ready(cloud, port)
    told(cloud)
    cloud.wire("h2", port, wired=True)
    assert told(cloud) == [], "h2 is not prepared"
    before = cloud.store.ports.get(port.id)
    cloud.store.write(portbindings.create, port.id, {"host": "h2"})
    cloud.wire("h2", port, revision=before.revision, wired=True)
    assert told(cloud) == [], "it was said of the port as it was before"
    cloud.wire("h2", port, wired=False, pending="tap missing")
    assert told(cloud) == []
    for _ in range(2):
        cloud.wire("h2", port, wired=True)
    (event,) = compute_events.due(cloud.store)
    assert (event.name, event.server_uuid, event.port_id) == ("network-vif-plugged", VM, port.id)
    told(cloud)
    assert cloud.store.ports.get(port.id).status == "ACTIVE"

    cloud.store.write(portbindings.activate, port.id, "h2")
    cloud.wire("h1", port, wired=True, served=True)
    assert told(cloud) == ["network-vif-unplugged"], "nobody waits for the host that it left"
    cloud.wire("h2", port, wired=True)
    assert told(cloud) == ["network-vif-plugged"]


def test_a_host_that_is_prepared_anew_is_told_of_anew(cloud: Cloud) -> None:
    port = vm_port(cloud)
    ready(cloud, port)
    told(cloud)
    for _ in range(2):
        cloud.store.write(portbindings.create, port.id, {"host": "h2"})
        cloud.wire("h2", port, wired=True)
        assert told(cloud) == ["network-vif-plugged"]
        cloud.store.write(portbindings.remove, port.id, "h2")


def test_a_tap_that_is_gone_is_unplugged_and_plugged_again(cloud: Cloud) -> None:
    port = vm_port(cloud)
    ready(cloud, port)
    for _ in range(2):
        cloud.wire("h1", port, wired=False, pending="tap missing")
    ready(cloud, port)
    assert told(cloud) == ["network-vif-plugged", "network-vif-unplugged", "network-vif-plugged"]


def test_a_dhcp_server_that_is_away_unplugs_nobody(cloud: Cloud) -> None:
    port = vm_port(cloud)
    ready(cloud, port)
    cloud.wire("h1", port, served=False, pending="dnsmasq died")
    ready(cloud, port)
    assert told(cloud) == ["network-vif-plugged"]


@pytest.mark.parametrize("values", [{"binding_host": "h2"}, {"admin_state_up": False}])
def test_a_port_that_moves_or_goes_down_is_unplugged(cloud: Cloud, values: Any) -> None:
    port = vm_port(cloud)
    ready(cloud, port)
    cloud.store.ports.update(port.id, values)
    assert told(cloud) == ["network-vif-plugged", "network-vif-unplugged"]


def test_a_port_that_moved_is_plugged_when_its_new_host_has_it(cloud: Cloud) -> None:
    port = vm_port(cloud)
    ready(cloud, port)
    cloud.store.ports.update(port.id, {"binding_host": "h2"})
    told(cloud)
    cloud.wire("h1", port, served=True)
    assert told(cloud) == []
    cloud.wire("h2", port, wired=True)
    assert told(cloud) == ["network-vif-plugged"]


def test_new_addresses_change_the_network_of_a_vm_and_unplug_nothing(cloud: Cloud) -> None:
    port = vm_port(cloud)
    ready(cloud, port)
    cloud.store.ports.update(
        port.id, {"fixed_ips": (FixedIpRequest(None, IPv4Address("10.0.0.77")),)}
    )
    ready(cloud, port)
    cloud.store.ports.update(port.id, {"name": "other"})
    assert told(cloud) == ["network-vif-plugged", "network-changed"]


def test_a_deleted_port_is_said_to_be_deleted(cloud: Cloud) -> None:
    cloud.store.ports.delete(vm_port(cloud).id)
    assert cloud.store.read(rowcounts.read).nova_events == 1
    assert told(cloud) == ["network-vif-deleted"]


@pytest.mark.parametrize(
    "values",
    [
        {"device_owner": ""},
        {"device_owner": "network:router_interface"},
        {"device_id": "not-a-uuid"},
        {"device_id": ""},
    ],
)
def test_only_ports_of_vms_concern_nova(cloud: Cloud, values: Any) -> None:
    port = vm_port(cloud, **values)
    ready(cloud, port)
    cloud.store.ports.delete(port.id)
    assert told(cloud) == []


def test_what_is_not_wanted_is_not_noted(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud()
    cloud.host("h1")
    port = vm_port(cloud)
    ready(cloud, port)
    cloud.store.ports.delete(port.id)
    assert compute_events.due(cloud.store) == []


def test_a_failed_change_tells_nothing(cloud: Cloud) -> None:
    network = cloud.network(host="h1")
    port = cloud.port(network, "h1", device_id=VM, device_owner="compute:nova")
    taken = cloud.port(network).fixed_ips[0].address
    wish = FixedIpRequest(None, taken)
    with pytest.raises(Conflict):
        cloud.store.ports.update(port.id, {"fixed_ips": (wish,), "admin_state_up": False})
    assert told(cloud) == []
