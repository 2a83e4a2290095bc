"""Overlay networks between hosts that reach each other over IPv6."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lessor.core.plan.overlay import tunnel_name
from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec
from lessor.lab.underlay import Underlay
from lessor.lab.vm import NetnsVm

pytestmark = pytest.mark.lab

HOSTS = [
    HostSpec(name="net1", network_host=True, overlay=True),
    HostSpec(name="cmp1", overlay=True),
]


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.up(tmp_path_factory.mktemp("six") / "lab", HOSTS, underlay=Underlay(ip_version=6))
    yield lab
    lab.down()


def test_a_vm_gets_its_lease_and_large_packets_through_a_tunnel_over_ipv6(six: Lab) -> None:
    network = six.network("red", "10.30.0.0/24", kind="vxlan")
    here, there = (six.boot(f"vm-{host}", host, network) for host in ("cmp1", "net1"))
    for vm in (here, there):
        six.wait_active(vm, timeout_s=30)
        lease = vm.dhcp(timeout_s=20)
        assert (lease.address, lease.mtu) == (vm.state.assigned, 1430)
    end = six.host_state("net1").tunnel_address
    assert end is not None
    assert end.version == 6
    assert tunnel_name(end) in six.exec("cmp1", "ovs-vsctl", "list-ports", "br-tun").split()
    assert isinstance(there, NetnsVm)
    there.serve("x" * 100_000)
    assert len(here.http(f"http://{there.state.assigned}/").strip()) == 100_000
    assert [host["problems"] for host in six.api.list("hosts")] == [[], []]
