"""Which hosts serve DHCP on vxlan networks: scheduled, moved from the dead, placed by hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.errors import Conflict, InUse, NotFound
from lessor.model import AddressState, Network, Port, ViewRequest
from lessor.store import instances as instance_rules
from lessor.store import views
from lessor.store.addresses import leases as lease_rules
from lessor.store.hosts import dhcp_scheduler, failover
from lessor.store.hosts import rules as host_rules
from lessor.store.hosts.dhcp_scheduler import PARKED
from lessor.store.hosts.heartbeats import SilenceWatch
from lessor.store.networks import zones as zone_rules
from tests.store.store_cloud import Cloud, by, ip_of, ips_of

DOWN_S = 10  # settings.dhcp_down_time


@dataclass
class Fleet:
    """Hosts whose agents report each second, as long as they live."""

    cloud: Cloud
    alive: set[str]

    def beat(self, host: str, **values: Any) -> None:
        end = IPv4Address(f"192.0.2.{int(host.strip('abcdefghijklmnopqrstuvwxyz.') or 99)}")
        known: dict[str, Any] = {"local_ip": end, "network_host": host.startswith("n")}
        self.cloud.report(host, **known | values)

    def add(self, *hosts: str) -> None:
        for host in hosts:
            self.cloud.store.write(host_rules.create, host)
            self.alive.add(host)
            self.beat(host)

    def run(self, seconds: float) -> None:
        """Let time go by as the server sees it: a look each second, heartbeats of the living."""
        for _ in range(int(seconds)):
            self.cloud.clock.now += 1
            for host in sorted(self.alive):
                self.beat(host)
            failover.watch(self.cloud.store)

    def network(self, cidr: str | None = "10.0.0.0/24", **values: Any) -> Network:
        return self.cloud.network(cidr, **{"network_type": "vxlan", **values})

    def servers(self, network: Network) -> list[Port]:
        return self.cloud.store.ports.find(by(network_id=network.id, device_owner="network:dhcp"))

    def on(self, network: Network) -> list[str | None]:
        return sorted((port.binding_host for port in self.servers(network)), key=str)


@pytest.fixture
def fleet(cloud: Cloud) -> Fleet:
    return Fleet(cloud, set())


@pytest.fixture
def two_each(make_cloud: Callable[..., Cloud]) -> Fleet:
    return Fleet(make_cloud(dhcp_agents_per_network=2), set())


# --- scheduling -----------------------------------------------------------------------------------


def test_a_dhcp_port_is_neutrons(fleet: Fleet) -> None:
    fleet.add("n1.example.org")
    network = fleet.network(project_id="p")
    [port] = fleet.servers(network)
    short = uuid.uuid5(uuid.NAMESPACE_DNS, "n1")
    assert port.device_id == f"dhcp{short}-{network.id}"
    assert (port.binding_host, port.project_id, ips_of(port)) == (
        "n1.example.org",
        "p",
        ["10.0.0.2"],
    )
    assert fleet.cloud.state(network, "10.0.0.2") is AddressState.SERVER


def test_the_host_with_the_fewest_servers_is_chosen(fleet: Fleet) -> None:
    fleet.add("n1", "n2", "n3", "c4")
    made = [fleet.network() for _ in range(5)]
    assert [fleet.on(network) for network in made] == [["n1"], ["n2"], ["n3"], ["n1"], ["n2"]]


def test_a_host_that_cannot_serve_is_not_chosen(fleet: Fleet) -> None:
    fleet.add("n1", "c2", "n3", "n4")
    fleet.beat("n1", local_ip=None)
    fleet.alive -= {"n3"}
    fleet.cloud.clock.now += DOWN_S
    fleet.beat("n4")
    assert fleet.on(fleet.network()) == ["n4"]


def test_as_many_hosts_as_asked_for_serve_a_network(two_each: Fleet) -> None:
    two_each.add("n1", "n2", "n3")
    network = two_each.network()
    assert two_each.on(network) == ["n1", "n2"]
    assert sorted(ips_of(p)[0] for p in two_each.servers(network)) == ["10.0.0.2", "10.0.0.3"]


def test_a_network_without_servers_gets_them_when_hosts_appear(two_each: Fleet) -> None:
    network = two_each.network()
    assert two_each.on(network) == []
    two_each.add("c9", "n1")
    assert two_each.on(network) == ["n1"]
    two_each.add("n2")
    assert two_each.on(network) == ["n1", "n2"]
    two_each.add("n3")
    assert two_each.on(network) == ["n1", "n2"]


def test_the_server_port_is_nobodys_to_change(fleet: Fleet) -> None:
    fleet.add("n1")
    [port] = fleet.servers(fleet.network())
    with pytest.raises(InUse, match="DHCP server's of host n1"):
        fleet.cloud.store.ports.update(port.id, {"binding_host": None})
    with pytest.raises(InUse, match="DHCP server's of host n1"):
        fleet.cloud.store.ports.delete(port.id)


# --- fail-over ------------------------------------------------------------------------------------


def test_the_port_of_a_dead_host_moves_as_it_is(fleet: Fleet) -> None:
    fleet.add("n1", "n2", "c3")
    network = fleet.network()
    fleet.cloud.port(network, "c3")
    fleet.run(30)
    [before] = fleet.servers(network)
    fleet.alive.remove("n1")
    fleet.run(DOWN_S - 1)
    assert fleet.on(network) == ["n1"]
    fleet.run(1)
    [after] = fleet.servers(network)
    assert after.binding_host == "n2"
    assert (after.id, after.mac_address, after.fixed_ips) == (
        before.id,
        before.mac_address,
        before.fixed_ips,
    )
    assert str(uuid.uuid5(uuid.NAMESPACE_DNS, "n2")) in after.device_id


def test_all_who_take_part_are_told_of_a_move(fleet: Fleet) -> None:
    fleet.add("n1", "n2", "c3")
    network = fleet.network()
    fleet.cloud.port(network, "c3")
    fleet.run(30)
    cursor = views.answer(fleet.cloud.store, "c3", ViewRequest()).revision
    woken: set[str] = set()
    fleet.cloud.told()
    fleet.cloud.store.subscribe(woken.update)
    fleet.alive.remove("n1")
    fleet.run(DOWN_S)
    fleet.cloud.told()
    assert woken == {"n1", "n2", "c3"}
    asked = ViewRequest(epoch=fleet.cloud.store.epoch, cursors={network.id: cursor})
    change = views.answer(fleet.cloud.store, "c3", asked).scopes[network.id]
    assert [port.binding_host for port in change.ports] == ["n2"]
    assert change.peers is not None
    assert change.peers.keys() == {"n2", "c3"}
    assert views.answer(fleet.cloud.store, "n1", asked).left == (network.id,)


def test_a_host_that_returns_gets_nothing_back_by_itself(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(20)
    fleet.alive.remove("n1")
    fleet.run(20)
    fleet.alive.add("n1")
    fleet.run(30)
    assert fleet.on(network) == ["n2"]


def test_nobody_eligible_leaves_the_servers_where_they_are(fleet: Fleet) -> None:
    fleet.add("n1", "c2")
    network = fleet.network()
    fleet.run(20)
    fleet.alive.remove("n1")
    fleet.run(60)
    assert fleet.on(network) == ["n1"]
    fleet.add("n3")
    fleet.run(1)
    assert fleet.on(network) == ["n3"]


def test_two_servers_of_a_network_never_come_to_one_host(two_each: Fleet) -> None:
    two_each.add("n1", "n2")
    network = two_each.network()
    two_each.run(20)
    two_each.alive.remove("n1")
    two_each.run(60)
    assert two_each.on(network) == ["n1", "n2"]


def test_many_servers_are_spread_over_the_living(fleet: Fleet) -> None:
    fleet.add("n1")
    made = [fleet.network() for _ in range(30)]
    fleet.add("n2", "n3")
    fleet.run(20)
    fleet.alive.remove("n1")
    fleet.run(2 * DOWN_S)
    places = [host for network in made for host in fleet.on(network)]
    assert (places.count("n2"), places.count("n3")) == (15, 15)


@pytest.mark.parametrize("change", [{"network_host": False}, {"local_ip": None}], ids=str)
def test_a_host_that_says_it_cannot_serve_any_more_loses_its_servers(
    fleet: Fleet, change: dict[str, Any]
) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(20)
    fleet.alive.remove("n1")
    fleet.beat("n1", **change)
    fleet.run(1)
    assert fleet.on(network) == ["n2"]


def test_a_starting_agent_has_time_for_its_networks(fleet: Fleet) -> None:
    fleet.add("n1")
    made = [fleet.network() for _ in range(50)]
    fleet.add("n2")
    fleet.run(30)
    fleet.alive.remove("n1")
    fleet.beat("n1", run_id="again", previous_run_id="run-n1", started_at=fleet.cloud.clock.now)
    fleet.run(DOWN_S + 4)
    assert fleet.on(made[0]) == ["n1"]
    fleet.run(2)
    assert fleet.on(made[0]) == ["n2"]


def test_a_jump_of_the_clock_moves_nothing(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(20)
    fleet.cloud.clock.now += 3600
    fleet.beat("n2")
    failover.watch(fleet.cloud.store)
    assert fleet.on(network) == ["n1"]
    fleet.run(30)
    assert fleet.on(network) == ["n1"]


def test_a_server_that_was_away_hears_the_hosts_first(
    fleet: Fleet, make_cloud: Callable[..., Cloud]
) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.run(20)
    fleet.cloud.store.close()
    again = Fleet(make_cloud(), {"n2"})
    again.cloud.clock.now = fleet.cloud.clock.now + 600
    again.run(DOWN_S)
    assert again.on(network) == ["n1"]
    again.run(2)
    assert again.on(network) == ["n2"]


def test_silence_means_nothing_after_a_gap_between_looks() -> None:
    watch = SilenceWatch(10)
    looks = [watch.look(now) for now in (0, 5, 9, 10, 11, 17, 21, 26, 27, 20, 25, 30)]
    assert looks == [False] * 3 + [True] * 2 + [False] * 3 + [True] + [False] * 2 + [True]


# --- leases and holds -----------------------------------------------------------------------------


def test_the_successor_has_the_leases(fleet: Fleet) -> None:
    fleet.add("n1", "n2", "c3")
    network = fleet.network()
    port = fleet.cloud.port(network, "c3")
    fleet.run(20)
    fleet.cloud.lease("n1", "add", port)
    fleet.alive.remove("n1")
    fleet.run(DOWN_S)
    [lease] = fleet.cloud.store.read(lease_rules.live, "n2", network.id)
    assert (lease.host, lease.address, lease.mac_address) == (
        "n2",
        ip_of(port),
        port.mac_address,
    )
    assert [one.id for one in fleet.cloud.store.leases.find(by(live=True))] == [lease.id]


def test_a_lease_that_both_gave_is_one(two_each: Fleet) -> None:
    two_each.add("n1", "n2", "n3", "c4")
    network = two_each.network()
    port = two_each.cloud.port(network, "c4")
    two_each.run(20)
    for host in ("n1", "n2"):
        two_each.cloud.lease(host, "add", port)
    assert len(two_each.cloud.store.read(lease_rules.live, "n2", network.id)) == 1
    two_each.alive.remove("n1")
    two_each.run(DOWN_S)
    assert two_each.on(network) == ["n2", "n3"]
    hosts = [lease.host for lease in two_each.cloud.store.leases.find(by(live=True))]
    assert sorted(hosts) == ["n2", "n3"]


def test_leases_are_told_only_to_hosts_that_take_part(fleet: Fleet) -> None:
    fleet.add("n1", "c2")
    network = fleet.network()
    with pytest.raises(NotFound, match="takes no part"):
        fleet.cloud.store.read(lease_rules.live, "c2", network.id)
    with pytest.raises(NotFound):
        fleet.cloud.store.read(lease_rules.live, "c2", "unknown")


def test_a_deleted_ports_address_is_free_when_every_server_has_let_it_go(two_each: Fleet) -> None:
    two_each.add("n1", "n2", "c3")
    network = two_each.network()
    port = two_each.cloud.port(network, "c3")
    two_each.cloud.store.ports.delete(port.id)
    for host in ("c3", "n1"):
        two_each.cloud.applied(host, network)
        assert two_each.cloud.state(network, ip_of(port)) is AddressState.RELEASING
    two_each.cloud.applied("n2", network)
    assert two_each.cloud.state(network, ip_of(port)) is AddressState.FREE


def test_a_former_server_holds_the_addresses_it_served(fleet: Fleet) -> None:
    """It may only have been cut off, and still renew leases."""
    fleet.add("n1", "n2", "c3")
    network = fleet.network()
    port = fleet.cloud.port(network, "c3")
    fleet.run(20)
    fleet.alive.remove("n1")
    fleet.run(DOWN_S)
    fleet.cloud.store.ports.delete(port.id)
    for host in ("n2", "c3"):
        fleet.cloud.applied(host, network)
    assert fleet.cloud.state(network, ip_of(port)) is AddressState.RELEASING
    fleet.cloud.applied("n1", network)
    assert fleet.cloud.state(network, ip_of(port)) is AddressState.FREE


def test_a_host_that_is_settled_holds_nothing_of_the_time_before(fleet: Fleet) -> None:
    """Whatever it remembers of networks that it left: it serves what its view says, and no more."""
    fleet.add("n1", "n2", "c3")
    network = fleet.network()
    ports = [fleet.cloud.port(network, "c3") for _ in range(2)]
    fleet.run(20)
    fleet.alive.remove("n1")
    fleet.run(DOWN_S)
    fleet.cloud.store.ports.delete(ports[0].id)
    view = views.answer(fleet.cloud.store, "n1", ViewRequest())
    fleet.cloud.store.ports.delete(ports[1].id)
    for host in ("n2", "c3"):
        fleet.cloud.applied(host, network)
    address = ip_of(ports[0])
    fleet.cloud.report("n1", settled=1, epoch=view.epoch)
    fleet.cloud.report("n1", settled=view.revision, epoch="of a store that was restored since")
    assert fleet.cloud.state(network, address) is AddressState.RELEASING
    fleet.cloud.report("n1", settled=view.revision, epoch=view.epoch)
    assert fleet.cloud.state(network, address) is AddressState.FREE
    assert fleet.cloud.state(network, ip_of(ports[1])) is AddressState.FREE


# --- status ---------------------------------------------------------------------------------------


def test_a_port_is_active_when_wired_and_served_by_any(two_each: Fleet) -> None:
    two_each.add("n1", "n2", "c3")
    cloud = two_each.cloud
    port = cloud.port(two_each.network(), "c3")
    words = "not wired on host c3 yet; no DHCP server has its reservation yet"
    assert (port.pending, cloud.store.ports.get(port.id)) == (words, port)
    cloud.wire("c3", port, wired=True, served=True)
    waits = cloud.store.ports.get(port.id)
    assert (waits.status, waits.pending) == ("BUILD", "no DHCP server has its reservation yet")
    cloud.wire("n1", port, served=False, pending="dnsmasq is starting")
    assert cloud.store.ports.get(port.id).pending == "dnsmasq is starting"
    cloud.wire("n2", port, served=True)
    assert cloud.store.ports.get(port.id).status == "ACTIVE"
    cloud.wire("n1", port, served=False, pending="dnsmasq died")
    assert cloud.store.ports.get(port.id).status == "ACTIVE"
    cloud.wire("n2", port, served=False, pending="dnsmasq died")
    lost = cloud.store.ports.get(port.id)
    assert (lost.status, lost.pending) == ("BUILD", "dnsmasq died")
    cloud.wire("n2", port, served=True)
    cloud.wire("c3", port, wired=False, pending="tap is gone")
    assert cloud.store.ports.get(port.id).pending == "tap is gone"


def test_what_was_said_of_an_older_port_does_not_count(two_each: Fleet) -> None:
    two_each.add("n1", "n2", "c3", "c4")
    cloud = two_each.cloud
    port = cloud.port(two_each.network(), "c3")
    cloud.wire("c3", port, wired=True)
    cloud.wire("n1", port, served=True)
    cloud.store.ports.update(port.id, {"binding_host": "c4"})
    assert cloud.store.ports.get(port.id).status == "DOWN"
    cloud.wire("c4", port, wired=True)
    cloud.wire("n2", port, served=False)
    assert cloud.store.ports.get(port.id).status == "BUILD"


def test_while_its_only_server_moves_a_port_is_not_served(fleet: Fleet) -> None:
    fleet.add("n1", "n2", "c3")
    cloud = fleet.cloud
    port = cloud.port(fleet.network(), "c3")
    cloud.wire("c3", port, wired=True)
    fleet.beat("n1")
    fleet.run(20)
    cloud.wire("n1", port, served=True, pending="")
    fleet.alive.remove("n1")
    fleet.beat("n1")
    fleet.run(DOWN_S)
    assert cloud.store.ports.get(port.id).status == "BUILD"
    cloud.wire("n2", port, served=True)
    assert cloud.store.ports.get(port.id).status == "ACTIVE"


def test_a_dhcp_port_is_active_when_it_is_wired(fleet: Fleet) -> None:
    fleet.add("n1")
    [port] = fleet.servers(fleet.network())
    fleet.cloud.wire("n1", port, wired=True)
    assert fleet.cloud.store.ports.get(port.id).status == "ACTIVE"


# --- by hand --------------------------------------------------------------------------------------


def test_a_server_is_put_where_an_operator_says(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    fleet.cloud.store.write(dhcp_scheduler.add, network.id, "n2")
    assert fleet.on(network) == ["n1", "n2"]
    assert [
        host.name for host in fleet.cloud.store.read(dhcp_scheduler.hosts_serving, network.id)
    ] == [
        "n1",
        "n2",
    ]
    assert fleet.cloud.store.read(dhcp_scheduler.networks_served, "n2") == [
        fleet.cloud.store.networks.get(network.id)
    ]
    with pytest.raises(Conflict, match="already"):
        fleet.cloud.store.write(dhcp_scheduler.add, network.id, "n2")


def test_a_server_taken_away_and_put_elsewhere_keeps_its_address(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    network = fleet.network()
    [before] = fleet.servers(network)
    fleet.cloud.store.write(dhcp_scheduler.remove, network.id, "n1")
    [parked] = fleet.servers(network)
    assert (parked.binding_host, parked.device_id) == (None, PARKED)
    assert fleet.cloud.store.read(dhcp_scheduler.hosts_serving, network.id) == []
    fleet.cloud.store.write(dhcp_scheduler.add, network.id, "n2")
    [after] = fleet.servers(network)
    assert (after.id, after.fixed_ips, after.binding_host) == (before.id, before.fixed_ips, "n2")
    with pytest.raises(Conflict, match="doesn't serve"):
        fleet.cloud.store.write(dhcp_scheduler.remove, network.id, "n1")


def test_only_one_server_is_parked(two_each: Fleet) -> None:
    two_each.add("n1", "n2")
    network = two_each.network()
    for host in ("n1", "n2"):
        two_each.cloud.store.write(dhcp_scheduler.remove, network.id, host)
    assert two_each.on(network) == [None]


def test_a_host_without_tunnels_cannot_be_given_a_server(fleet: Fleet) -> None:
    fleet.add("n1", "c2")
    network = fleet.network()
    for host in ("c2", "nobody"):
        with pytest.raises(NotFound, match="can't serve DHCP"):
            fleet.cloud.store.write(dhcp_scheduler.add, network.id, host)
    with pytest.raises(NotFound, match="no network"):
        fleet.cloud.store.write(dhcp_scheduler.add, "nothing", "n1")


def test_flat_networks_have_the_dhcp_hosts_they_have(fleet: Fleet) -> None:
    fleet.add("n1", "c2")
    single = fleet.cloud.network("10.1.0.0/24", host="c2")
    multi = fleet.cloud.network("10.2.0.0/24", multi_host=True)
    fleet.cloud.port(multi, "n1")
    for network, host in ((single, "c2"), (multi, "n1")):
        assert [
            h.name for h in fleet.cloud.store.read(dhcp_scheduler.hosts_serving, network.id)
        ] == [host]
        assert [n.id for n in fleet.cloud.store.read(dhcp_scheduler.networks_served, host)] == [
            network.id
        ]
        with pytest.raises(Conflict, match="is flat"):
            fleet.cloud.store.write(dhcp_scheduler.add, network.id, "n1")


def test_a_dhcp_host_may_ask_who_a_vm_of_another_host_is(fleet: Fleet) -> None:
    fleet.add("n1", "n2", "c3")
    network = fleet.network()
    port = fleet.cloud.port(network, "c3", device_id="vm")
    found = fleet.cloud.store.read(instance_rules.metadata_facts, "n1", [network.id], ip_of(port))
    assert found is not None
    assert found.port.id == port.id
    assert (
        fleet.cloud.store.read(instance_rules.metadata_facts, "n2", [network.id], ip_of(port))
        is None
    )


# --- availability zones ---------------------------------------------------------------------------


def zoned(fleet: Fleet, **zones: str) -> None:
    """Add hosts, each in its zone; they go on saying so."""
    beat = fleet.beat
    fleet.beat = lambda host, **more: beat(host, availability_zone=zones[host], **more)  # type: ignore[method-assign]
    fleet.add(*zones)


def test_servers_are_in_the_zones_that_a_network_asks_for(fleet: Fleet) -> None:
    zoned(fleet, n1="east", n2="west", n3="west")
    made = [fleet.network(availability_zone_hints=("west",)) for _ in range(3)]
    assert [fleet.on(network) for network in made] == [["n2"], ["n3"], ["n2"]]
    found = fleet.cloud.store.read(zone_rules.of_networks, [network.id for network in made])
    assert found == {network.id: ["west"] for network in made}


def test_a_server_moves_within_its_zones_or_not_at_all(fleet: Fleet) -> None:
    zoned(fleet, n1="east", n2="west", n3="west")
    network = fleet.network(availability_zone_hints=("west",))
    fleet.run(DOWN_S + 2)
    fleet.alive -= {"n2"}
    fleet.run(DOWN_S + 2)
    assert fleet.on(network) == ["n3"]
    fleet.alive -= {"n3"}
    fleet.run(DOWN_S + 2)
    assert fleet.on(network) == ["n3"]


def test_two_servers_are_in_two_zones_if_they_can(two_each: Fleet) -> None:
    zoned(two_each, n1="east", n2="east", n3="west")
    assert two_each.on(two_each.network()) == ["n1", "n3"]
    assert two_each.on(two_each.network(availability_zone_hints=("east",))) == ["n1", "n2"]


def test_a_zone_without_hosts_is_refused(fleet: Fleet) -> None:
    zoned(fleet, n1="east")
    with pytest.raises(NotFound, match="availability zone 'north' has no host.*east") as caught:
        fleet.network(availability_zone_hints=("north",))
    assert caught.value.type == "AvailabilityZoneNotFound"
    assert fleet.cloud.store.networks.find() == []


# --- hosts that are administratively down ---------------------------------------------------------


def test_a_host_taken_down_hands_its_servers_on_with_their_addresses(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    networks = [fleet.network(f"10.0.{n}.0/24") for n in range(4)]
    before = {n.id: ips_of(fleet.servers(n)[0]) for n in networks}
    assert {host for n in networks for host in fleet.on(n)} == {"n1", "n2"}
    host = failover.update_host(fleet.cloud.store, "n1", {"admin_state_up": False})
    assert (host.admin_state_up, host.alive) == (False, True)
    assert [fleet.on(n) for n in networks] == [["n2"]] * 4
    assert {n.id: ips_of(fleet.servers(n)[0]) for n in networks} == before


def test_a_host_that_is_down_is_given_nothing_until_it_is_up_again(fleet: Fleet) -> None:
    fleet.add("n1", "n2")
    store = fleet.cloud.store
    failover.update_host(store, "n1", {"admin_state_up": False})
    network = fleet.network()
    assert fleet.on(network) == ["n2"]
    with pytest.raises(NotFound, match="administratively down") as caught:
        store.write(dhcp_scheduler.add, network.id, "n1")
    assert caught.value.type == "InvalidDHCPAgent"
    failover.update_host(store, "n2", {"admin_state_up": False})
    assert fleet.on(network) == ["n2"]  # there is no other
    fleet.run(2 * DOWN_S)
    assert fleet.on(network) == ["n2"]
    failover.update_host(store, "n1", {"admin_state_up": True})
    fleet.run(2)
    assert fleet.on(network) == ["n1"]


def test_a_host_that_is_down_is_given_no_flat_network(cloud: Cloud) -> None:
    for name in ("n1", "n2"):
        cloud.store.write(host_rules.create, name)
        cloud.report(name, network_host=True, physical_networks=("physnet1",))
    failover.update_host(cloud.store, "n1", {"admin_state_up": False})
    hosts = {cloud.network(f"10.1.{n}.0/24", network_type="flat").host for n in range(3)}
    assert hosts == {"n2"}


def test_there_must_be_a_host_to_be_taken_down(fleet: Fleet) -> None:
    with pytest.raises(NotFound) as caught:
        failover.update_host(fleet.cloud.store, "n9", {"admin_state_up": False})
    assert caught.value.type == "HostNotFound"
