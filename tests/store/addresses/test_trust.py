"""A host's token is valid for that host only: which of its lease events the store accepts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.model import AddressState, Holding, Holdings, LeaseBatch, LeaseEvent, Network
from lessor.store.addresses import holdings
from lessor.store.addresses import leases as lease_rules
from lessor.store.engine import upkeep
from lessor.store.hosts import rules as host_rules
from tests.store.engine.test_recovery import Copies, started_again
from tests.store.store_cloud import Cloud, by, ip_of, ips_of

DAY = 86400.0
MAC = "fa:16:3e:66:00:01"


def event(cloud: Cloud, network_id: str, address: str = "10.0.0.2", **values: Any) -> LeaseEvent:
    known: dict[str, Any] = {
        "seq": 1,
        "action": "add",
        "mac_address": MAC,
        "expires_at": cloud.clock.now + 600,
        "at": cloud.clock.now,
    }
    where = {"network_id": network_id, "address": IPv4Address(address)}
    return LeaseEvent(**known | where | values)


def say(cloud: Cloud, host: str, *events: LeaseEvent, epoch: str = "spool") -> int:
    numbered = tuple(replace(one, seq=n) for n, one in enumerate(events, 1))
    return cloud.store.write(lease_rules.apply, host, LeaseBatch(epoch=epoch, events=numbered))


def leases(cloud: Cloud) -> list[tuple[str, str]]:
    return [(one.host, str(one.address)) for one in cloud.store.leases.find()]


@pytest.fixture
def net(cloud: Cloud) -> Network:
    """A network of h1; h2 takes no part in it."""
    cloud.host("h1")
    cloud.host("h2")
    return cloud.network("10.0.0.0/24", host="h1")


# --- whose networks -------------------------------------------------------------------------------


def test_no_host_fills_the_pool_of_a_network_that_it_does_not_serve(
    cloud: Cloud, net: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    every = [event(cloud, net.id, f"10.0.0.{n}", expires_at=None) for n in range(2, 255)]
    assert say(cloud, "h2", *every) == 253
    assert cloud.store.leases.find() == []
    assert ips_of(cloud.port(net)) == ["10.0.0.2"]
    (line,) = [row for row in capsys.readouterr().out.splitlines() if "passed over" in row]
    for words in ("count=253", "host=h2", net.id, "neither serves the network nor hands it over"):
        assert words in line


@pytest.mark.parametrize("kind", ["network host", "multi-host", "vxlan"])
def test_who_serves_a_network_speaks_for_it(cloud: Cloud, kind: str) -> None:
    for number, name in enumerate(("h1", "h2"), 1):
        cloud.store.write(host_rules.create, name)
        end = IPv4Address(f"192.0.2.{number}")
        cloud.report(name, local_ip=end, network_host=name == "h1")
    values: dict[str, dict[str, Any]] = {
        "vxlan": {"network_type": "vxlan"},
        "multi-host": {"multi_host": True},
    }
    network = cloud.network(**values.get(kind, {"host": "h1"}))
    port = cloud.port(network, "h2" if kind == "vxlan" else "h1")
    for host in ("h1", "h2"):
        say(cloud, host, event(cloud, network.id, str(ip_of(port)), mac_address=port.mac_address))
    assert leases(cloud) == [("h1", str(ip_of(port)))]


def test_the_former_network_host_speaks_until_it_has_let_go(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.store.networks.update(net.id, {"host": "h2"})
    late = event(cloud, net.id, str(ip_of(port)), mac_address=port.mac_address)
    say(cloud, "h1", late)
    assert leases(cloud) == [("h1", str(ip_of(port)))]
    cloud.applied("h1", net)
    say(cloud, "h1", event(cloud, net.id, "10.0.0.9"), epoch="later")
    assert leases(cloud) == [("h1", str(ip_of(port)))]


def test_a_host_ends_its_own_lease_of_a_network_that_left_it(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.networks.update(net.id, {"host": "h2"})
    cloud.applied("h1", net)
    cloud.lease("h1", "del", port)
    assert cloud.store.leases.find(by(live=True)) == []


def test_late_events_do_not_hold_up_those_that_follow(cloud: Cloud, net: Network) -> None:
    """An honest spool: a network was deleted, a subnet was, a VM has a group's MAC."""
    gone = cloud.network("10.0.0.0/24", host="h1", physical_network="physnet2")
    cloud.store.networks.delete(gone.id)
    port = cloud.port(net)
    good = event(cloud, net.id, str(ip_of(port)), mac_address=port.mac_address)
    said = [
        event(cloud, gone.id),
        event(cloud, net.id, "10.9.0.2"),
        event(cloud, net.id, "10.0.0.7", mac_address="01:00:5e:00:00:01"),
        event(cloud, net.id, "10.0.0.8", mac_address="x" * 5000),
        event(cloud, net.id, "10.0.0.9", action="arp-add"),
        good,
    ]
    assert say(cloud, "h1", *said) == 6
    assert leases(cloud) == [("h1", str(ip_of(port)))]
    assert say(cloud, "h1", *said) == 6


