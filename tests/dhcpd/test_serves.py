"""What clients get of the process, over a real wire, and what the agent hears of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lessor.core.leases import LiveLease
from lessor.dhcpd.messages import Entry
from lessor.errors import Conflict, NotFound
from lessor.netns import prefix
from tests.core.dhcp.client import RANGE, reservation
from tests.dhcpclient import ACK, DECLINE, NAK, RELEASE
from tests.dhcpd.lan import INTERFACE, SERVER, Lan, address, entry, ip, lan, mac, wait_for

pytestmark = pytest.mark.lab
ICMP = 1


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Lan]:
    with lan(tmp_path) as made:
        yield made


def test_a_client_gets_its_address_and_the_agent_the_event(net: Lan) -> None:
    net.begin(1)
    reply = net.client(1, client_id=b"\x01\xfa\x16\x3e").acquire()
    assert reply is not None
    assert (reply.kind, reply.address, reply.server) == (ACK, address(1), RANGE.server)
    (event,) = net.events()
    assert (event.server, event.action, event.address) == (SERVER, "add", address(1))
    assert (event.mac_address, event.hostname, event.client_id) == (mac(1), "vm1", "01:fa:16:3e")
    assert event.expires_at
    assert abs(event.expires_at - time.time() - 86400) < 10
    assert abs(event.at - time.clock_gettime(time.CLOCK_BOOTTIME)) < 10


def test_an_unknown_client_hears_nothing(net: Lan) -> None:
    net.begin(1)
    assert net.client(9).discover(0.3) is None
    assert net.daemon.status(SERVER).notes == {"no reservation for this client": 1}


def test_a_renewal_is_answered_late_enough_and_reported(net: Lan) -> None:
    net.begin(1)
    client = net.client(1)
    client.acquire()
    reply = client.renew()
    assert reply is not None
    assert reply.kind == ACK
    assert reply.took_s >= 0.002
    assert [event.action for event in net.events()] == ["add", "old"]


def test_the_kernel_refuses_no_renewal(net: Lan) -> None:
    net.begin(1)
    client = net.client(1)
    client.acquire()
    client._socket.settimeout(0.2)
    client.renew()
    with pytest.raises(TimeoutError):  # no packet of ICMP comes
        all(client._socket.recv(2048)[23] != ICMP for _ in range(1000))


def test_a_release_ends_the_lease(net: Lan) -> None:
    net.begin(1)
    client = net.client(1)
    lease = client.acquire()
    assert lease is not None
    client.give_up(RELEASE, lease)
    wait_for(net.reported("del", 1))


def test_a_declined_address_is_nobodys_for_a_while(net: Lan) -> None:
    net.begin(1)
    client = net.client(1)
    lease = client.acquire()
    assert lease is not None
    client.give_up(DECLINE, lease)
    wait_for(net.reported("del", 1))
    assert client.discover(0.3) is None
    figures = net.daemon.status(SERVER)
    assert figures.clients[entry(reservation(1)).mac] == {
        "the client found its address in use": 1,
        "the address was declined lately": 1,
    }


def test_an_expired_lease_is_reported(net: Lan) -> None:
    net.begin(1, lease_time=1)
    net.client(1).acquire()
    wait_for(net.reported("del", 1))


def test_a_release_from_before_a_restart_is_reported(net: Lan) -> None:
    """The book knows whether there was such a lease."""
    net.begin(1, 2)
    first, second = net.client(1), net.client(2)
    lease, other = first.acquire(), second.acquire()
    assert lease
    assert other
    net.kill()
    net.daemon.connect()
    first.give_up(RELEASE, lease)
    wait_for(net.reported("del", 1))
    net.daemon.seed(SERVER, [])
    assert net.daemon.hello().servers[0].complete
    second.give_up(RELEASE, other)
    wait_for(lambda: "the client has no lease to release" in net.daemon.status(SERVER).notes)
    assert net.reported("add", 2)()


def test_a_seeded_lease_is_renewed_not_given_again(net: Lan) -> None:
    net.begin(1)
    lease = LiveLease(address(1), mac(1), time.time() + 100, "vm1", "01:fa")
    net.daemon.seed(SERVER, [lease])
    net.client(1).acquire()
    assert net.reported("old", 1)()
    assert net.daemon.status(SERVER).leases == 1


def test_a_flood_costs_its_sender_only(net: Lan) -> None:
    net.begin(1, 2)
    flood = net.client(1)
    for _ in range(200):
        flood.discover(0)
    reply = net.client(2).acquire()  # made now: its socket would be full of the flood's frames
    assert reply is not None
    assert reply.kind == ACK
    figures = net.daemon.status(SERVER)
    assert figures.clients[entry(reservation(1)).mac]["messages too many"] > 100


def test_a_change_is_live_at_once(net: Lan) -> None:
    net.begin(1)
    client = net.client(1)
    client.acquire()
    moved = replace(reservation(7), mac=mac(1))
    net.daemon.drop(SERVER, [address(1)])
    net.daemon.put(SERVER, [entry(moved)])
    refused = client.reboot("10.20.0.101", 2)
    assert refused is not None
    assert refused.kind == NAK
    reply = client.acquire()
    assert reply is not None
    assert reply.address == address(7)
    net.daemon.drop(SERVER, [address(7)])
    assert client.discover(0.3) is None


def test_an_address_has_one_client(net: Lan) -> None:
    net.begin(1)
    taken = replace(reservation(1), mac=mac(2))
    net.daemon.put(SERVER, [entry(taken)])
    assert net.client(1).discover(0.3) is None
    reply = net.client(2).acquire()
    assert reply is not None
    assert reply.address == address(1)


def test_a_malformed_batch_changes_nothing(net: Lan) -> None:
    net.begin(1)
    before = net.daemon.hello().servers[0].revision
    good, bad = entry(reservation(2)), entry(reservation(3))
    short = Entry(bad.address, bad.mac, (), "", b"short", b"")
    with pytest.raises(Conflict, match="a row has 5 bytes"):
        net.daemon.put(SERVER, [good, short])
    assert net.client(2).discover(0.3) is None
    assert net.daemon.hello().servers[0].revision == before


def test_an_interface_that_is_down_for_a_while_serves_again(net: Lan) -> None:
    net.begin(1)
    ip("-n", net.here, "link", "set", INTERFACE, "down")
    assert net.daemon.hello().servers[0].attached
    ip("-n", net.here, "link", "set", INTERFACE, "up")
    client = net.client(1)
    wait_for(lambda: client.acquire(0.5))


def test_an_interface_that_is_made_again_is_opened_again(net: Lan) -> None:
    net.begin(1)
    net.client(1).acquire()
    ip("-n", net.here, "link", "del", INTERFACE)
    assert not net.daemon.hello().servers[0].attached
    ip("-n", net.here, "link", "add", INTERFACE, "type", "veth", "peer", "c0", "netns", net.there)
    ip("-n", net.here, "link", "set", INTERFACE, "up")
    ip("-n", net.there, "link", "set", "c0", "up")
    assert not net.daemon.hello().servers[0].attached
    net.daemon.open(net.header())
    assert net.daemon.hello().servers[0].attached
    client = net.client(1)
    wait_for(lambda: client.acquire(0.5))


def test_a_closed_server_answers_nobody(net: Lan) -> None:
    net.begin(1)
    net.daemon.close_server(SERVER)
    assert net.client(1).discover(0.3) is None
    assert net.daemon.hello().servers == ()
    with pytest.raises(NotFound):
        net.daemon.put(SERVER, [entry(reservation(1))])
    net.daemon.close_server(SERVER)
    net.daemon.open(net.header())
    assert net.daemon.dump(SERVER)[1] == {}


def test_a_dump_has_what_was_put(net: Lan) -> None:
    net.begin(*range(1, 100))
    more = [entry(reservation(n)) for n in range(100, 150)]
    done = net.daemon.put(SERVER, more)
    revision, found = net.daemon.dump(SERVER)
    assert revision == done.revision
    assert found == {address(n): entry(reservation(n)).reservation for n in range(1, 150)}


def test_dhclient_gets_its_lease(net: Lan, tmp_path: Path) -> None:
    net.begin(1)
    ip("-n", net.there, "link", "set", "c0", "address", mac(1))
    leases, pid = tmp_path / "leases", tmp_path / "pid"
    argv = [*prefix(net.there), "dhclient", "-4", "-1", "-sf", "/bin/true", "-lf", str(leases)]
    done = subprocess.run(
        [*argv, "-pf", str(pid), "c0"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    wait_for(lambda: pid.exists() and pid.read_text())  # its child writes it
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert f"fixed-address {address(1)};" in leases.read_text()
    assert net.reported("add", 1)()


def test_a_busybox_client_gets_and_renews_its_lease(net: Lan, tmp_path: Path) -> None:
    net.begin(1)
    ip("-n", net.there, "link", "set", "c0", "address", mac(1))
    script = tmp_path / "script"
    script.write_text('#!/bin/sh\necho "$1 $ip $hostname" >>"$0.log"\n')
    script.chmod(0o755)
    argv = [*prefix(net.there), "udhcpc", "-f", "-n", "-q", "-i", "c0", "-s", str(script)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert f"bound {address(1)} vm1" in Path(f"{script}.log").read_text()
    assert net.reported("add", 1)()
