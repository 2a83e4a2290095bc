"""D3.7: the end of a former owner's lease, heard of late, takes no address from the new owner."""

from __future__ import annotations

import pytest

from tests.lab.stage import Stage

pytestmark = pytest.mark.lab

FORMER = "fa:16:3e:00:dd:01"


def test_d3_07_a_late_del_for_an_address_given_to_another_mac_is_ignored(stage: Stage) -> None:
    network = stage.network("10.7.0.0/24")
    former = stage.vm("cmp1", network)
    address = former.state.assigned
    stage.delete_vm(former)
    stage.wait(lambda: stage.state(network, address) == "free", f"{address} is free")
    owner = stage.vm("cmp2", network, fixed_ips=[{"ip_address": str(address)}])
    other = stage.vm("cmp2", network)
    before = stage.lease(owner)
    assert owner.state.assigned == address and before is not None

    stage.hook("net1", "del", former.state.mac, str(address))
    stage.tell_expiry(other, "net1", 1000)  # events stay in order: the late del was heard before

    after = stage.lease(owner)
    assert after is not None and after["id"] == before["id"]
    assert stage.state(network, address) == "leased"
    assert stage.book("net1") == {str(vm.state.assigned): vm.state.mac for vm in (owner, other)}


def test_d3_07_a_late_del_of_another_mac_frees_no_address_that_is_being_released(
    stage: Stage,
) -> None:
    """The port is gone, but not its VM's lease; whose end the former owner's isn't (A7.5)."""
    network = stage.network("10.7.1.0/24", multi_host=True)
    vm, other = stage.vm("lax1", network), stage.vm("lax1", network)
    address = vm.state.assigned
    stage.delete_vm(vm)
    stage.wait(lambda: vm.state.mac not in "".join(stage.host_lines("lax1")), "it isn't served")

    stage.hook("lax1", "del", FORMER, str(address))
    stage.tell_expiry(other, "lax1", 1000)  # events stay in order: the late del was heard before

    assert stage.state(network, address) == "releasing"
    stage.hook("lax1", "del", vm.state.mac, str(address))
    stage.wait(lambda: stage.state(network, address) == "free", "its own del frees it")
