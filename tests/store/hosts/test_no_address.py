"""A network that no DHCP server serves says so, and so do its ports, with the way out."""

from __future__ import annotations

from typing import Any

import pytest

from lessor.model import Network, Port, Problem
from lessor.store.hosts import dhcp_scheduler, failover, no_address
from tests.store.hosts.test_dhcp_scheduler import Fleet
from tests.store.store_cloud import Cloud

WHY = "dnsmasq does not answer"
WIRE = {"physical_networks": ("physnet1",)}


@pytest.fixture
def fleet(cloud: Cloud) -> Fleet:
    found = Fleet(cloud, set())
    found.add("n1", "n2", "c3")
    for host in ("n1", "n2", "c3"):
        found.beat(host, **WIRE)
    return found


def passes(fleet: Fleet, seconds: int, *alive: str) -> None:
    """Let time go by in which only these hosts report."""
    for _ in range(seconds):
        fleet.cloud.clock.now += 1
        for host in alive:
            fleet.beat(host, **WIRE)
        failover.watch(fleet.cloud.store)


def of(fleet: Fleet, network: Network, port: Port | None = None) -> str:
    found = no_address.recent(fleet.cloud.store)
    return found.of_port(port) if port else found.of_network(network.id)


def flat(fleet: Fleet, **values: Any) -> Network:
    return fleet.cloud.network(name="office", network_type="flat", **values)


def test_a_flat_network_of_a_silent_host_says_so_with_the_command_that_moves_it(
    fleet: Fleet,
) -> None:
    network = flat(fleet, host="n1")
    port = fleet.cloud.port(network, "c3")
    passes(fleet, 11, "n2", "c3")
    assert of(fleet, network) == ""
    passes(fleet, 1, "n2", "c3")
    words = "its DHCP server and gateway n1 is silent for 12 s; its VMs get no address"
    assert of(fleet, network).startswith(words)
    assert of(fleet, network).endswith("move it: lessor network set office --host n2")
    assert of(fleet, network, port) == of(fleet, network)
    passes(fleet, 75, "n2", "c3")
    assert "n1 is down, silent for 87 s" in of(fleet, network)
    fleet.cloud.store.networks.update(network.id, {"host": "n2"})
    assert of(fleet, network, port) == ""


def test_without_another_host_no_command_is_named(fleet: Fleet) -> None:
    network = flat(fleet, host="n1")
    fleet.beat("n2", physical_networks=())
    for _ in range(12):
        fleet.cloud.clock.now += 1
        fleet.beat("n2", physical_networks=())
    assert of(fleet, network).endswith("no other network host with physnet1 is up to move it to")


def test_a_name_that_two_networks_have_is_not_used_in_the_command(fleet: Fleet) -> None:
    network = flat(fleet, host="n1")
    fleet.cloud.network(None, name="office", network_type="vxlan")
    passes(fleet, 12, "n2")
    assert f"lessor network set {network.id} --host n2" in of(fleet, network)


def test_a_flat_network_that_its_host_reports_unserved_says_so(fleet: Fleet) -> None:
    network = flat(fleet, host="n1")
    fleet.beat("n1", **WIRE, unserved={network.id: WHY})
    assert f"n1 can't serve it: {WHY}" in of(fleet, network)
    fleet.beat("n1", **WIRE, unserved={})
    assert of(fleet, network) == ""


def test_a_vxlan_network_that_no_other_host_can_take_says_so(fleet: Fleet) -> None:
    network = fleet.network()
    port = fleet.cloud.port(network, "c3")
    [host] = fleet.on(network)
    other = "n2" if host == "n1" else "n1"
    fleet.beat(str(host), **WIRE, unserved={network.id: WHY})
    assert of(fleet, network, port).endswith("moves to another host after 10 s")
    fleet.beat(other, network_host=False)
    fleet.cloud.clock.now += 1
    assert of(fleet, network, port).endswith(
        "no other network host with a local_ip is up to take it"
    )


def test_a_network_with_one_more_dhcp_host_that_serves_is_served(fleet: Fleet) -> None:
    network = fleet.network()
    for host in {"n1", "n2"} - {str(one) for one in fleet.on(network)}:
        fleet.cloud.store.write(dhcp_scheduler.add, network.id, host)
    fleet.beat("n1", **WIRE, unserved={network.id: WHY})
    assert of(fleet, network) == ""
    fleet.beat("n2", **WIRE, unserved={network.id: WHY})
    assert of(fleet, network).startswith("its DHCP hosts: n1 can't serve it")


def test_on_a_multi_host_network_only_the_ports_of_the_host_say_so(fleet: Fleet) -> None:
    network = flat(fleet, multi_host=True)
    here, there = fleet.cloud.port(network, "n1"), fleet.cloud.port(network, "n2")
    passes(fleet, 12, "n2", "c3")
    assert "on its host n1 is silent for 12 s" in of(fleet, network, here)
    assert of(fleet, network, there) == ""
    assert "n1 is silent" in of(fleet, network)


def test_a_move_is_told_at_the_network(fleet: Fleet) -> None:
    network = fleet.network()
    passes(fleet, 20, "n1", "n2", "c3")
    [host] = fleet.on(network)
    passes(fleet, 12, *{"n1", "n2", "c3"} - {str(host)})
    [move] = no_address.recent(fleet.cloud.store).moves[network.id]
    assert (move.source, move.reason) == (host, "silent")
    assert of(fleet, network) == ""


def test_names_are_shown_in_a_hosts_problems(fleet: Fleet) -> None:
    network = flat(fleet, host="n1")
    port = fleet.cloud.port(network, "c3", name="o2")
    problems = (
        Problem(text=f"port {port.id} answers DHCP", ports=(port.id,), networks=(network.id,)),
        Problem(text="tap1 is not ready", ports=(port.id,)),
        Problem(text=f"{network.id} is narrow", networks=(network.id,)),
    )
    fleet.beat("c3", problems=problems)
    said = [one.text for one in fleet.cloud.store.hosts.get("c3").problems]
    assert said == ["port o2 answers DHCP", "port o2: tap1 is not ready", "office is narrow"]


def stray(port: Port) -> Problem:
    return Problem(text="a tap", key=f"stray tap{port.id[:11]}", waits=True)


def test_a_tap_on_another_host_than_its_port_is_said_at_both(fleet: Fleet) -> None:
    port = fleet.cloud.port(flat(fleet, host="n1"), "n2", name="o1")
    unknown = Problem(text="a tap", key="stray tapffffffff-ff")
    fleet.beat("c3", problems=(stray(port), unknown))
    words = (
        f"tap{port.id[:11]} is on c3, the port is bound to n2; if the VM runs on c3: "
        "lessor port set o1 --host c3"
    )
    assert no_address.recent(fleet.cloud.store).ports == {port.id: words}
    assert [one.text for one in fleet.cloud.store.hosts.get("c3").problems] == [words]
    fleet.cloud.store.ports.update(port.id, {"binding_host": "c3"})
    assert fleet.cloud.store.hosts.get("c3").problems == ()
    fleet.cloud.clock.now += 1
    assert no_address.recent(fleet.cloud.store).ports == {}
