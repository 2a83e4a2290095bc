"""A host without a connection to the server serves its VMs; no other VM gets their addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lessor.lab import partitions
from lessor.lab.lab import Lab
from lessor.lab.services import SERVER
from tests.lab.stage import Stage

pytestmark = pytest.mark.lab


@contextmanager
def cut_off(lab: Lab, host: str) -> Iterator[None]:
    ways = ((host, SERVER), (SERVER, host))
    for source, destination in ways:
        partitions.block(lab, source, destination)
    try:
        yield
    finally:
        for source, destination in ways:
            partitions.unblock(lab, source, destination)


def test_the_address_of_a_vm_on_a_host_that_is_cut_off_is_nobody_elses(stage: Stage) -> None:
    """Its port is deleted and its DHCP server has let go, but its tap is on the bridge still."""
    network = stage.network("10.5.0.0/29")  # .2 to .6
    vm, other = stage.vm("cmp1", network), stage.vm("cmp2", network)
    assert vm.state.assigned is not None
    address = str(vm.state.assigned)
    vm.dhcp(timeout_s=10)
    other.dhcp(timeout_s=10)
    with cut_off(stage.lab, "cmp1"):
        stage.lab.api.delete("ports", vm.state.port_id)
        stage.wait(lambda: len(stage.host_lines("net1")) == 1, "its reservation is gone")
        made = [stage.make_port(network) for _ in range(3)]
        given = {port["fixed_ips"][0]["ip_address"] for port in made}
        assert address not in given
        assert stage.state(network, address) == "releasing"
        assert other.ping(vm.state.assigned), "the VM is there as before"
    stage.wait(lambda: stage.state(network, address) == "free", f"{address} is free")
    assert not other.ping(vm.state.assigned)
