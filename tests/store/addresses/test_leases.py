from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from lessor.errors import Conflict, Invalid, NotFound
from lessor.model import (
    AddressState,
    FixedIp,
    LeaseBatch,
    LeaseEvent,
    Network,
    Pool,
    Port,
    ViewRequest,
)
from lessor.store import views
from lessor.store.addresses import leases as lease_rules
from lessor.store.addresses import states
from lessor.store.hosts import rules as host_rules
from lessor.store.query import Query
from tests.store.store_cloud import Cloud, by, ip_of, ips_of

DAY = 86400.0


@pytest.fixture
def net(cloud: Cloud) -> Network:
    """A single-host network of h1."""
    cloud.host("h1")
    cloud.host("h2")
    return cloud.network("10.0.0.0/24", host="h1")


def test_a_lease_is_recorded_with_its_port(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    assert cloud.state(net, ip_of(port)) is AddressState.ALLOCATED
    cloud.lease("h1", "add", port, hostname="vm1", client_id="01:fa")
    (lease,) = cloud.store.leases.find()
    assert (lease.port_id, lease.host, lease.hostname) == (port.id, "h1", "vm1")
    assert cloud.store.leases.get(lease.id) == lease
    info = cloud.info(net, ip_of(port))
    assert info is not None
    assert (info.state, info.leased_until) == (AddressState.LEASED, cloud.clock.now + DAY)


def test_a_renewal_is_the_same_lease_with_a_later_end(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.clock.now += 100
    cloud.lease("h1", "old", port)
    (lease,) = cloud.store.leases.find()
    assert lease.renewed_at - lease.started_at == 100
    assert lease.expires_at == cloud.clock.now + DAY


def test_a_lease_tells_its_port_although_that_is_deleted(cloud: Cloud, net: Network) -> None:
    """A DHCP server that reads its hosts anew reports each lease once more, this one too."""
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.ports.delete(port.id)
    cloud.lease("h1", "old", port)
    cloud.lease("h1", "del", port)
    assert [lease.port_id for lease in cloud.store.leases.find()] == [port.id]


def test_an_expired_lease_leaves_the_address_with_its_port(cloud: Cloud, net: Network) -> None:
    """D3.5: the VM is silent; the association stays."""
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.clock.now += DAY + 1
    cloud.lease("h1", "del", port, expires_at=None)
    assert cloud.store.leases.find()[0].end_reason == "expired"
    cloud.wait(DAY)
    assert cloud.state(net, ip_of(port)) is AddressState.ALLOCATED


def test_events_count_once_whatever_is_sent_again(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    first = cloud.lease("h1", "add", port)
    gone = cloud.lease("h1", "del", port)
    again = LeaseBatch(epoch="spool-h1", events=(first, gone))
    before = cloud.store.leases.find()
    assert cloud.store.write(lease_rules.apply, "h1", again) == 2
    assert cloud.store.leases.find() == before
    assert cloud.store.write(lease_rules.apply, "h1", replace(again, events=(first,))) == 2
    assert cloud.store.leases.find() == before


def test_a_new_spool_counts_from_one_again(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    event = replace(cloud.lease("h1", "add", port), action="del")
    assert cloud.store.write(lease_rules.apply, "h1", LeaseBatch(epoch="new", events=(event,))) == 1
    assert cloud.store.leases.find()[0].ended_at is not None


def test_a_batch_is_applied_whole_or_not_at_all(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    event = cloud.lease("h1", "add", port)
    bad = replace(event, seq=1 << 70)
    batch = LeaseBatch(epoch="spool-h1", events=(replace(event, seq=2, action="del"), bad))
    with pytest.raises(Invalid, match="larger than"):
        cloud.store.write(lease_rules.apply, "h1", batch)
    assert cloud.store.leases.find()[0].ended_at is None


def test_leases_of_an_unknown_host_are_refused(cloud: Cloud) -> None:
    with pytest.raises(NotFound):
        cloud.store.write(lease_rules.apply, "nobody", LeaseBatch(epoch="e"))


def test_a_late_del_for_an_address_with_a_new_owner_is_ignored(cloud: Cloud, net: Network) -> None:
    """D3.7, A7.5: also when the new owner's lease is of another DHCP server."""
    old = cloud.port(net, address="10.0.0.9")
    cloud.lease("h1", "add", old)
    cloud.lease("h1", "del", old)
    cloud.store.ports.delete(old.id)
    cloud.applied("h1", net)
    new = cloud.port(net, address="10.0.0.9")
    cloud.lease("h1", "add", new)
    cloud.lease("h1", "del", old)
    cloud.lease("h2", "del", new)
    assert cloud.state(net, "10.0.0.9") is AddressState.LEASED
    assert [lease.port_id for lease in cloud.store.leases.find(by(live=True))] == [new.id]


def test_two_networks_with_the_same_cidr_never_mix(cloud: Cloud, net: Network) -> None:
    twin = cloud.network("10.0.0.0/24", physical_network="physnet2", host="h1")
    mac = "fa:16:3e:00:00:01"
    one, other = (cloud.port(n, address="10.0.0.9", mac_address=mac) for n in (net, twin))
    cloud.lease("h1", "add", one)
    cloud.lease("h1", "add", other)
    cloud.lease("h1", "del", one)
    assert [cloud.state(n, "10.0.0.9") for n in (net, twin)] == ["allocated", "leased"]


# --- letting go -----------------------------------------------------------------------------------


def test_a_deleted_ports_address_is_free_when_released_and_confirmed(
    cloud: Cloud, net: Network
) -> None:
    """D3.3: the DHCP host has loaded the removal and its release was seen."""
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.ports.delete(port.id)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.lease("h1", "del", port)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.applied("h1", net)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE
    assert ips_of(cloud.port(net)) == ["10.0.0.3"]


def test_the_order_of_release_and_confirmation_does_not_matter(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.lease("h1", "del", port)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_a_confirmation_of_an_earlier_revision_frees_nothing(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net, port.revision)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.report("h2", applied={net.id: 1 << 40})
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.applied("h1", net, views.answer(cloud.store, "h1", ViewRequest()).revision)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_a_vm_that_never_asked_gives_its_address_back_on_confirmation(
    cloud: Cloud, net: Network
) -> None:
    """LP 1180766."""
    port = cloud.port(net)
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_without_a_dhcp_server_an_address_is_free_at_once(cloud: Cloud) -> None:
    unowned = cloud.network("10.0.0.0/24")
    static = cloud.network(None, host=cloud.host("h1").name)
    cloud.subnet(static, "10.1.0.0/24", enable_dhcp=False)
    for network in (unowned, static):
        port = cloud.port(network)
        cloud.store.ports.delete(port.id)
        assert cloud.state(network, ip_of(port)) is AddressState.FREE


def test_an_address_waits_for_the_host_that_has_the_vms_tap(cloud: Cloud, net: Network) -> None:
    """Cut off from the server, that host lets the VM use its address as before."""
    cloud.host("h3")
    port = cloud.port(net, "h3")
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    assert ip_of(cloud.port(net)) != ip_of(port)
    cloud.report("h3", settled=views.answer(cloud.store, "h3", ViewRequest()).revision)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_an_address_without_dhcp_waits_for_the_tap_too(cloud: Cloud) -> None:
    static = cloud.network(None, host=cloud.host("h1").name)
    cloud.subnet(static, "10.1.0.0/24", enable_dhcp=False)
    cloud.host("h3")
    port = cloud.port(static, "h3")
    cloud.store.ports.delete(port.id)
    assert cloud.state(static, ip_of(port)) is AddressState.RELEASING
    cloud.applied("h3", static, views.answer(cloud.store, "h1", ViewRequest()).revision)
    assert cloud.state(static, ip_of(port)) is AddressState.FREE


def test_a_host_without_an_agent_is_not_waited_for(cloud: Cloud, net: Network) -> None:
    cloud.store.write(host_rules.create, "never-started")
    port = cloud.port(net, "never-started")
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_with_release_off_an_address_is_freed_when_its_lease_ends(
    cloud: Cloud, net: Network
) -> None:
    """D3.4: the server has dropped the reservation, the client keeps its lease to the end."""
    port = cloud.port(net)
    cloud.lease("h1", "add", port, expires_at=cloud.clock.now + 3600)
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net)
    cloud.wait(3599)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.wait(2)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE
    assert cloud.store.leases.find()[0].end_reason == "expired"


def test_time_frees_no_address_before_the_disassociate_timeout(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port, expires_at=cloud.clock.now + 10)
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net)
    cloud.wait(599)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.wait(2)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_a_silent_dhcp_host_may_have_renewed_until_it_says_otherwise(
    cloud: Cloud, net: Network
) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port, expires_at=cloud.clock.now + 10)
    cloud.store.ports.delete(port.id)
    cloud.wait(DAY - 1)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.wait(2)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_an_infinite_lease_never_ends_by_time(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(dhcp_lease_time=-1)
    cloud.host("h1")
    net = cloud.network("10.0.0.0/24", host="h1")
    port = cloud.port(net)
    cloud.lease("h1", "add", port, expires_at=None)
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net)
    cloud.wait(1000 * DAY)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.lease("h1", "del", port)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_an_address_that_may_be_leased_is_not_handed_out(cloud: Cloud, net: Network) -> None:
    subnet = cloud.subnet_of(net)
    only = Pool(IPv4Address("10.0.0.2"), IPv4Address("10.0.0.2"))
    cloud.store.subnets.update(subnet.id, {"pools": [only]})
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.ports.delete(port.id)
    with pytest.raises(
        Conflict, match=f"its lease to {port.mac_address} may be alive until 1970-01-"
    ):
        cloud.port(net, address="10.0.0.2")
    with pytest.raises(Conflict, match="1 of 1 in use, 1 of them until their leases end"):
        cloud.port(net)
    with pytest.raises(Conflict, match="releasing"):
        cloud.store.write(states.reserve, net.id, IPv4Address("10.0.0.2"))


def test_the_same_mac_may_have_its_address_again(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.ports.delete(port.id)
    again = cloud.port(net, address=str(ip_of(port)), mac_address=port.mac_address)
    cloud.applied("h1", net)
    cloud.wait(2 * DAY)
    assert cloud.store.ports.get(again.id).fixed_ips == port.fixed_ips


def test_an_address_taken_from_a_port_rests_like_a_deleted_ones(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.ports.update(port.id, {"fixed_ips": ()})
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.applied("h1", net)
    cloud.lease("h1", "del", port)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_the_end_of_an_old_macs_lease_does_not_touch_the_new_one(
    cloud: Cloud, net: Network
) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    new = cloud.store.ports.update(port.id, {"mac_address": "fa:16:3e:00:00:01"})
    cloud.store.networks.update(net.id, {"host": "h2"})
    cloud.lease("h2", "add", new)
    cloud.lease("h1", "del", port)
    assert cloud.state(net, ip_of(port)) is AddressState.LEASED


def test_a_new_mac_on_the_same_server_supersedes_the_old(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    new = cloud.store.ports.update(port.id, {"mac_address": "fa:16:3e:00:00:01"})
    cloud.lease("h1", "add", new)
    assert sorted(lease.end_reason for lease in cloud.store.leases.find()) == ["", "superseded"]


def test_a_lease_nobody_was_given_is_seen_and_its_address_kept_away(
    cloud: Cloud, net: Network
) -> None:
    place = FixedIp("", IPv4Address("10.0.0.2"))
    stray = Port(id="", network_id=net.id, mac_address="fa:16:3e:00:00:01", fixed_ips=(place,))
    cloud.lease("h1", "add", stray)
    assert cloud.state(net, "10.0.0.2") is AddressState.RELEASING
    assert ips_of(cloud.port(net)) == ["10.0.0.3"]
    cloud.lease("h1", "del", stray)
    assert cloud.state(net, "10.0.0.2") is AddressState.FREE


def test_a_free_address_that_turns_out_leased_is_kept_away(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net, address="10.0.0.9")
    cloud.store.ports.delete(port.id)
    cloud.applied("h1", net)
    cloud.lease("h1", "old", port)
    with pytest.raises(Conflict, match="may be alive until"):
        cloud.port(net, address="10.0.0.9")


def test_a_new_subnet_remembers_the_leases_of_an_old_one(cloud: Cloud, net: Network) -> None:
    port, never_seen = cloud.port(net), cloud.port(net)
    cloud.lease("h1", "add", port)
    for each in (port, never_seen):
        cloud.store.ports.delete(each.id)
    cloud.store.subnets.delete(cloud.subnet_of(net).id)
    cloud.subnet(net, "10.0.0.0/24")
    assert ips_of(cloud.port(net)) == ["10.0.0.4"]


def test_a_snapshot_ends_the_leases_it_does_not_name(cloud: Cloud, net: Network) -> None:
    kept, lost = cloud.port(net), cloud.port(net)
    for port in (kept, lost):
        cloud.lease("h1", "add", port)
    cloud.store.ports.delete(lost.id)
    cloud.applied("h1", net)
    named = LeaseEvent(
        seq=3, action="old", network_id=net.id, address=ip_of(kept), at=cloud.clock.now,
        mac_address=kept.mac_address, expires_at=cloud.clock.now + DAY,
    )  # fmt: skip
    batch = LeaseBatch(epoch="spool-h1", events=(named,), snapshot=True)
    cloud.store.write(lease_rules.apply, "h1", batch)
    assert [lease.port_id for lease in cloud.store.leases.find(by(live=True))] == [kept.id]
    assert cloud.state(net, ip_of(lost)) is AddressState.RELEASING
    cloud.wait(DAY + 1)
    assert cloud.state(net, ip_of(lost)) is AddressState.FREE


def test_a_snapshot_of_one_host_ends_no_lease_of_another(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.write(lease_rules.apply, "h2", LeaseBatch(epoch="e", snapshot=True))
    assert len(cloud.store.leases.find(by(live=True))) == 1


def test_an_operators_release_frees_what_no_port_has(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port, expires_at=None)
    cloud.store.ports.delete(port.id)
    (lease,) = cloud.store.leases.find()
    cloud.store.write(lease_rules.release, lease.id)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.applied("h1", net)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE
    assert cloud.store.leases.get(lease.id).end_reason == "operator"


def test_an_operators_release_leaves_a_port_its_address(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.lease("h1", "add", port)
    cloud.store.write(lease_rules.release, cloud.store.leases.find()[0].id)
    assert cloud.state(net, ip_of(port)) is AddressState.ALLOCATED
    cloud.lease("h1", "old", port)
    assert cloud.state(net, ip_of(port)) is AddressState.LEASED
    assert len(cloud.store.leases.find()) == 2
    with pytest.raises(NotFound):
        cloud.store.write(lease_rules.release, "nosuch")


# --- moves ----------------------------------------------------------------------------------------


def test_the_former_network_host_has_to_let_go_as_well(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    cloud.store.networks.update(net.id, {"host": "h2"})
    cloud.store.ports.delete(port.id)
    cloud.applied("h2", net)
    assert cloud.state(net, ip_of(port)) is AddressState.RELEASING
    cloud.applied("h1", net)
    assert cloud.state(net, ip_of(port)) is AddressState.FREE


def test_the_former_host_of_a_multi_host_port_has_to_let_go_as_well(cloud: Cloud) -> None:
    for name in ("h1", "h2"):
        cloud.host(name)
    network = cloud.network(multi_host=True, share_address=True)
    port = cloud.port(network, "h1")
    cloud.store.ports.update(port.id, {"binding_host": "h2"})
    cloud.store.ports.delete(port.id)
    cloud.applied("h2", network)
    assert cloud.state(network, ip_of(port)) is AddressState.RELEASING
    cloud.applied("h1", network)
    assert cloud.state(network, ip_of(port)) is AddressState.FREE


# --- history --------------------------------------------------------------------------------------


def test_who_had_an_address_at_a_time(cloud: Cloud, net: Network) -> None:
    at = [cloud.clock.now]
    for _ in range(2):
        port = cloud.port(net, address="10.0.0.9")
        cloud.lease("h1", "add", port)
        at.append(cloud.clock.now)
        cloud.clock.now += 100
        cloud.store.ports.delete(port.id)
        cloud.lease("h1", "del", port)
        cloud.applied("h1", net)
        cloud.clock.now += 100

    def who(time: float) -> list[str]:
        found = cloud.store.leases.find(by(address=IPv4Address("10.0.0.9"), at=time))
        return [lease.mac_address for lease in found]

    first, second = (lease.mac_address for lease in cloud.store.leases.find(_oldest_first()))
    assert [who(at[1] + 50), who(at[2] + 50)] == [[first], [second]]
    assert who(at[1] + 150) == who(at[0] - 1) == []
    assert (
        cloud.store.leases.find(by(mac_address=first))
        == cloud.store.leases.find(_oldest_first())[:1]
    )
    assert cloud.store.leases.find(by(live=True)) == []
    assert len(cloud.store.leases.find(by(live=False))) == 2


def _oldest_first() -> Query:
    return Query(sort=(("started_at", False),))


def test_history_is_kept_for_as_long_as_asked(make_cloud: Callable[..., Cloud]) -> None:
    cloud = make_cloud(lease_history_days=2)
    cloud.host("h1")
    ended, alive = (cloud.port(network) for network in [cloud.network(host="h1")] * 2)
    cloud.lease("h1", "add", ended)
    cloud.lease("h1", "del", ended)
    cloud.lease("h1", "add", alive, expires_at=None)
    cloud.wait(2 * DAY - 1)
    assert len(cloud.store.leases.find()) == 2
    cloud.wait(DAY)
    assert [lease.port_id for lease in cloud.store.leases.find()] == [alive.id]


# --- reserving ------------------------------------------------------------------------------------


def test_a_reserved_address_is_never_chosen_until_unreserved(cloud: Cloud, net: Network) -> None:
    address = IPv4Address("10.0.0.2")
    for _ in range(2):
        info = cloud.store.write(states.reserve, net.id, address)
        assert info.state is AddressState.RESERVED
    assert ips_of(cloud.port(net)) == ["10.0.0.3"]
    assert cloud.store.write(states.unreserve, net.id, address).state is AddressState.FREE
    assert cloud.store.write(states.unreserve, net.id, address).state is AddressState.FREE
    assert ips_of(cloud.port(net, address="10.0.0.2")) == ["10.0.0.2"]


def test_what_cannot_be_reserved_or_unreserved_is_said(cloud: Cloud, net: Network) -> None:
    port = cloud.port(net)
    with pytest.raises(Conflict, match=f"port {port.id}") as caught:
        cloud.store.write(states.reserve, net.id, ip_of(port))
    assert caught.value.type == "IpAddressInUse"
    with pytest.raises(Conflict, match="gateway"):
        cloud.store.write(states.unreserve, net.id, IPv4Address("10.0.0.1"))
    with pytest.raises(Invalid, match="lies in no subnet"):
        cloud.store.write(states.reserve, net.id, IPv4Address("10.9.0.1"))
    with pytest.raises(NotFound):
        cloud.store.write(states.reserve, "nosuch", IPv4Address("10.9.0.1"))


def test_addresses_come_in_order_and_in_pages(cloud: Cloud, net: Network) -> None:
    cloud.port(net)
    whole = cloud.store.read(states.find)
    assert [int(info.address) & 255 for info in whole] == [0, 1, 2, 255]
    marker = f"{net.id}/{whole[1].address}"
    assert cloud.store.read(states.find, Query(limit=1, marker=marker)) == whole[2:3]
    with pytest.raises(NotFound):
        cloud.store.read(states.find, Query(marker="rubbish"))
