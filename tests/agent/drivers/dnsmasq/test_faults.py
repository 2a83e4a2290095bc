"""What dies and what others do, with a real dnsmasq."""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Self

import pytest

from lessor.agent.drivers.dnsmasq.process import find_all
from lessor.agent.host.run import run
from lessor.errors import LessorError
from tests.agent.drivers.dnsmasq_host import (
    BRIDGE,
    LIBC,
    RANGE,
    Host,
    host_in_namespace,
    mac,
    make_wire,
    reserve,
    server,
)
from tests.dhcpclient import ACK

PR_SET_CHILD_SUBREAPER = 36

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


def test_a_killed_dnsmasq_is_seen_and_comes_back_with_its_leases(host: Host) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    client = host.client(5)
    assert client.acquire()
    host.wait_for(host.held)
    poll = select.poll()
    for pidfd in host.driver.pidfds():
        poll.register(pidfd, select.POLLIN)
    host.kill()
    assert poll.poll(5000)
    assert host.differs(want)
    host.bring(want)
    assert host.held() == {"10.0.0.5": mac(5)}
    renewed = client.renew()
    assert renewed
    assert renewed.kind == ACK
    host.wait_for(lambda: ("old", mac(5), "10.0.0.5") in host.events())


def test_a_dnsmasq_that_is_dying_is_waited_for(host: Host) -> None:
    """It has no command line any more, but its sockets still, for a moment: hence the rounds."""
    want = server(reserve(5))
    host.bring(want)
    for _ in range(20):
        host.kill()
        host.wait_for(lambda: host.differs(want))
        assert host.once(want) == []


def test_init_returns_leased_addresses_only(host: Host) -> None:
    host.bring(server(reserve(5), reserve(6)))
    host.lease(5)
    host.wait_for(host.held)
    before = len(host.events())
    host.bring(server(reserve(5), reserve(6), lease_time=600))  # needs a restart
    host.wait_for(lambda: host.events()[before:])  # dnsmasq reports what it started with
    assert set(host.events()[before:]) == {("old", mac(5), "10.0.0.5")}


def test_a_vm_is_never_told_no_after_all_leases_were_lost(host: Host) -> None:
    host.bring(server(reserve(5)))
    client = host.client(5)
    assert client.acquire()
    host.wait_for(host.held)
    host.kill()
    shutil.rmtree(host.folder / "leases")
    shutil.rmtree(host.folder / "agent")
    host.start_agent()
    host.bring(server(reserve(5)))
    for reply in (client.renew(), client.reboot("10.0.0.5"), client.rebind("10.0.0.5")):
        assert reply
        assert (reply.kind, str(reply.address)) == (ACK, "10.0.0.5")


def test_a_new_agent_leaves_running_servers_alone(host: Host) -> None:
    want = server(reserve(5, options=(("42", "10.0.0.8"),)), reserve(6))
    host.bring(want)
    host.lease(6)
    host.wait_for(host.held)
    pid, events = host.pid(), host.events()
    host.start_agent()
    assert not host.differs(want)
    assert host.once(want) == []
    assert (host.pid(), host.events()) == (pid, events)
    assert list(host.driver.pidfds().values()) == [BRIDGE, BRIDGE]


def test_dnsmasq_outlives_the_session_that_started_it(host: Host) -> None:
    host.bring(server(reserve(5)))
    assert os.getsid(host.pid()) not in (os.getsid(0), 0)


def test_a_foreign_dnsmasq_is_left_alone(host: Host) -> None:
    run("ip", "link", "add", "op0", "type", "bridge")
    run("ip", "addr", "add", "192.0.2.65/26", "dev", "op0")
    run("ip", "link", "set", "op0", "up")
    pid_file = host.folder / "operator.pid"
    run(
        "dnsmasq", "--conf-file=/dev/null", "--bind-interfaces", "--interface=op0",
        "--except-interface=lo", f"--pid-file={pid_file}", "--no-hosts", "--no-resolv",
        "--dhcp-range=192.0.2.70,192.0.2.80", f"--dhcp-leasefile={host.folder}/operator.leases",
    )  # fmt: skip
    operators = int(pid_file.read_text())
    try:
        host.bring(server(reserve(5)))
        (host.root / BRIDGE / "pid").write_text(f"{operators}\n")  # a lie
        host.start_agent()
        host.bring(server(reserve(6)))
        host.bring(server(reserve(6), lease_time=77))
        assert operators not in host.pids()
        host.bring()
        os.kill(operators, 0)
        assert Path(f"/proc/{operators}/cmdline").read_bytes().startswith(b"dnsmasq")
    finally:
        os.kill(operators, signal.SIGTERM)


def test_a_bridge_made_anew_gets_a_server_that_hears_it(host: Host) -> None:
    host.bring(server(reserve(5)))
    run("ip", "link", "del", BRIDGE)
    (problem,) = host.once(server(reserve(5)))
    assert f"no interface {BRIDGE}" in str(problem)
    run("ip", "link", "del", "c0")
    make_wire()
    host.bring(server(reserve(5)))
    assert str(host.lease(5).address) == "10.0.0.5"


