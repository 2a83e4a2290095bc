"""Tags, quotas, further bindings and room, on both kinds of database."""

from __future__ import annotations

from typing import Any

import pytest

from lessor.errors import Conflict, NotFound, Outdated
from lessor.store import tagrows, tags
from lessor.store.addresses import availability
from lessor.store.ports import bindings as portbindings
from lessor.store.query import Query
from lessor.store.sharing import quotas
from tests.store.store_cloud import Cloud, by


def names(cloud: Cloud, **filters: Any) -> list[str]:
    """Return the names of the ports that have one of the values of each filter."""
    wanted = {
        name.replace("_any", "-any").replace("not_", "not-"): v for name, v in filters.items()
    }
    return sorted(port.name for port in cloud.store.ports.find(by(**wanted)))


def test_ports_are_found_by_tags_and_by_how_they_are_plugged(cloud: Cloud) -> None:
    network = cloud.network()
    cloud.host("h1")
    for words in ("a", "b", "ab", "abc"):
        cloud.port(network, "h1" if "c" in words else None, name=words, tags=tuple(words))
    cloud.port(network, name="-", fixed_ips=())
    assert names(cloud, tags=["a", "b"]) == ["ab", "abc"]
    assert names(cloud, tags_any=["a", "c"]) == ["a", "ab", "abc"]
    assert names(cloud, not_tags=["a", "b"]) == ["-", "a", "b"]
    assert names(cloud, not_tags_any=["a", "b"]) == ["-"]
    assert names(cloud, ip_allocation="none") == ["-"]
    assert names(cloud, vif_type="unbound") == ["-", "a", "ab", "b"]
    assert names(cloud, vif_type="nonsense") == []
    assert names(cloud, changed_since=cloud.clock.now + 1) == []
    assert len(names(cloud, changed_since=cloud.clock.now)) == 5


def test_tags_change_and_go_with_their_row(cloud: Cloud) -> None:
    port = cloud.port(cloud.network(), tags=("x",))
    cloud.store.write(tags.add, "port", port.id, ["y"])
    cloud.store.write(tags.remove, "port", port.id, "x")
    assert cloud.store.read(tagrows.of, [port.id]) == {port.id: ["y"]}
    assert cloud.store.ports.get(port.id).revision > port.revision
    with pytest.raises(NotFound):
        cloud.store.write(tags.remove, "port", port.id, "x")
    cloud.store.ports.delete(port.id)
    assert cloud.store.read(tagrows.of, [port.id]) == {}


def test_a_change_of_another_revision_is_refused(cloud: Cloud) -> None:
    port = cloud.port(cloud.network())
    changed = cloud.store.ports.update(port.id, {"name": "a"}, port.revision)
    with pytest.raises(Outdated):
        cloud.store.ports.update(port.id, {"name": "b"}, port.revision)
    with pytest.raises(Outdated):
        cloud.store.ports.delete(port.id, port.revision)
    cloud.store.ports.delete(port.id, changed.revision)


def test_a_quota_holds_for_one_project(cloud: Cloud) -> None:
    network = cloud.network()
    assert cloud.store.write(quotas.set_limits, "p1", {"port": 1})["port"] == 1
    assert cloud.store.write(quotas.set_limits, "p1", {"port": 2})["port"] == 2
    made = [cloud.port(network, project_id="p1") for _ in range(2)]
    with pytest.raises(Conflict, match=r"quota exceeded .*2 of 2"):
        cloud.port(network, project_id="p1")
    cloud.port(network, project_id="p2")
    assert cloud.store.read(quotas.usage, "p1")["port"] == 2
    cloud.store.ports.delete(made[0].id)
    cloud.port(network, project_id="p1")
    assert list(cloud.store.read(quotas.projects)) == ["p1"]
    cloud.store.write(quotas.reset, "p1")
    cloud.port(network, project_id="p1")


def test_room_is_what_the_pools_have_and_what_is_taken(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/29")
    cloud.port(network)
    bare = cloud.network(None)
    found = cloud.store.read(availability.of_networks, [network.id, bare.id])
    assert [(room.total, room.used) for room in found[network.id]] == [(5, 1)]
    assert found[bare.id] == []


def test_bindings_change_places(cloud: Cloud) -> None:
    for name in ("h1", "h2"):
        cloud.host(name)
    port = cloud.port(cloud.network(), "h1", binding_profile={"a": [1]})
    cloud.store.write(portbindings.create, port.id, {"host": "h2", "profile": {"b": None}})
    with pytest.raises(Conflict):
        cloud.store.write(portbindings.create, port.id, {"host": "h2"})
    moved = cloud.store.write(portbindings.activate, port.id, "h2")
    assert (moved.binding_host, moved.binding_profile) == ("h2", {"b": None})
    found = {
        one.host: (one.active, one.profile)
        for one in cloud.store.read(portbindings.of_port, port.id)
    }
    assert found == {"h2": (True, {"b": None}), "h1": (False, {"a": [1]})}
    cloud.store.write(portbindings.remove, port.id, "h1")
    cloud.store.ports.delete(port.id)
    assert cloud.store.ports.find(Query()) == []
