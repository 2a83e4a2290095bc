"""Where VMs are forwarded to: not into networks of the host alone, not from network to network."""

from __future__ import annotations

import errno
import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Network

import pytest

from lessor.lab.cabling import OUTSIDE, SERVER
from lessor.lab.netns import in_netns
from lessor.lab.vm import NIC, NetnsVm
from tests.lab.stage import SOURCES, Stage
from tests.lab.test_acceptance_09_nat import PORT, seen_by

pytestmark = pytest.mark.lab

AGENTS, WEB = 9697, 80  # ports of the server and of the outside
NEW, ABROAD = "203.0.113.11/24", "203.0.113.9"
WIRE_MTU = 1500
SHORT_S = 1.0  # for what is dropped


def connects(vm: NetnsVm, address: object, port: int = WEB) -> bool:
    return bool(reached(vm, (str(address), port)))


def reached(vm: NetnsVm, *to: tuple[str, int]) -> set[tuple[str, int]]:
    """Return those that answer; all are asked at once, since each that doesn't takes SHORT_S."""
    with ExitStack() as stack:
        asked: dict[socket.socket, tuple[str, int]] = {}
        for one in to:
            opened = stack.enter_context(in_netns(vm.netns_path(), socket.socket))
            opened.setblocking(False)
            if opened.connect_ex(one) in (0, errno.EINPROGRESS):  # else there is no route
                asked[opened] = one
        found, end = set(), time.monotonic() + SHORT_S
        while asked and (ready := select.select([], asked, [], max(0, end - time.monotonic()))[1]):
            for answered in ready:
                one = asked.pop(answered)
                if not answered.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    found.add(one)
        return found


@contextmanager
def listening(vm: NetnsVm) -> Iterator[None]:
    where = str(vm.state.assigned), PORT
    with closing(in_netns(vm.netns_path(), lambda: socket.create_server(where))):
        yield


def test_a_host_forwards_nothing_into_networks_of_its_other_interfaces(walled: Stage) -> None:
    """nova1's eth0 is not its public_interface; that of others is."""
    lab, network = walled.lab, walled.network("10.26.0.0/24", multi_host=True)
    closed, usual = (walled.vm(host, network) for host in ("nova1", "cmp1"))
    lab.route_back(IPv4Network(str(closed.state.assigned)), via="nova1")
    lab.exec("outside", "ip", "addr", "replace", f"{ABROAD}/32", "dev", "lo")
    assert usual.http(f"http://{OUTSIDE}/") == f"{SOURCES['cmp1']}\n"
    assert connects(closed, ABROAD)
    assert not reached(closed, (str(OUTSIDE), WEB), (str(SERVER), AGENTS))

    lab.exec("nova1", "ip", "addr", "add", NEW, "dev", "eth0")
    try:
        walled.wait(lambda: not connects(closed, ABROAD), "a network that is new is closed")
    finally:
        lab.exec("nova1", "ip", "addr", "del", NEW, "dev", "eth0")
    walled.wait(lambda: connects(closed, ABROAD), "one that is gone is open")


@pytest.mark.parametrize("multi_host", [False, True], ids=["single_host", "multi_host"])
def test_flat_networks_of_one_host_are_apart(walled: Stage, multi_host: bool) -> None:
    red, blue = (walled.network(f"10.26.{n}.0/24", multi_host=multi_host) for n in (1, 2))
    vm, friend = (walled.vm(host, red) for host in ("cmp1", "cmp2"))
    others = [walled.vm(host, blue) for host in ("cmp1", "cmp2")]
    assert seen_by(vm, friend) == vm.state.assigned
    assert vm.http(f"http://{OUTSIDE}/")
    served = [(str(other.state.assigned), PORT) for other in others]
    with listening(others[0]), listening(others[1]):
        assert not reached(vm, *served), "through the gateway"
        for address, _ in served:
            vm.exec("ip", "route", "add", f"{address}/32", "dev", NIC)
        assert not reached(vm, *served), "on the wire"
        for address, _ in served:
            vm.exec("ip", "route", "del", f"{address}/32", "dev", NIC)
    assert seen_by(others[0], others[1]) == others[0].state.assigned


def test_a_network_with_a_small_mtu_costs_no_other_networks_vms(walled: Stage) -> None:
    """On the gateway, and on the host of the VM, whose bridges both networks share."""
    red, blue = (walled.network(f"10.27.{n}.0/24") for n in (1, 2))
    walled.lab.api.update("networks", blue.id, {"mtu": 68})
    vm = walled.vm("cmp1", red)
    for host in ("net1", "cmp1"):
        walled.plugged(host, blue)
    large = ("ping", "-M", "do", "-s", "1400", "-c", "1", "-W", "5")
    vm.exec(*large, str(OUTSIDE))
    walled.lab.exec("net1", *large, str(vm.state.assigned))
    walled.lab.exec("net1", "ip", "link", "set", "br100", "mtu", "68")
    walled.wait(lambda: _mtu(walled, "net1") == WIRE_MTU, "what somebody changed is set back")
    vm.exec(*large, str(OUTSIDE))


def _mtu(stage: Stage, host: str) -> int:
    (bridge,) = json.loads(stage.lab.exec(host, "ip", "-j", "link", "show", "br100"))
    return int(bridge["mtu"])
