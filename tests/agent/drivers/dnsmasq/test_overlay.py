"""DHCP servers in namespaces, with real dnsmasqs: the same driver as on bridges."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lessor.core.leases import LiveLease
from lessor.netns import identity, identity_of
from tests.agent.drivers.dnsmasq_host import mac, reserve
from tests.agent.drivers.dnsmasq_overlay import Place, lines
from tests.agent.drivers.dnsmasq_overlay import place as made_place
from tests.dhcpclient import ACK

pytestmark = pytest.mark.lab


@pytest.fixture
def place() -> Iterator[Place]:
    with made_place() as made:
        yield made


def test_networks_with_equal_addresses_are_served_each_in_its_namespace(place: Place) -> None:
    host = place.host()
    for n in (1, 2):
        place.plug(n)
    wanted = [place.server(1, reserve(5)), place.server(2, reserve(6, at=5))]
    host.bring(*wanted)

    for n, owner in ((1, mac(5)), (2, mac(6))):
        reply = place.client(f"o{n}", owner).acquire()
        assert reply
        assert (str(reply.address), reply.addresses(54)) == ("10.0.0.5", ["10.0.0.1"])
    assert place.client("o1", mac(6)).discover(timeout_s=0.3) is None
    host.wait_for(lambda: host.leases_of("net-1") and host.leases_of("net-2"))
    assert host.leases_of("net-1") == {"10.0.0.5": mac(5)}
    assert host.leases_of("net-2") == {"10.0.0.5": mac(6)}
    for name, pid in host.main_pids().items():
        assert identity_of(pid) == identity(place.namespace(int(name[-1])))


def test_the_lease_of_a_reservation_that_is_gone_is_ended_in_its_namespace(place: Place) -> None:
    host = place.host()
    place.plug(1)
    host.bring(place.server(1, reserve(5), reserve(6)))
    assert place.client("o1", mac(5)).acquire()
    host.wait_for(lambda: host.leases_of("net-1"))
    pid = host.main_pids()

    host.bring(place.server(1, reserve(6), reserve(7, at=5)))

    assert host.leases_of("net-1") == {}
    assert ("del", mac(5), "10.0.0.5") in host.events()
    assert host.main_pids() == pid, "ended by dhcp_release, not by a restart"
    reply = place.client("o1", mac(7)).acquire()
    assert reply
    assert str(reply.address) == "10.0.0.5"


def test_of_twenty_networks_one_killed_server_comes_back_and_no_other_is_touched(
    place: Place,
) -> None:
    host = place.host()
    for n in range(20):
        place.plug(n)
    wanted = [place.server(n, reserve(5)) for n in range(20)]
    host.bring(*wanted, within_s=20)
    before = host.main_pids()
    assert len(before) == 20

    os.kill(before["net-7"], signal.SIGKILL)
    host.wait_for(lambda: host.differs(*wanted))
    host.bring(*wanted)

    after = host.main_pids()
    assert {name for name in before if before[name] != after[name]} == {"net-7"}
    assert place.client("o7", mac(5)).acquire()

    place.plug(20)
    host.bring(*wanted, place.server(20, reserve(5)))
    assert host.main_pids().items() > after.items()

    host.start_agent()
    assert host.once(*wanted, place.server(20, reserve(5))) == []
    assert host.main_pids().items() > after.items(), "a new agent finds them and leaves them alone"


def test_a_server_follows_its_namespace_and_its_tap_when_they_are_made_anew(place: Place) -> None:
    host = place.host()
    place.plug(1)
    want = place.server(1, reserve(5))
    host.bring(want)
    first = host.main_pids()["net-1"]

    place.unplug(1)
    host.wait_for(lambda: host.differs(want))
    (problem,) = host.once(want)
    assert f"no network namespace {place.namespace(1)}" in str(problem)
    assert getattr(problem, "key", "") == "net-1"

    place.plug(1)
    host.bring(want)
    second = host.main_pids()
    assert list(second) == ["net-1"]
    assert second["net-1"] != first
    assert place.client("o1", mac(5)).acquire()

    place.device(1)
    host.bring(want)
    assert host.main_pids() != second
    assert place.client("o1", mac(5)).acquire()


def test_a_new_agent_restarts_a_server_that_runs_in_another_namespace(place: Place) -> None:
    host = place.host()
    place.plug(1)
    want = place.server(1, reserve(5))
    host.bring(want)
    first = host.main_pids()["net-1"]
    place.unplug(1)
    place.plug(1)

    host.start_agent()
    host.bring(want)

    second = host.main_pids()["net-1"]
    assert second != first
    assert identity_of(second) == identity(place.namespace(1))


def lease_of_five() -> LiveLease:
    return LiveLease(reserve(5).address, mac(5), float(int(time.time()) + 3600))


def test_a_successor_with_seeded_leases_answers_renewals(place: Place) -> None:
    """The DHCP host died; another has its port, so the same address and MAC."""
    dead, heir = place.host(), place.host()
    lines("link add br-w type bridge forward_delay 0", "link set br-w up")
    lines("link add c0 type veth peer name c1", "link set c0 master br-w up", "link set c1 up")
    place.plug(1, bridge="br-w")
    dead.bring(place.server(1, reserve(5), reserve(6), peers=True))
    client = place.client("c1", mac(5))
    assert client.acquire()
    dead.wait_for(lambda: dead.leases_of("net-1"))
    heir.store = list(dead.book.live("net-1").values())
    dead.stop_all()
    lines("link del o1")

    place.plug(2, bridge="br-w")
    want = place.second(2, place.server(1, reserve(5), reserve(6)), "10.0.0.1", peers=True)
    heir.bring(want)

    assert heir.leases_of("net-1") == {"10.0.0.5": mac(5)}
    heir.wait_for(lambda: ("old", mac(5), "10.0.0.5") in heir.events())
    rebound = client.rebind("10.0.0.5")
    assert rebound
    assert (rebound.kind, str(rebound.address)) == (ACK, "10.0.0.5")
    renewed = client.renew()
    assert renewed
    assert renewed.kind == ACK


def test_two_servers_of_one_network_answer_and_never_refuse_each_others_clients(
    place: Place,
) -> None:
    one, two = place.host(), place.host()
    lines("link add br-w type bridge forward_delay 0", "link set br-w up")
    lines("link add c0 type veth peer name c1", "link set c0 master br-w up", "link set c1 up")
    place.plug(1, "10.0.0.1", bridge="br-w")
    place.plug(2, "10.0.0.2", bridge="br-w")
    first = place.server(1, reserve(5), peers=True)
    second = place.second(2, first, "10.0.0.2")
    two.store = []
    one.bring(first)
    client = place.client("c1", mac(5))
    assert client.acquire()
    one.wait_for(lambda: one.leases_of("net-1"))
    two.bring(second)
    for reply in (client.acquire(), client.rebind("10.0.0.5"), client.renew()):
        assert reply
        assert (reply.kind, str(reply.address)) == (ACK, "10.0.0.5")

    one.stop_all()
    known = bool(two.leases_of("net-1"))  # it may have been the one that answered
    if not known:
        silent = client.rebind("10.0.0.5", timeout_s=0.3) is None
        assert silent, "it answers for a lease that it doesn't know"

    two.store = list(one.book.live("net-1").values())
    if not known:
        two.wait_for(lambda: two.differs(second))
    two.bring(second)

    rebound = client.rebind("10.0.0.5")
    assert rebound
    assert (rebound.kind, str(rebound.server)) == (ACK, "10.0.0.2")
    assert not two.differs(second)


def test_without_the_store_a_server_starts_and_learns_later(place: Place) -> None:
    host = place.host()
    place.plug(1)
    want = place.server(1, reserve(5))
    host.bring(want)
    assert host.asked
    assert host.leases_of("net-1") == {}

    host.start_agent()
    host.store = [lease_of_five(), replace(lease_of_five(), mac=mac(9))]
    host.clock = lambda: time.monotonic() + 1000
    host.bring(want)

    assert host.leases_of("net-1") == {"10.0.0.5": mac(5)}
    asked = host.asked
    assert not host.differs(want)
    assert host.asked == asked, "told once, it does not ask again"


def test_a_server_that_returns_asks_anew(place: Place) -> None:
    host = place.host()
    place.plug(1)
    host.store = [lease_of_five()]
    want = place.server(1, reserve(5))
    host.bring(want)
    host.wait_for(host.events)
    host.bring()
    assert host.leases_of("net-1") == {}
    host.start_agent()
    host.bring(want)
    assert host.leases_of("net-1") == {"10.0.0.5": mac(5)}
