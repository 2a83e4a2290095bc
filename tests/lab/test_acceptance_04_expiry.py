"""D3.4: with force_dhcp_release off a deleted VM's address is freed when its lease has ended.

That time alone frees it no sooner than both fixed_ip_disassociate_timeout and its last expiry is
shown in tests/api/test_acceptance_04_timeout.py, with a clock.
"""

from __future__ import annotations

import time

import pytest

from lessor.errors import Conflict
from tests.lab.stage import Stage

pytestmark = pytest.mark.lab

LASTS_S = 6


def test_d3_04_with_release_off_an_address_is_freed_by_the_end_of_its_lease(stage: Stage) -> None:
    network = stage.network("10.4.0.0/24", multi_host=True)
    vm, other = stage.vm("lax1", network), stage.vm("lax1", network)
    address = vm.state.assigned

    stage.delete_vm(vm)
    stage.wait(lambda: vm.state.mac not in "".join(stage.host_lines("lax1")), "it isn't served")
    assert stage.state(network, address) == "releasing"
    with pytest.raises(Conflict, match=str(address)):
        stage.make_port(network, address)
    before = time.time()
    stage.shorten_lease(vm, "lax1", LASTS_S)

    stage.wait(lambda: stage.state(network, address) == "free", f"{address} is free")

    assert before + LASTS_S - 1 < time.time() < before + LASTS_S + 60
    assert [row["end_reason"] for row in stage.history(network, vm.state.mac)] == ["expired"]
    assert stage.state(network, other.state.assigned) == "leased"
    assert stage.make_port(network, address)["fixed_ips"][0]["ip_address"] == str(address)
