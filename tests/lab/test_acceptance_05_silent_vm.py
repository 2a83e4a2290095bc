"""D3.5: a VM that falls silent keeps its address, though its lease expires."""

from __future__ import annotations

import pytest

from lessor.errors import Conflict
from tests.lab.stage import Stage

pytestmark = pytest.mark.lab


def test_d3_05_a_silent_vm_s_lease_expires_and_its_address_stays_its_own(stage: Stage) -> None:
    network = stage.network("10.5.0.0/29")  # .2 to .6
    vm = stage.vm("cmp1", network)
    address = vm.state.assigned
    assert stage.state(network, address) == "leased"

    stage.shorten_lease(vm, "net1", seconds=4)
    stage.wait(lambda: stage.lease(vm) is None, "its lease has expired")

    [ended] = stage.wait(
        lambda: [row for row in stage.history(network, vm.state.mac) if row["ended_at"]],
        "the DHCP server says that it has ended",
    )
    assert ended["end_reason"] == "expired"
    assert stage.state(network, address) == "allocated"
    port = stage.lab.api.show("ports", vm.state.port_id)
    assert [ip["ip_address"] for ip in port["fixed_ips"]] == [str(address)]
    with pytest.raises(Conflict, match=str(address)):
        stage.make_port(network, address)
    others = {stage.make_port(network)["fixed_ips"][0]["ip_address"] for _ in range(4)}
    assert others == {"10.5.0.3", "10.5.0.4", "10.5.0.5", "10.5.0.6"}
    with pytest.raises(Conflict):
        stage.make_port(network)

    assert vm.dhcp(timeout_s=30).address == address
    stage.wait(lambda: stage.state(network, address) == "leased", f"{address} is leased again")
