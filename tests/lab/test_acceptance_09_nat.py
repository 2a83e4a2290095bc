"""D3.9: as whom a VM is seen: outside as its gateway's host, elsewhere as itself."""

from __future__ import annotations

import socket
from contextlib import closing
from ipaddress import IPv4Address, IPv4Network

import pytest

from lessor.lab.cabling import DMZ_ADDRESS, OUTSIDE
from lessor.lab.netns import in_netns
from lessor.lab.vm import NetnsVm
from tests.lab.stage import SOURCES, Stage

pytestmark = pytest.mark.lab

METADATA = "http://169.254.169.254"
PORT = 7000


@pytest.fixture(params=[False, True], ids=["single_host", "multi_host"])
def vms(walled: Stage, request: pytest.FixtureRequest) -> dict[str, NetnsVm]:
    """VMs on three hosts, two of them on cmp1."""
    network = walled.network("10.9.0.0/24", multi_host=request.param)
    return {name: walled.vm(name[:4], network) for name in ("net1", "cmp1", "cmp1-too", "cmp2")}


def gateway_host(vm: NetnsVm, walled: Stage) -> str:
    network = walled.lab.api.find("networks", vm.state.network)
    return vm.state.host if network["lessor:multi_host"] else "net1"


def seen_by(vm: NetnsVm, other: NetnsVm) -> IPv4Address:
    """Connect `vm` to `other` and return who `other` sees."""
    where = str(other.state.assigned), PORT
    with (
        closing(in_netns(other.netns_path(), lambda: socket.create_server(where))) as server,
        closing(in_netns(vm.netns_path(), lambda: socket.create_connection(where, timeout=10))),
    ):
        server.settimeout(10)
        connection, (address, _) = server.accept()
        connection.close()
        return IPv4Address(address)


def test_d3_09_as_whom_a_vm_is_seen(walled: Stage, vms: dict[str, NetnsVm]) -> None:
    """With br_netfilter on, as usual: bridged packets pass the host's NAT rules, too."""
    for host in ("net1", "cmp1", "cmp2"):
        switch = "/proc/sys/net/bridge/bridge-nf-call-iptables"
        assert walled.lab.exec(host, "cat", switch).strip() == "1"

    for vm in vms.values():
        assert vm.state.assigned is not None
        host, own = gateway_host(vm, walled), f"{vm.state.assigned}"
        assert vm.http(f"http://{OUTSIDE}/") == f"{SOURCES[host]}\n"
        walled.lab.route_back(IPv4Network(own), via=host)
        assert vm.http(f"http://{DMZ_ADDRESS}/") == f"{own}\n"
        assert vm.http(f"{METADATA}/latest/meta-data/local-ipv4") == own

    seen = {(a, b): seen_by(vms[a], vms[b]) for a in vms for b in vms if a != b}
    assert seen == {(a, b): vms[a].state.assigned for a, b in seen}


def test_d3_09_a_metadata_host_elsewhere_sees_the_vm_s_own_address(walled: Stage) -> None:
    """lax1 sends 169.254.169.254:80 on to the outside's web server, which says who asks."""
    vm = walled.vm("lax1", walled.network("10.9.1.0/24", multi_host=True))
    walled.lab.route_back(IPv4Network(str(vm.state.assigned)), via="lax1")

    assert vm.http(f"{METADATA}/") == f"{vm.state.assigned}\n"


def test_d3_09_vms_see_each_other_where_their_bridge_is_the_public_interface(
    walled: Stage,
) -> None:
    network = walled.network("10.9.2.0/24", multi_host=True)
    vm, *others = [walled.vm(host, network) for host in ("nova1", "nova1", "cmp1")]

    assert [seen_by(vm, other) for other in others] == [vm.state.assigned] * 2
