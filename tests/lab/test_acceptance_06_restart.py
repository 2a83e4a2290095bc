"""D3.6: a restarted DHCP server knows who has leases, and renews them."""

from __future__ import annotations

import pytest

from lessor.lab.demo.dora import ACK, NAK
from lessor.lab.vm import NIC
from tests.lab.frames import listening
from tests.lab.stage import Stage

pytestmark = pytest.mark.lab


def test_d3_06_init_prints_leased_rows_only(stage: Stage) -> None:
    network = stage.network("10.6.0.0/24")
    leased = stage.vm("cmp1", network)
    allocated = stage.plugged("cmp2", network)
    gone = stage.vm("cmp1", network)
    stage.delete_vm(gone)
    stage.wait(lambda: stage.state(network, gone.state.assigned) == "free", "its address is free")

    stage.restart_dnsmasq("net1")

    lines = stage.hook("net1", "init").splitlines()
    assert [line.split()[1:] for line in lines] == [
        [leased.state.mac, str(leased.state.assigned), leased.state.name, "*"]
    ]
    assert stage.state(network, allocated.state.assigned) == "allocated"


@pytest.mark.parametrize("signal", ["KILL", "TERM"])
def test_d3_06_a_renewal_after_a_restart_is_acked_and_never_naked(
    stage: Stage, signal: str
) -> None:
    network = stage.network("10.6.1.0/24")
    vm = stage.vm("cmp1", network)
    before = stage.lease(vm)
    assert before is not None
    told = stage.tell_expiry(vm, "net1", 1000)

    with listening(vm.netns_path(), NIC) as wire:
        stage.restart_dnsmasq("net1", signal)
        vm.renew()
        stage.wait(lambda: ACK in [message.type for message in wire.dhcp], "the renewal is ACKed")
        stage.wait(lambda: "renew" in vm.events(), "the VM has renewed")
        assert NAK not in [message.type for message in wire.dhcp]

    assert vm.events() == ["deconfig", "bound", "renew"]
    lease = vm.lease()
    assert lease is not None and lease.address == vm.state.assigned
    renewed = stage.wait(
        lambda: (row := stage.lease(vm)) and row["expires_at"] > told and row,
        "the server knows of the renewal",
    )
    assert (renewed["id"], renewed["started_at"]) == (before["id"], before["started_at"])
