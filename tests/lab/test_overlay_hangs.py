"""A daemon of Open vSwitch hangs: it is named, and whatever doesn't need it goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.ovs import SERVER, SWITCH
from lessor.lab.state import HostSpec

pytestmark = pytest.mark.lab

NAMED_S = 10  # from the fault to what an operator reads
USUAL_S = 5  # for a VM's address on a busy machine; it takes 0.3 s on an idle one
RARELY = {"resync_interval": "300"}  # what is noticed is noticed by itself
HOSTS = [
    HostSpec(name="net1", network_host=True, overlay=True, flags=RARELY),
    HostSpec(name="cmp1", overlay=True, flags=RARELY),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.up(tmp_path_factory.mktemp("hangs") / "lab", HOSTS)
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def office(lab: Lab) -> LabNetwork:
    return lab.network("office", "10.10.0.0/24")


@pytest.fixture(scope="module")
def red(lab: Lab) -> LabNetwork:
    network = lab.network("red", "10.30.0.0/24", kind="vxlan")
    vm = lab.boot("r0", "cmp1", network)
    lab.wait_active(vm, timeout_s=20)
    assert vm.dhcp(timeout_s=20).address == vm.state.assigned
    return network


def status(lab: Lab) -> str:
    return lab.exec("server", "lessor", "status")


def on_tour(lab: Lab, network: LabNetwork, host: str) -> list[str]:
    """Return what the tour shows of a host that isn't so, in its words."""
    [found] = [one for one in lab.api.tour(network.id)["hosts"] if one["host"] == host]
    return [found["silent"] or "", *(p["found"] for p in found["pieces"] if not p["ok"])]


def log(lab: Lab, host: str) -> str:
    return lab.node(host).log("agent").read_text()


@pytest.mark.parametrize("host", ["cmp1", "net1"])
@pytest.mark.parametrize("daemon", [SWITCH, SERVER])
def test_a_daemon_that_hangs_is_named_and_flat_vms_get_their_addresses_as_ever(
    lab: Lab, office: LabNetwork, red: LabNetwork, daemon: str, host: str
) -> None:
    names = [f"{kind}-{host}-{daemon[:5]}" for kind in ("f", "o")]
    lab.kill(host, daemon, "STOP")
    stopped = time.monotonic()
    try:
        late = lab.boot(names[1], "cmp1", red)  # it needs what hangs
        flat = lab.boot(names[0], "cmp1", office)
        assert flat.dhcp(timeout_s=USUAL_S).address == flat.state.assigned
        lab.wait_active(flat, timeout_s=USUAL_S)
        lab.wait_for(
            lambda: (
                f"host {host}: {daemon} hangs (pid " in status(lab)
                or (host == "cmp1" and f"on cmp1: {daemon} hangs (pid " in status(lab))
            ),
            NAMED_S - (time.monotonic() - stopped),
            "it is named",
        )
        assert "state T (stopped)" in status(lab)
        assert [one for one in on_tour(lab, red, host) if one.startswith(f"{daemon} hangs (pid")]
    finally:
        lab.kill(host, daemon, "CONT")
    lab.wait_for(lambda: "hangs" not in status(lab), NAMED_S, "it is well again")
    lab.wait_active(late, timeout_s=10)
    assert late.dhcp(timeout_s=10).address == late.state.assigned
    applied = log(lab, host).count("applied")
    time.sleep(3)  # nothing is to happen
    assert log(lab, host).count("applied") == applied
    for name in names:
        lab.delete_vm(name)
