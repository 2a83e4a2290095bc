"""A DHCP host that reports that it can't serve a network is dead for that network."""

from __future__ import annotations

from typing import Any

import pytest

from lessor.model import Network
from lessor.store.addresses import housekeeping
from lessor.store.hosts import failover, unserved_networks
from lessor.store.hosts.unserved_networks import RECENT_S
from tests.store.hosts.test_dhcp_scheduler import DOWN_S, Fleet
from tests.store.store_cloud import Cloud

WHY = "ovs-vswitchd is not running"


@pytest.fixture
def fleet(cloud: Cloud) -> Fleet:
    return Fleet(cloud, set())


def moves(fleet: Fleet) -> list[tuple[str, str, str, bool]]:
    found = fleet.cloud.store.read(unserved_networks.moves)
    return [(one.source, one.target, one.reason, one.unable) for one in found]


def says(fleet: Fleet, host: str, *networks: Network) -> None:
    fleet.beat(host, unserved={network.id: WHY for network in networks})


def test_its_dhcp_server_moves_after_dhcp_down_time(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(30)
    says(fleet, "n1", network)
    fleet.run(DOWN_S - 1)
    assert fleet.on(network) == ["n1"]
    fleet.run(1)
    assert fleet.on(network) == ["n2"]
    assert moves(fleet) == [("n1", "n2", WHY, True)]


def test_networks_that_it_serves_stay(fleet: Fleet) -> None:
    fleet.add("n1")
    bad, good = fleet.network(), fleet.network()
    fleet.add("n2")
    fleet.run(30)
    says(fleet, "n1", bad)
    fleet.run(2 * DOWN_S)
    assert (fleet.on(bad), fleet.on(good)) == (["n2"], ["n1"])


def test_one_that_serves_again_in_time_keeps_it(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(30)
    says(fleet, "n1", network)
    fleet.run(DOWN_S - 2)
    says(fleet, "n1")
    fleet.run(5)
    says(fleet, "n1", network)
    fleet.run(DOWN_S - 2)
    assert fleet.on(network) == ["n1"]


def test_a_reason_with_another_number_is_the_same_trouble(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(30)
    for second in range(DOWN_S):
        fleet.beat("n1", unserved={network.id: f"no answer for {second} s"})
        fleet.run(1)
    assert fleet.on(network) == ["n2"]


def test_nothing_moves_where_no_other_host_is_able(fleet: Fleet) -> None:
    fleet.add("n1", "c2")
    network = fleet.network()
    fleet.run(30)
    says(fleet, "n1", network)
    fleet.run(5 * DOWN_S)
    assert (fleet.on(network), moves(fleet)) == (["n1"], [])


def test_it_gets_nothing_back_by_itself(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(30)
    says(fleet, "n1", network)
    fleet.run(DOWN_S)
    says(fleet, "n1")
    fleet.run(5 * DOWN_S)
    assert fleet.on(network) == ["n2"]


def test_two_hosts_that_both_fail_do_not_pass_it_to_and_fro(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(30)
    says(fleet, "n1", network)
    fleet.run(DOWN_S)
    says(fleet, "n1")
    says(fleet, "n2", network)
    fleet.run(5 * DOWN_S)
    assert fleet.on(network) == ["n2"]
    fleet.run(RECENT_S)
    assert fleet.on(network) == ["n1"]


def test_a_new_network_goes_to_a_host_without_failures(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(30)
    says(fleet, "n1", network)
    fleet.run(DOWN_S)
    says(fleet, "n1")
    assert [fleet.on(fleet.network()) for _ in range(3)] == [["n2"]] * 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, "silent"),
        ({"local_ip": None}, "no network host with a local_ip any more"),
    ],
    ids=["silent", "no-end"],
)
def test_other_moves_are_kept_with_their_reason_and_forgotten(
    fleet: Fleet, change: dict[str, Any] | None, reason: str
) -> None:
    fleet.add("n1", "n2")
    fleet.network()
    fleet.run(30)
    fleet.alive.remove("n1")
    if change:
        fleet.beat("n1", **change)
    fleet.run(DOWN_S)
    assert moves(fleet) == [("n1", "n2", reason, False)]
    fleet.cloud.clock.now += RECENT_S
    fleet.cloud.store._writer.run(housekeeping.purge)
    assert moves(fleet) == []


def test_a_host_taken_down_is_the_reason_of_its_moves(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(30)
    failover.update_host(fleet.cloud.store, "n1", {"admin_state_up": False})
    assert fleet.on(network) == ["n2"]
    assert moves(fleet) == [("n1", "n2", "taken down", False)]
