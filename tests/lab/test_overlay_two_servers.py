"""Two DHCP servers on one overlay network (semantics.md D3, check 14), and the death of one."""

from __future__ import annotations

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.demo.dora import ACK, NAK, OFFER
from lessor.lab.demo.overlay import renew
from lessor.lab.lab import Lab
from lessor.lab.vm import NetnsVm

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def pair(pair_lab: Lab) -> LabNetwork:
    return pair_lab.network("pair", "10.40.0.0/24", kind="vxlan")


@pytest.fixture(scope="module")
def vm(pair_lab: Lab, pair: LabNetwork) -> NetnsVm:
    vm = pair_lab.boot("twice", "cmp1", pair)
    assert isinstance(vm, NetnsVm)
    pair_lab.wait_active(vm, timeout_s=20)
    vm.dhcp(timeout_s=20)
    return vm


def servers(lab: Lab, network: LabNetwork) -> dict[str, dict[str, object]]:
    query = {"network_id": network.id, "device_owner": "network:dhcp"}
    return {str(row["binding:host_id"]): row for row in lab.api.list("ports", query)}


def addresses(rows: dict[str, dict[str, object]]) -> set[str]:
    fixed = [row["fixed_ips"] for row in rows.values()]
    return {one["ip_address"] for many in fixed if isinstance(many, list) for one in many}


def test_d3_14_both_servers_offer_and_none_refuses(
    pair_lab: Lab, pair: LabNetwork, vm: NetnsVm
) -> None:
    macs = {str(row["mac_address"]) for row in servers(pair_lab, pair).values()}
    assert set(servers(pair_lab, pair)) == {"net1", "net2"}
    offered: set[str] = set()
    with pair_lab.capture("cmp1", vm.tap) as tap:

        def both_offered() -> bool:
            vm.dhcp(timeout_s=20)
            seen = tap.sightings()
            kinds = {one.message.type for one in seen}
            assert ACK in kinds
            assert NAK not in kinds
            offered.update(one.source for one in seen if one.message.type == OFFER)
            return offered == macs

        pair_lab.wait_for(both_offered, timeout_s=40, what="both servers offer")
    lease = vm.lease()
    assert lease is not None
    assert lease.address == vm.state.assigned


def test_d3_14_dns_server_lists_both(pair_lab: Lab, pair: LabNetwork, vm: NetnsVm) -> None:
    lease = vm.lease()
    assert lease is not None
    assert {str(address) for address in lease.dns} == addresses(servers(pair_lab, pair))


def test_a_client_whose_server_died_renews_at_the_other(
    pair_lab: Lab, pair: LabNetwork, vm: NetnsVm
) -> None:
    lease = vm.lease()
    assert lease is not None
    given_by = str(lease.server)
    dead = next(
        host for host, row in servers(pair_lab, pair).items() if given_by in str(row["fixed_ips"])
    )
    seen = len(vm.events())
    pair_lab.power_off(dead)
    try:
        renew(vm)  # in vain at the dead one, then at the other, before udhcpc gives up
        now = vm.lease()
    finally:
        pair_lab.power_on(dead)  # the other tests need both, in whatever order
    assert now is not None
    assert now.address == vm.state.assigned
    assert not {"deconfig", "nak"} & set(vm.events()[seen:])
