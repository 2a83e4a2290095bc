"""D3.2: a VM gets exactly the address of its port, and the store knows that it took it."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from tests.lab.stage import Stage

pytestmark = pytest.mark.lab


def test_d3_02_two_vms_get_the_addresses_of_the_store_which_knows_that_they_took_them(
    walled: Stage,
) -> None:
    network = walled.network("10.0.0.0/24")
    vms = [walled.plugged(on, network, dns_name=on) for on in ("cmp1", "cmp2")]
    assert [str(vm.state.assigned) for vm in vms] == ["10.0.0.2", "10.0.0.3"]

    lines = sorted(walled.host_lines("net1"))
    assert lines == sorted(
        f"{vm.state.mac},{vm.state.host}.novalocal,[100::],{vm.state.assigned}" for vm in vms
    )
    options = walled.files("net1")[f"opts/subnet-{network.subnet_id}"]
    assert options.splitlines()[0] == f"tag:subnet-{network.subnet_id},3,10.0.0.1"
    assert [walled.lease(vm) for vm in vms] == [None, None]

    for vm in vms:
        lease = vm.dhcp(timeout_s=30)
        assert (lease.address, lease.router) == (vm.state.assigned, IPv4Address("10.0.0.1"))

    for vm in vms:
        row = walled.wait(lambda vm=vm: walled.lease(vm), f"the lease of {vm.state.name} is known")
        assert (row["address"], row["mac_address"], row["host"], row["ended_at"]) == (
            str(vm.state.assigned),
            vm.state.mac,
            "net1",
            None,
        )
    assert walled.addresses(network, state="leased").keys() == {"10.0.0.2", "10.0.0.3"}
