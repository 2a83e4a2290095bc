from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.model import PortReport
from lessor.store.hosts import rules as host_rules
from tests.store.store_cloud import Cloud

DOWN_S = 75


@pytest.fixture
def cloud(make_cloud: Callable[..., Cloud]) -> Cloud:
    """One host with all it needs for flat and vxlan networks, in a server that runs for a while."""
    cloud = make_cloud(agent_down_time=DOWN_S)
    cloud.host("h1")
    cloud.wait(DOWN_S)
    said(cloud, "h1")
    return cloud


def said(cloud: Cloud, host: str, **values: Any) -> None:
    known: dict[str, Any] = {
        "physical_networks": ("physnet1",),
        "local_ip": IPv4Address("192.0.2.1"),
    }
    cloud.report(host, **known | values)


@pytest.mark.parametrize(
    "network", [{}, {"network_type": "vxlan"}, {"physical_network": "physnet1"}]
)
def test_a_live_host_with_the_network_can_be_bound_to(cloud: Cloud, network: Any) -> None:
    port = cloud.port(cloud.network(**network), "h1")
    assert not port.binding_failed
    assert not cloud.store.ports.get(port.id).binding_failed


@pytest.mark.parametrize("network", [{"physical_network": "physnet2"}, {"network_type": "vxlan"}])
def test_a_host_without_the_network_fails(cloud: Cloud, network: Any) -> None:
    said(cloud, "h1", local_ip=None)
    port = cloud.port(cloud.network(**network), "h1")
    assert port.binding_failed
    assert cloud.store.ports.get(port.id) == port


def test_a_dead_host_fails_and_one_that_dies_later_does_not(cloud: Cloud) -> None:
    network = cloud.network()
    early = cloud.port(network, "h1")
    cloud.wait(DOWN_S + 1)
    late = cloud.port(network, "h1")
    assert late.binding_failed
    assert not cloud.store.ports.get(early.id).binding_failed
    assert not cloud.store.ports.update(early.id, {"binding_host": "h1"}).binding_failed


def test_a_host_that_never_spoke_fails(cloud: Cloud) -> None:
    cloud.store.write(host_rules.create, "h2")
    assert cloud.port(cloud.network(), "h2").binding_failed


def test_a_young_server_believes_hosts_that_it_has_not_heard_yet(
    make_cloud: Callable[..., Cloud],
) -> None:
    cloud = make_cloud(agent_down_time=DOWN_S)
    cloud.host("h1")
    said(cloud, "h1")
    cloud.store.close()
    again = make_cloud(agent_down_time=DOWN_S)
    again.clock.now += DOWN_S - 1
    assert not again.port(again.network(), "h1").binding_failed


def test_each_new_binding_is_judged(cloud: Cloud) -> None:
    cloud.store.write(host_rules.create, "h2")
    port = cloud.port(cloud.network())
    assert cloud.store.ports.update(port.id, {"binding_host": "h2"}).binding_failed
    assert not cloud.store.ports.update(port.id, {"binding_host": "h1"}).binding_failed
    assert cloud.store.ports.update(port.id, {"binding_host": "h2"}).binding_failed
    assert not cloud.store.ports.update(port.id, {"binding_host": None}).binding_failed


def test_a_host_that_has_the_port_after_all_is_believed(cloud: Cloud) -> None:
    cloud.store.write(host_rules.create, "h2")
    port = cloud.port(cloud.network(), "h2")
    cloud.wire("h2", port, wired=False, pending="physnet1 is not on this host")
    assert cloud.store.ports.get(port.id).binding_failed
    cloud.wire("h2", port, wired=True)
    assert not cloud.store.ports.get(port.id).binding_failed


@pytest.mark.parametrize("network", [{}, {"network_type": "vxlan"}])
def test_a_host_that_comes_up_after_the_binding_can_be_plugged_into(
    cloud: Cloud, network: Any
) -> None:
    cloud.store.write(host_rules.create, "h2")
    port = cloud.port(cloud.network(**network), "h2")
    assert port.binding_failed
    word = PortReport(revision=port.revision, wired=False, pending="tap missing")
    said(cloud, "h2", local_ip=IPv4Address("192.0.2.2"), ports={port.id: word})
    assert not cloud.store.ports.get(port.id).binding_failed
