"""D3.10: what a VM reads at 169.254.169.254, who gets nothing, and the signature Nova checks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from ipaddress import IPv4Address

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.netns import in_netns
from lessor.lab.vm import NIC, NetnsVm
from lessor.net.address import Address
from tests.lab.stage import NOVA_PORT, NOVA_SECRET, Stage
from tests.metadata.nova_receiver import NovaReceiver

pytestmark = pytest.mark.lab

METADATA = "http://169.254.169.254"
VERSIONS = """\
1.0
2007-01-19
2007-03-01
2007-08-29
2007-10-10
2007-12-15
2008-02-01
2008-09-01
2009-04-04
latest"""
META_DATA_1_0 = """\
ami-id
ami-launch-index
ami-manifest-path
hostname
instance-id
local-ipv4
reservation-id
security-groups"""


def test_d3_10_a_vm_reads_the_ec2_tree(walled: Stage) -> None:
    network = walled.network("10.10.0.0/24")
    vm = walled.vm("cmp1", network, dns_name="web")

    assert vm.http(f"{METADATA}/") == VERSIONS
    assert vm.http(f"{METADATA}/1.0/") == "meta-data/"
    assert vm.http(f"{METADATA}/1.0/meta-data/") == META_DATA_1_0
    latest = vm.http(f"{METADATA}/latest/meta-data/").splitlines()
    assert latest == sorted(latest)
    assert {"instance-id", "local-hostname", "placement/", "instance-action"} <= set(latest)
    assert vm.http(f"{METADATA}/latest/meta-data/local-ipv4") == str(vm.state.assigned)
    assert vm.http(f"{METADATA}/latest/meta-data/hostname") == "web.novalocal"
    assert vm.http(f"{METADATA}/latest/meta-data/placement") == "availability-zone"
    assert vm.get(f"{METADATA}/latest/meta-data/no-such-key").status_code == 404
    assert vm.get(f"{METADATA}/2006-01-01/").status_code == 404


def resolved(stage: Stage, name: str, network: LabNetwork) -> set[str]:
    """Return the addresses that the network's DNS server answers for a name, asked on its host."""
    asking = f"busybox nslookup -type=a {name} {network.gateway} || true"
    said = stage.lab.exec("net1", "sh", "-c", asking).partition(name)[2]
    return set(re.findall(r"^Address: (\S+)$", said, re.MULTILINE))


def is_called(stage: Stage, vm: NetnsVm, network: LabNetwork, name: str) -> bool:
    """Tell whether DNS, metadata and the API have this name for a VM."""
    fqdn = f"{name}.novalocal"
    (port,) = stage.lab.api.list("ports", {"id": vm.state.port_id})
    return (
        resolved(stage, fqdn, network) == {str(vm.state.assigned)}
        and vm.http(f"{METADATA}/latest/meta-data/hostname") == fqdn
        and [one["fqdn"] for one in port["dns_assignment"]] == [f"{fqdn}."]
    )


def test_a_vm_has_one_name_everywhere(stage: Stage) -> None:
    network = stage.network("10.10.3.0/24")
    stage.lab.api.create("instances", {"id": "named-vm", "hostname": "shop"})
    vm = stage.plugged("cmp1", network, name="port-1", dns_name="", device_id="named-vm")
    address = {str(vm.state.assigned)}
    # without a lease; its host, which is another one, may have its port a moment later
    stage.wait(lambda: resolved(stage, "shop.novalocal", network) == address, "it has its name")
    vm.dhcp(30)

    for name in ("shop", "store"):
        stage.lab.api.update("instances", "named-vm", {"hostname": name})
        stage.wait(partial(is_called, stage, vm, network, name), f"all say {name}")
        assert vm.dhcp(30).hostname == name
    assert not resolved(stage, "shop.novalocal", network)
    stage.lab.api.delete("instances", "named-vm")


def test_d3_10_an_address_of_no_port_gets_404(walled: Stage) -> None:
    network = walled.network("10.10.1.0/24")
    vm = walled.vm("cmp1", network, port_security_enabled=False)
    assert vm.get(f"{METADATA}/latest/meta-data/instance-id").status_code == 200

    assert network.gateway is not None
    take_address(vm, IPv4Address("10.10.1.77"), network.gateway)

    answer = vm.get(f"{METADATA}/latest/meta-data/instance-id")
    assert (answer.status_code, vm.state.device_id in answer.text) == (404, False)


def take_address(vm: NetnsVm, address: Address, gateway: Address) -> None:
    """Have a VM use another address than its own."""
    vm.exec("ip", "addr", "flush", "dev", NIC)
    vm.exec("ip", "addr", "add", f"{address}/24", "dev", NIC)
    vm.exec("ip", "route", "add", "default", "via", str(gateway))


@contextmanager
def nova(stage: Stage, vm: NetnsVm) -> Iterator[NovaReceiver]:
    """Run a Nova metadata API on nova1 that knows the VM."""
    receiver = NovaReceiver(NOVA_SECRET, {vm.state.device_id: ""}, port=NOVA_PORT)
    running = receiver.running()
    in_netns(stage.lab.node("nova1").netns, running.__enter__)
    try:
        yield receiver
    finally:
        running.__exit__(None, None, None)


def test_d3_10_nova_refuses_what_was_signed_with_another_secret(walled: Stage) -> None:
    network = walled.network("10.10.2.0/24", multi_host=True)
    vm = walled.vm("nova1", network)
    page = f"{METADATA}/latest/meta-data/instance-id"

    with nova(walled, vm) as receiver:
        assert vm.get(page).status_code == 200
        [asked] = receiver.asked
        assert asked.values("x-instance-id") == [vm.state.device_id]
        assert asked.values("x-forwarded-for") == [str(vm.state.assigned)]

        receiver.secret = "another"

        assert vm.get(page).status_code == 403
        assert vm.get(page, headers={"X-Instance-ID": vm.state.device_id}).status_code == 403
