"""What VMs get from lessor-dhcpd and lessor-dnsd as an agent's driver runs them."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from lessor.agent.host.run import run
from lessor.core.diff import Unsound, as_read
from lessor.core.leases import LiveLease
from lessor.daemon.home import Home
from lessor.dhcpd.client import Dhcpd
from tests.agent.drivers.dnsmasq_host import (
    BRIDGE,
    CLONE_NEWNET,
    LIBC,
    RANGE,
    kind_in_namespace,
    mac,
    reserve,
    server,
)
from tests.agent.drivers.native_host import NativeHost, asked

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[NativeHost]:
    with kind_in_namespace(NativeHost) as made:
        yield made


def test_a_vm_gets_the_address_and_options_of_its_port(host: NativeHost) -> None:
    host.bring(server(reserve(5), reserve(6, at=300)))
    reply = host.lease(6)
    assert (str(reply.address), str(reply.server)) == ("10.0.1.44", "10.0.0.1")
    assert reply.addresses(3) == ["10.0.0.1"]
    assert reply.options[26] == (1450).to_bytes(2)
    assert (reply.options[12], reply.options[15]) == (b"vm6", b"novalocal")
    host.wait_for(lambda: host.held() == {"10.0.1.44": mac(6)})


def test_a_look_starts_nothing(host: NativeHost) -> None:
    assert host.driver.observe() == {}
    assert not (host.folder / "dhcpd").exists()


def test_a_host_without_networks_has_nothing_to_look_at(host: NativeHost) -> None:
    assert host.driver.observe() == {}
    assert host.driver._are_well()  # type: ignore[attr-defined]


def test_a_port_that_comes_and_one_that_goes_change_nothing_else(host: NativeHost) -> None:
    host.bring(server(reserve(5), reserve(6)))
    pid = host.pid()
    host.lease(5)
    host.wait_for(lambda: "10.0.0.5" in host.held())
    host.bring(server(reserve(6), reserve(7)))
    assert host.client(5).discover(0.3) is None
    assert host.lease(7)
    host.wait_for(lambda: host.held() == {"10.0.0.7": mac(7)})
    assert host.pid() == pid


def test_an_address_of_another_vm_takes_its_former_lease(host: NativeHost) -> None:
    host.bring(server(reserve(5)))
    host.lease(5)
    host.wait_for(lambda: host.held() == {"10.0.0.5": mac(5)})
    host.bring(server(reserve(8, at=5)))
    assert host.held() == {}
    assert str(host.lease(8).address) == "10.0.0.5"
    assert host.client(5).discover(0.3) is None


def test_another_range_reaches_all_vms(host: NativeHost) -> None:
    host.bring(server(reserve(5), reserve(6)))
    host.lease(5)
    host.bring(server(reserve(5), reserve(6), ranges=(replace(RANGE, mtu=1400),)))
    assert host.lease(5).options[26] == (1400).to_bytes(2)
    assert host.lease(6).options[26] == (1400).to_bytes(2)


def test_a_new_agent_finds_what_is_served_and_changes_nothing(host: NativeHost) -> None:
    want = server(reserve(5), reserve(6))
    host.bring(want)
    pid = host.pid()
    host.start_agent()
    assert host.once(want) == []
    assert host.driver.observe() == {BRIDGE: want}
    assert host.pid() == pid


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_ends_or_hangs_is_replaced_within_seconds(
    host: NativeHost, number: int
) -> None:
    want = server(reserve(5))
    host.bring(want)
    host.lease(5)
    with host.probing(want):
        before = host.pid()
        os.kill(before, number)
        host.wait_for(lambda: host.told("dhcp server restarted"), 15)
        assert host.pid() != before
        assert host.lease(5)
    host.wait_for(lambda: host.held() == {"10.0.0.5": mac(5)})


def test_the_process_that_answers_dns_is_replaced_too(host: NativeHost) -> None:
    run("ip", "addr", "add", "10.0.0.5/16", "dev", "c1")
    want = server(reserve(5), reserve(6))
    host.bring(want)
    assert asked("vm6.novalocal", "10.0.0.5") == ["10.0.0.6"]
    with host.probing(want):
        os.kill(host.dns_pid(), signal.SIGKILL)
        host.wait_for(lambda: host.told("dns server restarted"), 15)
    assert asked("vm6", "10.0.0.5") == ["10.0.0.6"]


def test_a_lease_that_no_port_has_is_ended(host: NativeHost) -> None:
    host.bring(server(reserve(5)))
    lease = LiveLease(IPv4Address("10.0.0.9"), mac(9), time.time() + 600)
    host.book.seed(BRIDGE, [lease])
    host.start_agent()
    host.bring(server(reserve(5)))
    assert host.held() == {}
    assert ("del", mac(9), "10.0.0.9") in host.events()


def test_a_name_server_that_is_no_address_is_said(host: NativeHost) -> None:
    host.bring(server(reserve(5), upstream_dns=("192.0.2.53", "192.0.2.54#5353")))
    assert host.driver.problems() == [
        "name server 192.0.2.54#5353 is left out: lessor-dnsd takes addresses alone"
    ]


def test_names_come_and_go_with_ports(host: NativeHost) -> None:
    run("ip", "addr", "add", "10.0.0.5/16", "dev", "c1")
    host.bring(server(reserve(5), reserve(6)))
    host.bring(server(reserve(5), reserve(7), names=((reserve(9).address, "db.novalocal"),)))
    assert asked("vm6.novalocal", "10.0.0.5") == []
    assert asked("vm7.novalocal", "10.0.0.5") == ["10.0.0.7"]
    assert asked("db.novalocal", "10.0.0.5") == ["10.0.0.9"]


def test_a_network_that_goes_is_served_no_more(host: NativeHost) -> None:
    host.bring(server(reserve(5)))
    host.lease(5)
    host.bring()
    assert host.client(5).discover(0.3) is None
    assert host.held() == {}
    assert host.driver.observe() == {}


def test_what_others_changed_is_put_back(host: NativeHost) -> None:
    want = server(reserve(5))
    host.bring(want)
    process = Dhcpd(host.folder / "dhcpd", host.program.inbox.folder, "")
    process.join()
    process.drop(BRIDGE, [IPv4Address("10.0.0.5")])
    process.close()
    assert isinstance(host.driver.observe()[BRIDGE], Unsound)
    host.bring(want)
    assert host.lease(5)


@pytest.mark.parametrize("folder", ["dhcpd", "dnsd"])
def test_a_folder_that_was_removed_leaves_one_process(host: NativeHost, folder: str) -> None:
    want = server(reserve(5))
    host.bring(want)
    before = Home(host.folder / folder).holder()
    shutil.rmtree(host.folder / folder)
    host.start_agent()
    host.bring(want)
    assert not alive(before)
    assert host.lease(5)


def test_dnsmasq_takes_over_from_processes_that_hang(host: NativeHost) -> None:
    want = server(reserve(5))
    host.bring(want)
    pids = [host.pid(), host.dns_pid()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    host.start_dnsmasq_agent()
    host.bring(want, within_s=20)
    assert not any(map(alive, pids))
    assert host.lease(5)


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text()


def test_from_dnsmasq_to_native_and_back_costs_no_lease(host: NativeHost) -> None:
    want = server(reserve(5), reserve(6))
    host.start_dnsmasq_agent()
    host.bring(want)
    host.lease(5)
    host.wait_for(lambda: host.held() == {"10.0.0.5": mac(5)})
    host.start_agent()
    assert as_read(host.driver.observe()[BRIDGE]).name == BRIDGE
    host.bring(want)
    assert not list(host.root.iterdir())
    assert host.held() == {"10.0.0.5": mac(5)}
    assert host.lease(6)
    host.wait_for(lambda: set(host.held()) == {"10.0.0.5", "10.0.0.6"})
    host.start_dnsmasq_agent()
    host.bring(want)
    assert set(host.held()) == {"10.0.0.5", "10.0.0.6"}
    assert not (host.folder / "dhcpd/devices" / BRIDGE).exists()
    assert host.lease(5)


def test_no_vm_waits_while_native_takes_over_from_dnsmasq(host: NativeHost) -> None:
    want = server(reserve(5), reserve(6))
    host.start_dnsmasq_agent()
    host.bring(want)
    host.lease(6)
    ended, gaps = threading.Event(), [0.0]
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)

    def ask() -> None:
        assert LIBC.setns(here, CLONE_NEWNET) == 0
        while not ended.is_set():
            began = time.monotonic()
            while not host.client(6).discover(0.05):
                pass
            gaps.append(time.monotonic() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        host.start_agent()
        host.bring(want)
    finally:
        time.sleep(0.1)
        ended.set()
        asking.join()
        os.close(here)
    assert len(gaps) > 10
    assert max(gaps) < 0.3, max(gaps)  # native answers 20 a second of one client
