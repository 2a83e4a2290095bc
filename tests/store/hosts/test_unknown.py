"""Ports bound to hosts that do not exist: accepted with binding_failed, until the host exists."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lessor.errors import Invalid, NotFound
from lessor.store import rowcounts
from lessor.store.addresses import housekeeping
from lessor.store.engine import database
from lessor.store.hosts import rules as host_rules
from lessor.store.ports import bindings as portbindings
from tests.store.store_cloud import Cloud, by


def test_a_port_bound_to_an_unknown_host_says_that_it_failed(cloud: Cloud) -> None:
    network = cloud.network()
    port = cloud.port(network, "h9")
    assert (port.binding_host, port.binding_failed) == ("h9", True)
    other = cloud.store.ports.update(cloud.port(network).id, {"binding_host": "h9"})
    assert (other.binding_host, other.binding_failed) == ("h9", True)
    assert {row.id for row in cloud.store.ports.find(by(binding_host="h9"))} == {port.id, other.id}


def test_an_unknown_host_is_shown_nowhere(cloud: Cloud) -> None:
    cloud.port(cloud.network(), "h9")
    assert cloud.store.hosts.find() == []
    with pytest.raises(NotFound):
        cloud.store.hosts.get("h9")
    with pytest.raises(NotFound):
        cloud.store.write(host_rules.remove, "h9")
    assert cloud.store.read(rowcounts.read).hosts == 0
    with pytest.raises(Invalid, match="lessor host add h9"):
        cloud.network(None, host="h9")


def test_a_host_that_is_added_later_has_its_ports(cloud: Cloud) -> None:
    network = cloud.network()
    port = cloud.port(network, "h9")
    cloud.host("h9")
    assert [host.name for host in cloud.store.hosts.find()] == ["h9"]
    cloud.wire("h9", port, wired=True)
    after = cloud.store.ports.get(port.id)
    assert (after.binding_host, after.binding_failed) == ("h9", False)


def test_a_setting_refuses_unknown_hosts(make_cloud: Callable[..., Cloud]) -> None:
    before = make_cloud()
    network = before.network()
    before.port(network, "h9")
    cloud = make_cloud(bind_unknown_hosts=False)
    port = cloud.port(network)
    for name in ("h8", "h9"):
        with pytest.raises(Invalid, match=f"lessor host add {name}") as caught:
            cloud.port(network, name)
        assert caught.value.type == "HostNotFound"
        with pytest.raises(Invalid):
            cloud.store.ports.update(port.id, {"binding_host": name})
        with pytest.raises(Invalid):
            cloud.store.write(portbindings.create, port.id, {"host": name})


def test_an_unknown_host_is_forgotten_with_its_last_binding(cloud: Cloud) -> None:
    network = cloud.network()
    port, other = cloud.port(network, "h9"), cloud.port(network)
    cloud.store.write(portbindings.create, other.id, {"host": "h9"})

    def rows() -> int:
        cloud.store._writer.run(housekeeping.purge)
        with database.reading(cloud.store._engine) as conn:
            return conn.exec_driver_sql("SELECT count(*) FROM hosts").scalar_one()  # type: ignore[no-any-return]

    cloud.store.ports.delete(port.id)
    assert rows() == 1
    cloud.store.write(portbindings.remove, other.id, "h9")
    assert rows() == 0