def test_a_snapshot_keeps_the_leases_that_it_names_though_they_are_passed_over(
    cloud: Cloud, net: Network
) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.networks.update(net.id, {"host": "h2"})
    cloud.applied("h1", net)
    named = event(cloud, net.id, str(ip_of(port)), mac_address=port.mac_address)
    cloud.store.write(
        lease_rules.apply, "h1", LeaseBatch(epoch="new", events=(named,), snapshot=True)
    )
    assert len(cloud.store.leases.find(by(live=True))) == 1


# --- times ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "kept"),
    [
        pytest.param(1e300, DAY, id="never"),
        pytest.param(-1e12, None, id="before-1970"),
        pytest.param(1.0, None, id="long-ago"),
    ],
)
def test_an_event_is_of_no_impossible_time(
    cloud: Cloud, net: Network, at: float, kept: float | None
) -> None:
    say(cloud, "h1", event(cloud, net.id, at=at))
    (lease,) = cloud.store.leases.find()
    expected = cloud.clock.now + kept if kept else (at if at > 0 else cloud.clock.now)
    assert (lease.started_at, lease.renewed_at) == (expected, expected)


@pytest.mark.parametrize("end", [None, 1e300, 4e9])
def test_no_lease_is_longer_than_dhcp_lease_time(
    cloud: Cloud, net: Network, end: float | None
) -> None:
    say(cloud, "h1", event(cloud, net.id, expires_at=end))
    assert cloud.store.leases.find()[0].expires_at == cloud.clock.now + DAY


def test_a_lease_from_before_dhcp_lease_time_was_lowered_keeps_its_end(
    make_cloud: Callable[..., Cloud],
) -> None:
    """A DHCP server that is started again reports each lease once more."""
    before = make_cloud()
    before.host("h1")
    net = before.network(host="h1")
    port = before.port(net)
    given = before.lease("h1", "add", port)
    before.store.close()
    cloud = make_cloud(dhcp_lease_time=3600)
    again = replace(given, action="old")
    for told, kept in ((again, DAY), (replace(again, expires_at=given.at + 2 * DAY), 3600.0)):
        cloud.store.write(lease_rules.apply, "h1", LeaseBatch(epoch=f"{kept}", events=(told,)))
        assert cloud.store.leases.find()[0].expires_at == given.at + kept


# --- holdings -------------------------------------------------------------------------------------


def all_of(network: Network) -> tuple[Holding, ...]:
    return tuple(Holding(network.id, IPv4Address(f"10.0.0.{n}"), MAC) for n in range(2, 255))


def test_no_host_holds_addresses_of_others_unasked(cloud: Cloud, net: Network) -> None:
    said = Holdings(
        epoch=cloud.store.epoch,
        ports=all_of(net),
        leases=(event(cloud, net.id, "10.0.0.3", action="old"),),
    )
    assert cloud.store.write(holdings.report, "h2", said)
    assert cloud.store.leases.find() == []
    assert ips_of(cloud.port(net)) == ["10.0.0.2"]


def test_an_awaited_host_is_believed_once_however_late(cloud: Cloud, net: Network) -> None:
    """The store lost that the network had moved to h2."""
    cloud.store.housekeep()
    copies = Copies(cloud)
    copy = copies.take()
    cloud.store.close()
    copies.put_back(copy)
    upkeep.restored(cloud.settings)
    with started_again(cloud) as again:
        again.wait(again.settings.agent_down_time + 1)
        for address in ("10.0.0.2", "10.0.0.3"):
            told = event(again, net.id, address, action="old")
            again.store.write(
                holdings.report, "h2", Holdings(epoch=again.store.epoch, leases=(told,))
            )
            again.applied("h2", net)
        states = [again.state(net, address) for address in ("10.0.0.2", "10.0.0.3")]
        assert states == [AddressState.RELEASING, None]


def test_addresses_of_ports_are_told_with_macs_that_can_be_a_ports(
    cloud: Cloud, net: Network
) -> None:
    for mac in ("x" * 5000, "01:00:5e:00:00:01", ""):
        held = (Holding(net.id, IPv4Address("10.0.0.2"), mac),)
        cloud.store.write(holdings.report, "h1", Holdings(epoch=cloud.store.epoch, ports=held))
    assert ips_of(cloud.port(net)) == ["10.0.0.2"]
