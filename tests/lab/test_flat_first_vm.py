from __future__ import annotations

import json

import pytest

from lessor.lab.cabling import OUTSIDE
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.vm import Vm

pytestmark = pytest.mark.lab

METADATA = "http://169.254.169.254/openstack/latest/meta_data.json"


@pytest.fixture(scope="module")
def office(lab: Lab) -> LabNetwork:
    return lab.network("office", "10.10.0.0/24")


@pytest.fixture(scope="module")
def web(lab: Lab) -> LabNetwork:
    return lab.network("web", "10.20.0.0/24", multi_host=True)


def booted(lab: Lab, name: str, on: str, network: LabNetwork) -> Vm:
    vm = lab.boot(name, on, network)
    lab.wait_active(vm, timeout_s=20)
    vm.dhcp(timeout_s=20)
    return vm


def told_id(vm: Vm) -> str:
    return str(json.loads(vm.http(METADATA))["uuid"])


def test_vms_on_both_hosts_get_the_addresses_of_their_ports(lab: Lab, office: LabNetwork) -> None:
    assert office.gateway is not None
    for name, host in (("office1", "cmp1"), ("office2", "cmp2")):
        vm = booted(lab, name, host, office)
        lease = vm.last_lease()
        assert lease is not None
        assert (lease.address, lease.router) == (vm.state.assigned, office.gateway)
        assert (lease.mtu, lease.prefix_length) == (1500, 24)
        assert vm.ping(office.gateway)


def test_metadata_is_asked_of_the_vms_own_gateway(
    lab: Lab, office: LabNetwork, web: LabNetwork
) -> None:
    """cmp1 is gateway of web; a VM of office there must still reach its own, net1."""
    here = booted(lab, "web1", "cmp1", web)
    elsewhere = booted(lab, "office3", "cmp1", office)

    assert told_id(here) == here.state.device_id
    assert told_id(elsewhere) == elsewhere.state.device_id


def test_the_outside_sees_the_gateways_host(lab: Lab, office: LabNetwork, web: LabNetwork) -> None:
    seen = {
        network.name: booted(lab, f"{network.name}-nat", "cmp2", network).http(f"http://{OUTSIDE}/")
        for network in (office, web)
    }
    addresses = {name: f"{lab.host_state(name).address}\n" for name in ("net1", "cmp2")}
    assert seen == {"office": addresses["net1"], "web": addresses["cmp2"]}


def test_a_deleted_vms_address_comes_back(lab: Lab, office: LabNetwork) -> None:
    vm = booted(lab, "gone", "cmp1", office)
    address = str(vm.state.assigned)

    lab.delete_vm("gone")

    def state() -> str:
        query = {"network_id": office.id, "address": address}
        return str(lab.api.list("addresses", query)[0]["state"])

    lab.wait_for(lambda: state() == "free", timeout_s=20, what=f"{address} is free")


def test_an_agent_killed_and_started_again_leaves_vms_alone(lab: Lab, office: LabNetwork) -> None:
    vm = booted(lab, "calm", "cmp1", office)
    assert office.gateway is not None

    lab.kill("cmp1", "agent")
    assert vm.ping(office.gateway)
    lab.start("cmp1", "agent")

    assert vm.ping(office.gateway)
    vm.renew()
    lab.wait_for(lambda: "renew" in vm.events(), timeout_s=10)
    assert "nak" not in vm.events()
