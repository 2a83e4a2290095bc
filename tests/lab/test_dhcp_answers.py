"""DHCP servers that run and do not answer, as an operator and a VM meet them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec
from lessor.lab.vm import Vm

pytestmark = pytest.mark.lab

LIMIT_S = 30
WITHIN_S = 5.0  # from the fault to a running server that is not the old one
UNASKED = {"resync_interval": "600"}  # what happens must be noticed, not found at the next look


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [
        HostSpec(name="net1", network_host=True, overlay=True, flags=UNASKED),
        HostSpec(name="cmp1", overlay=True, flags=UNASKED),
    ]
    made = Lab.up(tmp_path_factory.mktemp("answers") / "lab", hosts)
    yield made
    made.down()


@pytest.fixture(scope="module", params=["flat", "vxlan"])
def network(lab: Lab, request: pytest.FixtureRequest) -> LabNetwork:
    cidr = {"flat": "10.61.0.0/24", "vxlan": "10.62.0.0/24"}[request.param]
    more = {"kind": "vxlan"} if request.param == "vxlan" else {}
    return lab.network(f"asked-{request.param}", cidr, **more)


@pytest.fixture(scope="module")
def vm(lab: Lab, network: LabNetwork) -> Vm:
    made = lab.boot(f"vm-{network.name}", "cmp1", network)
    lab.wait_active(made, LIMIT_S)
    assert made.dhcp(LIMIT_S).address == made.state.assigned
    return made


def pids(lab: Lab, vm: Vm, network: LabNetwork) -> list[str]:
    """Return the main process and the helper of a network's dnsmasq, by pids of the host."""
    folder = "br100" if "flat" in network.name else network.id
    script = (
        f"pid=$(cat /var/lib/lessor/networks/{folder}/pid) && "
        "echo $pid $(cat /proc/$pid/task/$pid/children)"
    )
    try:
        return lab.exec("net1", "sh", "-c", script).split()
    except Exception:  # noqa: BLE001 - between two of them
        return []


def log(lab: Lab) -> str:
    return lab.node("net1").log("agent").read_text()


@pytest.mark.parametrize("which", [0, 1], ids=["dnsmasq", "helper"])
def test_a_dnsmasq_that_hangs_serves_again_within_seconds_and_is_said(
    lab: Lab, network: LabNetwork, vm: Vm, which: int
) -> None:
    before = pids(lab, vm, network)
    start = len(log(lab))
    lab.exec("net1", "kill", "-STOP", before[which])
    seconds = measured(lambda: again(lab, vm, network, before), lab)
    assert seconds < WITHIN_S
    assert vm.dhcp(LIMIT_S).address == vm.state.assigned
    [said] = [line for line in log(lab)[start:].splitlines() if "does not answer" in line]
    assert network.name in said
    assert re.search(r"state T|hangs", said)


def again(lab: Lab, vm: Vm, network: LabNetwork, before: list[str]) -> bool:
    now = pids(lab, vm, network)
    return len(now) == 2 and not set(now) & set(before)


def measured(condition: Callable[[], bool], lab: Lab) -> float:
    started = time.monotonic()
    lab.wait_for(condition, LIMIT_S, "another dnsmasq")
    return time.monotonic() - started