@pytest.mark.parametrize("deed", ["remove", "change", "add", "base", "folder"])
def test_a_file_that_somebody_else_touched_is_set_right(host: Host, deed: str) -> None:
    host.bring(server(reserve(6)))
    want = server(reserve(5), reserve(6))
    host.bring(want)
    (file,) = Path(host.paths.hosts).iterdir()
    match deed:
        case "remove":
            file.unlink()
        case "change":
            file.write_text(f"{mac(5)},10.0.0.9\n")
        case "add":
            file.with_name("more").write_text(f"{mac(9)},10.0.0.9\n")
        case "base":
            Path(host.paths.base).write_text("")
        case "folder":
            shutil.rmtree(host.paths.hosts)
    host.driver.verify()
    assert host.differs(want)
    host.bring(want)
    assert str(host.lease(5).address) == "10.0.0.5"
    assert host.client(9).discover(0.2) is None


def test_a_folder_that_nobody_can_enter_is_named(host: Host) -> None:
    host.root.mkdir()
    host.folder.chmod(0o700)
    (problem,) = host.once(server(reserve(5)))
    assert f"chmod o+x {host.folder}" in str(problem)


def test_a_dnsmasq_that_can_not_start_says_why(host: Host) -> None:
    gone = replace(RANGE, server=IPv4Address("10.9.9.9"))
    (problem,) = host.once(server(reserve(5), ranges=(gone,)))
    assert "10.9.9.9" in str(problem)
    host.bring(server(reserve(5)))


def test_a_port_that_is_taken_is_said_with_who_has_it(host: Host) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 67))
        (problem,) = host.once(server(reserve(5)))
    assert f"UDP 67 by {comm(os.getpid())} (pid {os.getpid()})" in str(problem)
    assert len(str(problem)) < 250
    host.bring(server(reserve(5)))


def test_a_dns_port_that_is_taken_is_said_with_who_has_it(host: Host) -> None:
    with socket.socket() as taken:
        taken.bind(("10.0.0.1", 53))
        taken.listen()
        (problem,) = host.once(server(reserve(5)))
    assert f"TCP 53 by {comm(os.getpid())} (pid {os.getpid()})" in str(problem)


def comm(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_full_spool_is_said_and_dhcp_goes_on(host: Host) -> None:
    disk = host.folder / "agent"
    run("mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "lessor-test", str(disk))
    try:
        host.start_agent()
        _full_spool(host, disk)
    finally:
        run("umount", "-l", str(disk))


def _full_spool(host: Host, disk: Path) -> None:
    want = server(reserve(5))
    host.bring(want)
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"\n" * 4096):
            pass
    assert host.lease(5).kind == ACK
    host.wait_for(lambda: (host.folder / "run/alarms" / BRIDGE).stat().st_mtime)
    (problem,) = host.once(want)
    assert isinstance(problem, LessorError)
    assert "has no room" in str(problem)
    filler.unlink()
    assert host.once(want) == []
    host.wait_for(lambda: host.held() == {"10.0.0.5": mac(5)})
    assert not host.differs(want)


DNSMASQ = tuple(map(int, re.findall(r"version (\d+)\.(\d+)", run("dnsmasq", "--version"))[0]))
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS}


def test_a_folder_that_could_not_be_removed_is_removed_later(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.bring(server(reserve(5)))

    def refuse(path: Path, *, ignore_errors: bool = False) -> None:
        if not ignore_errors:
            raise OSError(16, "busy", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", refuse)
        (problem,) = host.once()
    assert "busy" in str(problem)
    assert host.once() == []
    assert list(host.root.iterdir()) == []
    assert not host.differs()


class Orphans:
    """Reaps the dnsmasqs that end, to see of what."""

    def __enter__(self) -> Self:
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        return self

    def __exit__(self, *_: object) -> None:
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def signals(self) -> list[int]:
        ended: list[int] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if not pid:
                return ended
            if os.WIFSIGNALED(status):
                ended.append(os.WTERMSIG(status))


def test_the_crash_is_real_and_no_churn_meets_it(host: Host) -> None:
    with Orphans() as orphans:
        tagged = [reserve(n, options=(("42", "10.0.0.8"),)) for n in range(5, 9)]
        plain = [reserve(n) for n in range(9, 12)]
        started = time.monotonic()
        host.bring(server(*plain))
        for n in range(8):
            host.clock = partial(float, started + 100 * (n + 1))
            wanted = [*plain[n % 3 :], *tagged[: n % 4], reserve(20 + n)]
            assert host.once(server(*wanted)) == []
            for one in wanted:
                reply = host.client(one.mac).acquire()
                assert reply
                assert reply.address == one.address
            if n == 4:
                host.start_agent()
        assert CRASHES.isdisjoint(orphans.signals())
        host.clock = lambda: started + 1000
        host.bring(server(*tagged))
        host.lease(5)
        pid = host.pid()
        os.kill(pid, signal.SIGHUP)  # the operator's, not ours
        if DNSMASQ < (2, 91):
            host.wait_for(lambda: CRASHES.intersection(orphans.signals()))
        else:  # of Debian 13: mended there
            host.lease(5)
            assert host.pid() == pid
        host.bring(server(*tagged))
        assert str(host.lease(5).address) == "10.0.0.5"


def test_a_hang_up_of_a_tagged_one_is_refused(host: Host) -> None:
    host.bring(server(reserve(5, router=False)))
    (process,) = find_all(host.paths)
    with pytest.raises(LessorError, match="set: tags"):
        process.hang_up(tagged=True)
    process.close()
