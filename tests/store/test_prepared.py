"""Hosts that are prepared for a port: what their views say."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.core.plan.view import merge, request
from lessor.model import Port, View
from lessor.store import views
from lessor.store.ports import bindings as portbindings
from tests.store.store_cloud import Cloud

MANAGED = {"tap": "managed"}


class Hosts:
    """What each host has been told so far."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._views: dict[str, View] = {}

    def port(self, host: str, port: Port) -> Port | None:
        """Return a port as a host knows it now."""
        before = self._views.get(host, View())
        answer = views.answer(self._cloud.store, host, request(before, 0))
        self._views[host] = view = merge(before, answer)
        scope = view.scopes.get(port.network_id)
        return scope.ports.get(port.id) if scope else None

    def is_prepared(self, host: str, port: Port) -> bool:
        found = self.port(host, port)
        return found is not None and host in found.prepared_for


@pytest.fixture(params=["flat", "vxlan"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plugged(cloud: Cloud, kind: str) -> Port:
    for n, name in enumerate(("h1", "h2")):
        cloud.host(name)
        cloud.report(name, local_ip=IPv4Address("192.0.2.1") + n)
    return cloud.port(cloud.network(network_type=kind), "h1", binding_profile=MANAGED)


def test_a_host_hears_that_it_is_prepared_and_no_longer_is(cloud: Cloud, kind: str) -> None:
    hosts, port = Hosts(cloud), plugged(cloud, kind)
    assert hosts.port("h2", port) is None
    cloud.store.write(portbindings.create, port.id, {"host": "h2", "profile": MANAGED})
    known = hosts.port("h2", port)
    assert known
    assert (known.prepared_for, known.binding_host) == ({"h2": True}, "h1")
    first = hosts.port("h1", port)
    assert first
    assert first.prepared_for == {"h2": True}

    cloud.store.write(portbindings.remove, port.id, "h2")
    assert hosts.port("h2", port) is None


def test_a_host_that_has_the_network_already_hears_it_too(cloud: Cloud, kind: str) -> None:
    hosts, port = Hosts(cloud), plugged(cloud, kind)
    cloud.port(cloud.store.networks.get(port.network_id), "h2")
    assert not hosts.is_prepared("h2", port)
    cloud.store.write(portbindings.create, port.id, {"host": "h2", "profile": MANAGED})
    assert hosts.is_prepared("h2", port)
    cloud.store.write(portbindings.remove, port.id, "h2")
    assert not hosts.is_prepared("h2", port)


def test_hosts_change_places_when_a_binding_is_activated(cloud: Cloud, kind: str) -> None:
    hosts, port = Hosts(cloud), plugged(cloud, kind)
    cloud.store.write(portbindings.create, port.id, {"host": "h2", "profile": MANAGED})
    hosts.port("h1", port)
    hosts.port("h2", port)
    cloud.store.write(portbindings.activate, port.id, "h2")
    found = {name: hosts.port(name, port) for name in ("h1", "h2")}
    assert {name: (p.prepared_for, p.binding_host) for name, p in found.items() if p} == {
        "h1": ({"h1": True}, "h2"),
        "h2": ({"h1": True}, "h2"),
    }


@pytest.mark.parametrize("profile", [{}, {"tap": "other"}, {"x": '"tap":"managed"'}])
def test_a_binding_says_whether_the_agent_makes_the_tap(
    cloud: Cloud, kind: str, profile: dict[str, Any]
) -> None:
    hosts, port = Hosts(cloud), plugged(cloud, kind)

    def made_by_the_agent() -> bool:
        found = hosts.port("h2", port)
        assert found
        return found.prepared_for["h2"]

    cloud.store.write(portbindings.create, port.id, {"host": "h2", "profile": profile})
    assert not made_by_the_agent()
    cloud.store.write(portbindings.change, port.id, "h2", {"profile": MANAGED})
    assert made_by_the_agent()
    cloud.store.write(portbindings.change, port.id, "h2", {"profile": profile})
    assert not made_by_the_agent()


def test_all_hosts_of_an_overlay_network_have_a_way_to_one_that_is_prepared(cloud: Cloud) -> None:
    port, view = plugged(cloud, "vxlan"), View()
    cloud.host("h3")
    cloud.report("h3", local_ip=IPv4Address("192.0.2.3"))
    cloud.port(cloud.store.networks.get(port.network_id), "h3")

    def ends() -> set[str]:
        nonlocal view
        view = merge(view, views.answer(cloud.store, "h3", request(view, 0)))
        return set(view.scopes[port.network_id].peers)

    woken = set[str]()
    cloud.told()
    cloud.store.subscribe(woken.update)
    assert ends() == {"h1", "h3"}
    cloud.store.write(portbindings.create, port.id, {"host": "h2"})
    cloud.told()
    assert "h3" in woken
    assert ends() == {"h1", "h2", "h3"}
    woken.clear()
    cloud.store.write(portbindings.remove, port.id, "h2")
    cloud.told()
    assert "h3" in woken
    assert ends() == {"h1", "h3"}


def test_a_deleted_port_is_gone_from_the_host_that_was_prepared(cloud: Cloud, kind: str) -> None:
    hosts, port = Hosts(cloud), plugged(cloud, kind)
    other = cloud.port(cloud.store.networks.get(port.network_id), "h2")
    cloud.store.write(portbindings.create, port.id, {"host": "h2", "profile": MANAGED})
    assert hosts.port("h2", port)
    cloud.store.ports.delete(port.id)
    assert hosts.port("h2", port) is None
    assert hosts.port("h2", other)


def test_a_prepared_host_is_woken_by_what_concerns_it(cloud: Cloud, kind: str) -> None:
    port, woken = plugged(cloud, kind), set[str]()
    cloud.store.subscribe(woken.update)

    def wakes(change: Callable[[], object]) -> bool:
        cloud.told()
        woken.clear()
        change()
        cloud.told()
        return "h2" in woken

    store = cloud.store
    assert wakes(
        lambda: store.write(portbindings.create, port.id, {"host": "h2", "profile": MANAGED})
    )
    assert wakes(lambda: store.write(portbindings.change, port.id, "h2", {"profile": {}}))
    assert wakes(lambda: store.write(portbindings.change, port.id, "h2", {"profile": MANAGED}))
    assert wakes(lambda: store.ports.update(port.id, {"admin_state_up": False}))
    assert wakes(lambda: store.write(portbindings.remove, port.id, "h2"))
    store.write(portbindings.create, port.id, {"host": "h2", "profile": MANAGED})
    assert wakes(lambda: store.ports.delete(port.id))
