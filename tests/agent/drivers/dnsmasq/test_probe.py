"""DHCP servers that run and do not serve, with a real dnsmasq: found, started again, and said."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lessor.agent.drivers.dnsmasq import probe
from lessor.agent.drivers.dnsmasq.folder import ServerFolder
from lessor.agent.drivers.dnsmasq.probe import DNS, Question
from lessor.agent.drivers.dnsmasq.proc import activity
from lessor.agent.drivers.dnsmasq.process import Process
from lessor.agent.host.run import run
from lessor.core.dnsmasq.packets import version_query
from tests.agent.drivers.dnsmasq_host import (
    BRIDGE,
    RANGE,
    Host,
    host_in_namespace,
    mac,
    reserve,
    server,
)
from tests.agent.drivers.dnsmasq_overlay import Place, place
from tests.dhcpclient import ACK

pytestmark = pytest.mark.lab

WITHIN_S = 5.0  # of a fault; what the documentation promises


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


@pytest.fixture
def somewhere() -> Iterator[Place]:
    with place() as made:
        yield made


def helper_of(pid: int) -> int:
    process = Process(pid)
    process.close()
    return process.helper


def replaced(host: Host, pid: int) -> bool:
    pids = host.pids()
    return len(pids) == 1 and pids != [pid]


def wait_replaced(host: Host, pid: int) -> None:
    started = time.monotonic()
    host.wait_for(lambda: replaced(host, pid) and host.client(5).discover(0.3), 30)
    took = time.monotonic() - started
    assert took < WITHIN_S + float(os.environ.get("LESSOR_SLOW_S", "0")), took


def test_a_dnsmasq_that_hangs_is_started_again_with_its_leases(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    host.lease(5)
    host.wait_for(host.held)
    pid = host.pid()
    with host.probing(want):
        os.kill(pid, signal.SIGSTOP)
        wait_replaced(host, pid)
        host.wait_for(lambda: host.told("dhcp server restarted"))
    (said,) = host.told("dhcp server does not answer")
    assert said.label == f"network of {BRIDGE}"
    assert "state T, stopped" in str(said.fields["why"])
    assert host.held() == {"10.0.0.5": mac(5)}
    renewed = host.client(5).renew()
    assert renewed
    assert renewed.kind == ACK


def test_a_healthy_dnsmasq_is_left_alone_and_learns_of_no_lease(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        probe, "EVERY_S", 0.3
    )  # only the pause: its time to answer is the usual one
    want = server(reserve(5), reserve(6))
    host.bring(want)
    pid = host.pid()
    with host.probing(want):
        time.sleep(2)  # no condition to wait for: several rounds in which nothing may happen
    assert (host.pid(), host.events(), host.incidents) == (pid, [], [])


def test_a_helper_that_is_killed_is_started_again_with_its_dnsmasq(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    host.lease(5)
    host.wait_for(host.held)
    pid = host.pid()
    with host.probing(want):
        os.kill(helper_of(pid), signal.SIGKILL)
        wait_replaced(host, pid)
    (said,) = host.told("dhcp server died")
    assert "lease helper" in str(said.fields["why"])
    assert "SIGKILL" in str(said.fields["why"])
    host.lease(6)
    host.wait_for(lambda: host.held() == {"10.0.0.5": mac(5), "10.0.0.6": mac(6)})


def test_a_helper_that_hangs_goes_on_and_loses_no_event(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    pid = host.pid()
    with host.probing(want):
        os.kill(helper_of(pid), signal.SIGSTOP)
        host.lease(6)
        wait_replaced(host, pid)
        host.wait_for(lambda: mac(6) in host.held().values())
    (said,) = host.told("dhcp server does not answer")
    assert "lease helper" in str(said.fields["why"])


def hang_up(pid: int) -> None:
    """Have a dnsmasq read its files, if it was not replaced already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGHUP)


@pytest.mark.parametrize("back", [True, False], ids=["put-back-without-hup", "left-empty"])
def test_reservations_that_were_emptied_and_read_are_put_back(host: Host, back: bool) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    pid, base = host.pid(), Path(host.paths.base)
    text = base.read_text()
    with host.probing(want):
        base.write_text("")
        hang_up(pid)
        if back:
            base.write_text(text)
        wait_replaced(host, pid)
        host.wait_for(lambda: host.told("dhcp server files put back"))
    assert base.read_text() == text
    assert "reservations" in host.told("dhcp server files put back")[0].fields["files"]  # type: ignore[operator]


