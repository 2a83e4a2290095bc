"""D3.3: a deleted VM's reservation goes before its lease, and its address rests."""

from __future__ import annotations

import pytest

from lessor.lab.demo.dora import RELEASE
from tests.lab.frames import listening
from tests.lab.stage import NETWORKS, Stage

pytestmark = pytest.mark.lab


def test_d3_03_a_deleted_vm_s_hosts_line_goes_before_the_release(stage: Stage) -> None:
    """Else the address could be leased again after the release (A7.4)."""
    network = stage.network("10.3.0.0/24")
    vm, other = stage.vm("cmp1", network), stage.vm("cmp2", network)
    host = stage.lab.node("net1")
    folder = host.root / NETWORKS / "br100"

    with listening(host.netns, "lo") as wire:  # dhcp_release speaks to this host's own dnsmasq
        stage.delete_vm(vm)
        release, *_ = stage.wait(
            lambda: [m for m in wire.dhcp if (m.type, m.mac) == (RELEASE, vm.state.mac)],
            "a DHCPRELEASE is sent",
        )
    rewritten = (folder / "reservations").stat().st_mtime
    assert [line.partition(",")[0] for line in stage.host_lines("net1")] == [other.state.mac]
    assert rewritten <= release.at
    address = str(vm.state.assigned)
    stage.wait(lambda: stage.state(network, address) == "free", f"{address} is free")
    assert [row["end_reason"] for row in stage.history(network, vm.state.mac)] == ["released"]


def test_d3_03_a_deleted_vm_s_address_rests_as_long_as_possible(stage: Stage) -> None:
    network = stage.network("10.3.1.0/29")  # .2 to .6
    first, second = stage.vm("cmp1", network), stage.vm("cmp1", network)
    assert [str(vm.state.assigned) for vm in (first, second)] == ["10.3.1.2", "10.3.1.3"]

    for vm in (second, first):
        stage.delete_vm(vm)
        address = vm.state.assigned
        stage.wait(lambda a=address: stage.state(network, a) == "free", f"{address} is free")

    chosen = [stage.make_port(network)["fixed_ips"][0]["ip_address"] for _ in range(5)]
    never_used, freed_longest_ago_first = chosen[:3], chosen[3:]
    assert never_used == ["10.3.1.4", "10.3.1.5", "10.3.1.6"]
    assert freed_longest_ago_first == ["10.3.1.3", "10.3.1.2"]
