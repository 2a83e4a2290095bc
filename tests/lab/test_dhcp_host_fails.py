"""A DHCP host that can't serve: another one takes over, or an operator reads who and how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.demo.overlay import dhcp_hosts
from lessor.lab.lab import Lab
from lessor.lab.ovs import SWITCH
from lessor.lab.state import HostSpec
from lessor.lab.vm import Vm

pytestmark = pytest.mark.lab

MOVED_S = 8 + 17  # dhcp_down_time, and noticing, moving and setting up on a busy machine
SAID_S = 6 + 16  # three reports, and the next look
STRAY_S = 10 + 30  # a tap without a port is one after 10 s; two full looks, on a busy machine
# heartbeats may be late by six seconds, as with the defaults (4 and 10)
OFTEN = {"report_interval": "2"}
SETTINGS = {"dhcp_down_time": "8"}
HOSTS = [
    HostSpec(name="net1", network_host=True, overlay=True, flags=OFTEN),
    HostSpec(name="net2", network_host=True, overlay=True, flags=OFTEN),
    HostSpec(name="cmp1", overlay=True, flags=OFTEN | {"resync_interval": "2"}),
]


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.up(tmp_path_factory.mktemp("fails") / "lab", HOSTS, SETTINGS)
    yield lab
    lab.down()


def served(vm: Vm) -> bool:
    try:
        return vm.dhcp(timeout_s=2).address == vm.state.assigned
    except TimeoutError:
        return False


def booted(lab: Lab, name: str, network: LabNetwork) -> Vm:
    vm = lab.boot(name, "cmp1", network)
    lab.wait_active(vm, timeout_s=20)
    assert vm.dhcp(timeout_s=20).address == vm.state.assigned
    return vm


def shown(lab: Lab, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.exec("server", "lessor", *words, "--json"))
    return found


def test_a_dhcp_host_without_ovs_vswitchd_is_replaced(lab: Lab) -> None:
    red = lab.network("red", "10.30.0.0/24", kind="vxlan")
    vm = booted(lab, "r1", red)
    [host] = dhcp_hosts(lab, red)
    lab.kill(host, SWITCH)
    lab.wait_for(lambda: served(vm), MOVED_S, "the other host answers")
    assert dhcp_hosts(lab, red) != [host]
    [other] = dhcp_hosts(lab, red)
    status = lab.exec("server", "lessor", "status")
    assert f"network red: its DHCP server moved from {host} to {other} at " in status


def test_a_flat_network_of_a_dead_host_says_so_and_moves_by_the_command_it_prints(
    lab: Lab,
) -> None:
    office = lab.network("office", "10.10.0.0/24", network={"lessor:host": "net1"})
    vm = booted(lab, "o1", office)
    lab.power_off("net1")
    command = "lessor network set office --host net2"

    def said() -> bool:
        return command in shown(lab, "network", "show", "office")["lessor:pending"]

    lab.wait_for(said, SAID_S, "it is said at the network")
    assert command in shown(lab, "port", "show", "o1")["lessor:pending"]
    status = lab.exec("server", "lessor", "status")
    assert "network office: its DHCP server and gateway net1 is " in status
    assert "net1  silent for " in status
    assert not served(vm)
    lab.exec("server", *command.split())
    lab.wait_for(lambda: served(vm), MOVED_S, "net2 answers")
    lab.wait_for(
        lambda: shown(lab, "network", "show", "office")["lessor:pending"] == "",
        SAID_S,
        "nothing is pending",
    )


def test_a_vm_on_another_host_than_its_port_is_bound_to_is_said_with_the_way_back(
    lab: Lab,
) -> None:
    office = lab.network("office", "10.10.0.0/24", network={"lessor:host": "net1"})
    vm = booted(lab, "o1", office)
    lab.exec("server", "lessor", "port", "set", "o1", "--host", "net2")
    words = f"tap{vm.state.port_id[:11]} is on cmp1, the port is bound to net2"
    lab.wait_for(
        lambda: words in shown(lab, "port", "show", "o1")["lessor:pending"],
        STRAY_S,
        "the port says where its tap is",
    )
    assert words in lab.exec("server", "lessor", "host", "show", "cmp1")
    lab.exec("server", "lessor", "port", "set", "o1", "--host", "cmp1")
    lab.wait_for(lambda: served(vm), MOVED_S, "the VM is served again")
    lab.wait_for(lambda: words not in lab.exec("server", "lessor", "status"), 10, "it is mended")
