"""Hosts whose DHCP and DNS are served by lessor-dhcpd and lessor-dnsd, flat and vxlan."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.services import AGENT, LESSOR
from lessor.lab.state import HostSpec
from lessor.lab.vm import Vm

pytestmark = pytest.mark.lab

HOSTS = [
    HostSpec(name="net1", overlay=True, network_host=True),
    HostSpec(name="cmp1", overlay=True),
]
LIMIT_S = 30
CIDRS = {"flat": "10.70.0.0/24", "vxlan": "10.71.0.0/24"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab.up(tmp_path_factory.mktemp("native") / "lab", HOSTS, {"dhcp_driver": "native"})
    yield made
    made.down()


@pytest.fixture(scope="module")
def networks(lab: Lab) -> dict[str, LabNetwork]:
    return {kind: lab.network(f"n-{kind}", cidr, kind=kind) for kind, cidr in CIDRS.items()}


@pytest.fixture(scope="module")
def vms(lab: Lab, networks: dict[str, LabNetwork]) -> dict[str, Vm]:
    """A VM of each network on each host, by kind and host."""
    made = {}
    for kind, network in networks.items():
        for host in ("net1", "cmp1"):
            made[f"{kind}-{host}"] = vm = lab.boot(f"{kind}-{host}", host, network)
            lab.wait_active(vm, LIMIT_S)
    return made


def pids(lab: Lab, host: str, program: str) -> list[int]:
    found = lab.exec(host, "sh", "-c", f"pgrep -f -- '-m [l]essor.{program} ' || true")
    return [int(one) for one in found.split()]


def held(lab: Lab) -> dict[str, str]:
    """Return the leases that the store knows: address and MAC."""
    return {row["address"]: row["mac_address"] for row in lab.api.list("leases", {"live": True})}


def test_vms_get_their_addresses_and_the_store_knows_their_leases(
    lab: Lab, vms: dict[str, Vm]
) -> None:
    leases = {name: vm.dhcp() for name, vm in vms.items()}
    assert all(str(one.address).startswith(CIDRS[n.split("-")[0]][:6]) for n, one in leases.items())
    assert {name: one.hostname for name, one in leases.items()} == {name: name for name in vms}
    wanted = {str(one.address) for one in leases.values()}
    lab.wait_for(lambda: wanted <= set(held(lab)), LIMIT_S, "the store knows the leases")
    assert (len(pids(lab, "net1", "dhcpd")), len(pids(lab, "net1", "dnsd"))) == (1, 1)
    assert not lab.exec("net1", "sh", "-c", "pgrep -x dnsmasq || true").strip()


@pytest.mark.parametrize("kind", CIDRS)
def test_the_tour_of_a_network_finds_all_there(
    lab: Lab, networks: dict[str, LabNetwork], vms: dict[str, Vm], kind: str
) -> None:
    del vms
    said = lab.exec("net1", LESSOR, "agent", "tour", "--json", networks[kind].id)
    tour = json.loads(said)
    assert tour["ok"], tour
    assert "lessor-dhcpd" in {piece["what"] for piece in tour["pieces"]}


def test_the_reservations_of_a_host_can_be_listed(lab: Lab, vms: dict[str, Vm]) -> None:
    flat = vms["flat-cmp1"]
    rows = json.loads(lab.exec("net1", LESSOR, "agent", "reservations", "--json", "br100"))
    address = str(flat.dhcp().address)
    assert address in {row["ip_address"] for row in rows}


def test_plan_finds_nothing_to_do(lab: Lab, vms: dict[str, Vm]) -> None:
    del vms

    def settled() -> bool:
        said = lab.exec("net1", "sh", "-c", f"{LESSOR} agent plan --json || true")
        return bool(json.loads(said)["ok"])

    lab.wait_for(settled, LIMIT_S, "nothing differs")


def test_vms_are_served_while_the_agent_is_dead_and_after_its_restart(
    lab: Lab, vms: dict[str, Vm]
) -> None:
    before, began = pids(lab, "net1", "dhcpd"), lab.api.find("hosts", "net1")["started_at"]
    lab.kill("net1", AGENT)
    for vm in vms.values():
        assert vm.dhcp()
    lab.start("net1")

    def heard_again() -> bool:
        row = lab.api.find("hosts", "net1")
        return bool(row["started_at"] != began and row["in_sync"])

    lab.wait_for(heard_again, LIMIT_S, "the agent is back")
    assert pids(lab, "net1", "dhcpd") == before
    for vm in vms.values():
        assert vm.dhcp()


@pytest.mark.parametrize("number", ["KILL", "STOP"])
def test_a_dhcp_server_that_dies_or_hangs_is_replaced(
    lab: Lab, vms: dict[str, Vm], number: str
) -> None:
    log = lab.node("net1").log(AGENT)

    def said(event: str) -> int:
        return log.read_text().count(event)

    died, restarted = said("dhcp server died"), said("dhcp server restarted")
    (before,) = pids(lab, "net1", "dhcpd")
    lab.exec("net1", "kill", f"-{number}", str(before))
    lab.wait_for(lambda: pids(lab, "net1", "dhcpd") not in ([], [before]), LIMIT_S, "another")
    for vm in vms.values():
        assert vm.dhcp()
    lab.wait_for(lambda: said("dhcp server restarted") > restarted, LIMIT_S, "said")
    assert said("dhcp server died") == died + 1


def test_a_port_that_goes_frees_its_address_at_once(
    lab: Lab, networks: dict[str, LabNetwork]
) -> None:
    vm = lab.boot("short", "cmp1", networks["flat"])
    address = str(vm.dhcp().address)
    lab.wait_for(lambda: address in held(lab), LIMIT_S, "its lease is known")
    lab.delete_vm("short")
    lab.wait_for(lambda: address not in held(lab), LIMIT_S, "its lease has ended")
