"""Reservations that go and change, on a real dnsmasq."""

from __future__ import annotations

import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lessor.agent.drivers.dnsmasq.server import RESTART_S, RESTARTS
from lessor.agent.host.run import run
from lessor.core.diff import as_read
from lessor.errors import Pending
from tests.agent.drivers.dnsmasq_host import (
    BRIDGE,
    Host,
    host_in_namespace,
    mac,
    reserve,
    server,
)

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


def test_the_reservation_goes_before_the_release(host: Host) -> None:
    host.bring(server(reserve(5), reserve(6)))
    client = host.client(5)
    assert client.acquire()
    host.wait_for(host.held)
    seen: list[str] = []

    def watching(*argv: str, **more: Any) -> str:
        if argv[0] == "dhcp_release":
            seen.append(Path(host.paths.base).read_text())
            assert argv[1:4] == (BRIDGE, "10.0.0.5", mac(5))
            client.discover(0.1)  # dnsmasq may take one packet before it sees the signal
            assert client.discover(0.2) is None  # it can't have it again already now
        return run(*argv, **more)

    host.run = watching
    host.clock = lambda: time.monotonic() + 60
    host.bring(server(reserve(6)))
    assert [("10.0.0.5" in text, "10.0.0.6" in text) for text in seen] == [(False, True)]
    assert host.held() == {}
    assert host.events()[-1] == ("del", mac(5), "10.0.0.5")


def test_an_address_goes_to_another_mac(host: Host) -> None:
    host.bring(server(reserve(5)))
    host.lease(5)
    host.wait_for(host.held)
    pid = host.pid()
    host.bring(server(reserve(8, at=5)))
    assert str(host.lease(8).address) == "10.0.0.5"
    assert host.client(5).discover(0.2) is None
    assert host.pid() == pid


def test_a_mac_goes_to_another_address(host: Host) -> None:
    host.bring(server(reserve(5)))
    host.lease(5)
    host.wait_for(host.held)
    host.bring(server(reserve(5, at=55)))
    assert str(host.lease(5).address) == "10.0.0.55"
    host.wait_for(lambda: host.held() == {"10.0.0.55": mac(5)})


def test_reloads_are_gathered_and_what_is_loaded_is_told_until_then(host: Host) -> None:
    now = 1000.0
    host.clock = lambda: now
    before = server(reserve(5), reserve(6), reserve(7))
    host.bring(before)
    (problem,) = host.once(server(reserve(6), reserve(7)))
    assert isinstance(problem, Pending)
    assert (problem.key, problem.retry_s) == (BRIDGE, 1.0)
    assert host.driver.observe() == {BRIDGE: before}
    assert str(host.lease(5).address) == "10.0.0.5"
    fresh = reserve(9)
    (problem,) = host.once(server(reserve(7), fresh))
    assert str(host.lease(9).address) == "10.0.0.9"  # a new one does not wait with the others
    now = 1001.0
    assert host.once(server(reserve(7), fresh)) == []
    assert not host.differs(server(reserve(7), fresh))
    for n in (5, 6):
        assert host.client(n).discover(0.2) is None


def test_restarts_are_gathered_after_some_at_once(host: Host) -> None:
    """Subnets that come and go without pause cost the bridge one restart a second."""
    now = 1000.0
    host.clock = lambda: now
    host.bring(server(reserve(5)))
    for turn in range(RESTARTS):
        assert host.once(server(reserve(5), lease_time=1000 + turn)) == []
    pid = host.pid()
    late = server(reserve(5), reserve(6), lease_time=5000)
    (problem,) = host.once(late)
    assert isinstance(problem, Pending)
    assert problem.retry_s == RESTART_S
    assert "restarts in 1.0 s" in str(problem)
    assert host.pid() == pid
    assert host.lease(5)
    now += RESTART_S
    assert host.once(late) == []
    assert host.lease(6)


def test_a_conflicting_reservation_never_goes_live_half(host: Host) -> None:
    now = 1000.0
    host.clock = lambda: now
    host.bring(server(reserve(5)))
    moved = server(reserve(8, at=5))
    (problem,) = host.once(moved)
    assert isinstance(problem, Pending)
    assert as_read(host.driver.observe()[BRIDGE]).reservations == {"10.0.0.5": reserve(5)}
    assert host.client(8).discover(0.2) is None
    assert str(host.lease(5).address) == "10.0.0.5"


def test_many_leases_make_reloads_rarer(host: Host) -> None:
    now = 1000.0
    host.clock = lambda: now
    host.bring(server(*(reserve(n) for n in range(5, 10))))
    for n in range(1000):
        lease = f"\n{BRIDGE} 1.0 add {mac(n)} {IPv4Address('10.0.8.0') + n} 0 * * .\n"
        with host.spool.current.open("a") as file:
            file.write(lease)
    host.start_agent(release=False)
    now = 2000.0
    assert host.once(server(reserve(5), reserve(6))) == []
    (problem,) = host.once(server(reserve(5)))
    assert isinstance(problem, Pending)
    assert problem.retry_s
    assert problem.retry_s > 5


def test_without_force_release_a_lease_stays_until_it_ends(host: Host) -> None:
    host.start_agent(release=False)
    host.bring(server(reserve(5), reserve(6)))
    host.lease(5)
    host.wait_for(host.held)
    host.bring(server(reserve(6)))
    assert host.held() == {"10.0.0.5": mac(5)}


def test_a_lease_that_no_release_ends_is_ended_by_a_restart(host: Host) -> None:
    def deaf(*argv: str, **more: Any) -> str:
        return "" if argv[0] == "dhcp_release" else run(*argv, **more)

    host.bring(server(reserve(5), reserve(6)))
    host.lease(5)
    host.lease(6)
    host.wait_for(lambda: len(host.held()) == 2)
    pid = host.pid()
    host.run = deaf
    host.bring(server(reserve(6), reserve(8, at=5)))
    assert host.pid() != pid
    assert host.held() == {"10.0.0.6": mac(6)}
    assert str(host.lease(8).address) == "10.0.0.5"
    assert ("del", mac(5), "10.0.0.5") in host.events()


def test_a_deleted_server_is_gone_with_its_leases(host: Host) -> None:
    host.bring(server(reserve(5)))
    host.lease(5)
    host.wait_for(host.held)
    host.bring()
    assert host.pids() == []
    assert host.held() == {}
    assert list(host.root.iterdir()) == []


def test_what_comes_together_is_read_at_once(host: Host) -> None:
    host.bring(server(reserve(5)))
    tagged = reserve(8, options=(("42", "10.0.0.8"),))
    want = server(reserve(5), reserve(6), reserve(7), tagged)
    assert host.once(want) == []
    assert len(list(Path(host.paths.hosts).iterdir())) == 1
    assert [str(host.lease(n).address) for n in (6, 7, 8)] == ["10.0.0.6", "10.0.0.7", "10.0.0.8"]
    pid = host.pid()
    host.start_agent()
    assert not host.differs(want)
    assert host.pid() == pid