def test_a_reservation_that_somebody_took_out_is_put_back_by_name(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    pid, base = host.pid(), Path(host.paths.base)
    kept = [line for line in base.read_text().splitlines() if "00:05" not in line]
    with host.probing(want):
        fewer = host.root / "fewer"  # moved there whole, as editors do: no look meets an empty file
        fewer.write_text("\n".join(kept) + "\n")
        fewer.replace(base)
        hang_up(pid)
        wait_replaced(host, pid)
        (said,) = host.wait_for(lambda: host.told("dhcp server files put back"))
    assert said.fields["lost"] == [f"{mac(5)} 10.0.0.5 (port p5)"]


def test_one_change_that_is_told_twice_is_put_back_once(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of somebody's write may be told when the files are about to be written anew."""
    want = server(reserve(5), reserve(6))
    host.bring(want)
    (running,) = host.driver._servers.values()  # type: ignore[union-attr]
    make = ServerFolder.make

    def make_and_hear(folder: ServerFolder) -> None:
        make(folder)
        running.health.touch("reservations")

    monkeypatch.setattr(ServerFolder, "make", make_and_hear)
    Path(host.paths.base).write_text("")
    running.health.touch("reservations")
    for _ in range(3):
        host.bring(want)
    assert len(host.told("dhcp server files put back")) == 1


def test_what_an_agent_that_was_away_did_not_see_is_found_when_it_starts(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    pid, base = host.pid(), Path(host.paths.base)
    text = base.read_text()
    base.write_text("")
    os.kill(pid, signal.SIGHUP)
    host.wait_for(lambda: host.client(5).discover(0.2) is None)
    base.write_text(text)
    status = base.stat()
    header = base.with_name("server.json").stat()
    os.utime(base, ns=(status.st_atime_ns, header.st_mtime_ns))  # by a back-up that keeps times
    host.start_agent()
    host.bring(want)
    assert host.pid() == pid
    with host.probing(want):
        wait_replaced(host, pid)
    (said,) = host.told("dhcp server does not answer")
    assert "which is in its files" in str(said.fields["why"])


def test_own_changes_are_nobody_elses(host: Host) -> None:
    want = server(reserve(5))
    host.bring(want)
    pid = host.pid()
    with host.probing():
        pass
    for n in range(6, 12):
        want = server(*(reserve(m) for m in range(5, n + 1)), names=((reserve(n).address, "a.b"),))
        with host.probing(want):
            host.bring(want)
            time.sleep(0.5)  # no condition: events that must not count
    host.bring(server(reserve(5)))
    with host.probing(server(reserve(5))):
        time.sleep(2)
    assert (host.pid(), host.incidents) == (pid, [])


def test_an_answer_that_comes_twice_is_read_twice(host: Host) -> None:
    """What nobody reads keeps the socket readable, and the event loop busy."""
    want = server(reserve(5))
    host.bring(want)
    question = Question(want, RANGE.server, DNS)
    try:
        for _ in range(3):
            question.ask(version_query)
        poll = select.poll()
        poll.register(question.file, select.POLLIN)
        host.wait_for(question.is_answered)
        host.wait_for(lambda: question.is_answered() and not poll.poll(300))
    finally:
        question.close()


def drop(ports: str) -> None:
    rule = f"iifname lo udp dport {{ {ports} }} drop"
    chain = f"chain input {{ type filter hook input priority 0; policy accept; {rule} ; }}"
    run("nft", "-f", "-", stdin=f"table inet operators {{\n{chain}\n}}\n")


def test_a_firewall_on_the_way_of_dns_is_no_fault_of_the_server(host: Host) -> None:
    want = server(reserve(5))
    host.bring(want)
    pid = host.pid()
    drop("53")
    with host.probing(want):
        time.sleep(5)  # no condition to wait for: nothing may happen
        os.kill(pid, signal.SIGSTOP)
        wait_replaced(host, pid)
    assert len(host.incidents) == 2


def test_a_firewall_on_the_way_of_all_probes_restarts_once_and_is_said(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        probe, "PROVE_AGAIN_S", 3.0
    )  # the pause until the firewall's end is noticed
    want = server(reserve(5))
    host.bring(want)
    pid = host.pid()
    with host.probing(want):
        drop("53, 67")
        host.wait_for(lambda: host.told("dhcp server restarted"))  # until then dnsmasq's first
        second = host.pid()  # process may be there, which ends once the daemon that it forked runs
        assert second != pid
        host.wait_for(lambda: any("no request waits" in one for one in host.made.problems), 30)
        assert host.pid() == second
        assert host.differs(want)
        run("nft", "delete", "table", "inet", "operators")
        host.wait_for(lambda: not host.made.problems and not host.differs(want), 60)
        assert host.pid() == second


def test_one_that_hangs_in_a_namespace_is_started_again(somewhere: Place) -> None:
    somewhere.plug(1)
    somewhere.plug(2)
    host = somewhere.host()
    wanted = [somewhere.server(n, reserve(5)) for n in (1, 2)]
    host.bring(*wanted)
    before = host.main_pids()
    with host.probing(*wanted):
        os.kill(before["net-1"], signal.SIGSTOP)
        host.wait_for(lambda: host.main_pids().get("net-1", before["net-1"]) != before["net-1"], 10)
        client = somewhere.client("o1", mac(5))
        host.wait_for(lambda: client.discover(0.3))
    assert host.main_pids()["net-2"] == before["net-2"]


def test_a_death_is_told_with_its_signal_and_the_time_it_took(host: Host) -> None:
    want = server(reserve(5))
    host.bring(want)
    pid = host.pid()
    with host.probing(want):
        os.kill(pid, signal.SIGKILL)
        wait_replaced(host, pid)
        host.wait_for(lambda: host.told("dhcp server restarted"))
    (died,), (restarted,) = host.told("dhcp server died"), host.told("dhcp server restarted")
    assert died.fields["why"] == f"dnsmasq (pid {pid}) ended: signal SIGKILL"
    assert float(str(restarted.fields["after_s"])) < WITHIN_S


def test_a_stopped_dnsmasq_is_ended_within_its_time(host: Host) -> None:
    host.bring(server(reserve(5)))
    pid = host.pid()
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    host.bring()
    assert time.monotonic() - started < WITHIN_S
    seen = activity(pid)
    assert seen is None or seen.state == "Z"
