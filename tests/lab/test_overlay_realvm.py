"""A real guest on a vxlan network, with the NIC that `lessor port plug` says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lessor.lab.guest.realvm import RealVm
from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec

pytestmark = pytest.mark.lab


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [HostSpec(name=name, overlay=True) for name in ("net1", "cmp1")]
    hosts[0] = HostSpec(name="net1", network_host=True, overlay=True)
    made = Lab.up(tmp_path_factory.mktemp("guest") / "lab", hosts)
    yield made
    made.down()


def test_a_real_guest_has_tcp_on_the_userspace_datapath(lab: Lab) -> None:
    network = lab.network("red", "10.30.0.0/24", kind="vxlan")
    vm = lab.boot("vm1", "cmp1", network, real=True)
    assert isinstance(vm, RealVm)
    assert vm.dhcp(timeout_s=120).address == vm.state.assigned
    assert vm.report(timeout_s=120)["instance-id"], "metadata, which is asked by TCP"

    plug = "lessor port plug vm1 --host cmp1 --only qemu"
    printed = lab.exec("server", *plug.split()).split()[-1].split(",")
    running = lab.exec(
        "cmp1", "sh", "-c", "tr '\\0' '\\n' < /proc/$(pgrep -x qemu-system-x86)/cmdline"
    )
    [nic] = [line for line in running.splitlines() if line.startswith("virtio-net-pci")]
    assert (
        {one for one in printed if one.endswith("=off")}
        == {one for one in nic.split(",") if one.endswith("=off")}
        != set()
    )
