"""The state of overlay networks in `lessor network tour`; narrow paths in `lessor status`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lessor.lab.cabling import cable_name
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import FABRIC, Lab
from lessor.lab.services import LESSOR, SERVER
from lessor.lab.state import HostSpec
from lessor.lab.vm import Vm

pytestmark = pytest.mark.lab

Tour = dict[str, Any]


HOSTS = [
    HostSpec(name="net1", network_host=True, overlay=True),
    *(HostSpec(name=name, overlay=True) for name in ("cmp1", "cmp2")),
]


@pytest.fixture(scope="module")
def shown_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Hosts whose agents may be away for long: no DHCP server moves."""
    flags = {"dhcp_down_time": "600"}
    lab = Lab.up(tmp_path_factory.mktemp("shown") / "lab", HOSTS, flags)
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def red(shown_lab: Lab) -> LabNetwork:
    return shown_lab.network("red", "10.30.0.0/24", kind="vxlan")


@pytest.fixture(scope="module")
def vm(shown_lab: Lab, red: LabNetwork) -> Vm:
    return booted(shown_lab, "vm1", "cmp1", red)


def booted(lab: Lab, name: str, on: str, network: LabNetwork) -> Vm:
    vm = lab.boot(name, on, network)
    lab.wait_active(vm, timeout_s=30)
    vm.dhcp(timeout_s=20)
    return vm


def toured(lab: Lab, network: LabNetwork) -> tuple[int, Tour]:
    """Return exit status and JSON of the command, run where the server is."""
    return walked(lab, SERVER, LESSOR, "network", "tour", network.id, "--json")


def toured_on(lab: Lab, host: str, network: LabNetwork) -> tuple[int, Tour]:
    """Return the same of one host, by itself."""
    return walked(lab, host, LESSOR, "agent", "tour", network.name, "--json")


def walked(lab: Lab, node: str, *command: str) -> tuple[int, Tour]:
    words = f"{' '.join(command)} 2>/tmp/said; echo '#'$?; cat /tmp/said"
    text, _, rest = lab.exec(node, "sh", "-c", words, timeout_s=60).rpartition("\n#")
    status, _, said = rest.partition("\n")
    assert text, said
    return int(status), json.loads(text)


def pieces(tour: Tour, host: str) -> dict[str, list[Tour]]:
    """Return what is said of a host's pieces, by what they are."""
    [found] = [one for one in tour["hosts"] if one["host"] == host]
    assert not found["silent"], found["silent"]
    by_what: dict[str, list[Tour]] = {}
    for piece in found["pieces"]:
        by_what.setdefault(piece["what"], []).append(piece)
    return by_what


def missing(tour: Tour) -> set[tuple[str, str]]:
    """Return (host, what) of the pieces that aren't as they should be."""
    return {
        (host["host"], piece["what"])
        for host in tour["hosts"]
        for piece in host["pieces"]
        if not piece["ok"]
    }


@contextmanager
def unrepaired(lab: Lab, host: str) -> Iterator[None]:
    """Keep a host's agent from repairing what is broken."""
    lab.kill(host, "agent")
    try:
        yield
    finally:
        lab.start(host, "agent")


def test_a_tour_shows_all_that_a_discover_meets(shown_lab: Lab, red: LabNetwork, vm: Vm) -> None:
    lab = shown_lab
    vm.dhcp(timeout_s=20)  # counters begin anew when an agent repairs flows
    status, tour = toured(lab, red)
    assert (status, missing(tour)) == (0, set())
    [server] = tour["dhcp_hosts"]
    assert {host["host"] for host in tour["hosts"]} == {"cmp1", server}
    port = lab.api.list("ports", {"network_id": red.id, "device_owner": "network:dhcp"})[0]

    there = pieces(tour, server)
    assert there["namespace"][0]["name"] == f"qdhcp-{red.id}"
    assert f"mac {port['mac_address']}" in there["DHCP tap"][0]["found"]
    assert port["fixed_ips"][0]["ip_address"] in there["addresses"][0]["found"]
    assert there["dnsmasq"][0]["found"].startswith("pid ")
    assert there["dnsmasq files"][0]["found"] == "1 of 1"
    assert "local VLAN" in there["bridge port"][0]["found"]

    here = pieces(tour, "cmp1")
    [mac_flow] = here["DHCP tap's MAC flow"]
    assert f"dl_dst={port['mac_address']}" in mac_flow["name"]
    assert here["VXLAN port"][0]["name"] in mac_flow["found"]
    broadcasts = here["DHCP broadcast flow"]
    assert [one["name"].split(" tp_")[0].split()[2] for one in broadcasts] == ["60", "2", "24"]
    assert all(int(one["found"].split("; ")[1].split()[0]) > 0 for one in broadcasts)
    assert here["tap"][0]["name"] == vm.tap


BROKEN = {
    "DHCP broadcast flow": ("cmp1", "ovs-ofctl del-flows br-tun table=24"),
    "VXLAN port": ("cmp1", "ovs-vsctl del-port br-tun {tunnel}"),
    "addresses": ("", "ip -n qdhcp-{network} addr flush dev {tap}"),
    "dnsmasq": ("", "kill -9 $(cat /var/lib/lessor/networks/{network}/pid)"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_piece_that_was_taken_out_by_hand_is_named(
    shown_lab: Lab, red: LabNetwork, vm: Vm, what: str
) -> None:
    lab = shown_lab
    assert vm.state.host == "cmp1"
    _, before = toured(lab, red)
    [server] = before["dhcp_hosts"]
    tunnel = pieces(before, "cmp1")["VXLAN port"][0]["name"]
    tap = pieces(before, server)["DHCP tap"][0]["name"]
    where, command = BROKEN[what]
    host = where or server
    with unrepaired(lab, host):
        lab.exec(host, "sh", "-c", command.format(network=red.id, tunnel=tunnel, tap=tap))
        status, tour = toured_on(lab, host, red)
        assert status == 1
        assert what in {piece["what"] for piece in tour["pieces"] if not piece["ok"]}
    lab.wait_for(lambda: toured(lab, red)[0] == 0, timeout_s=30, what="the agent has repaired it")


def test_a_host_whose_agent_is_away_is_named(shown_lab: Lab, red: LabNetwork, vm: Vm) -> None:
    lab = shown_lab
    with unrepaired(lab, "cmp1"):
        status, tour = toured(lab, red)
    [silent] = [host for host in tour["hosts"] if host["silent"]]
    assert (status, silent["host"]) == (1, "cmp1")
    assert "did not answer within" in silent["silent"]


def test_a_flat_network_is_toured_as_well(shown_lab: Lab) -> None:
    lab = shown_lab
    network = lab.network("flat", "10.40.0.0/24")
    vm = booted(lab, "flat1", "cmp2", network)
    status, tour = toured(lab, network)
    assert (status, missing(tour)) == (0, set())
    [server] = tour["dhcp_hosts"]
    assert pieces(tour, server)["dnsmasq files"][0]["found"] == "1 of 1"
    assert pieces(tour, server)["addresses"][0]["found"].startswith("10.40.0.1/24")
    assert pieces(tour, "cmp2")["tap"][0]["name"] == vm.tap
    with unrepaired(lab, "cmp2"):
        lab.exec("cmp2", "nft", "delete", "table", "bridge", "lessor")
        status, found = toured_on(lab, "cmp2", network)
        assert status == 1
        assert [one["what"] for one in found["pieces"] if not one["ok"]] == ["rules"]


# --- paths ----------------------------------------------------------------------------------------


def set_wire_mtu(lab: Lab, host: str, mtu: int) -> None:
    """Let a host's cable of the underlay carry packets of this size, and no larger."""
    cable = cable_name(lab.host_state(host).index, "eth2")
    lab.node(FABRIC).exec_here("ip", "link", "set", cable, "mtu", str(mtu))


def narrow(lab: Lab) -> list[str]:
    """Return the lines of `lessor status` about paths that are too narrow."""
    said = json.loads(lab.exec(SERVER, LESSOR, "status", "--json", timeout_s=60))["pending"]
    return [line for line in said if "carry packets of 1500 bytes" in line]


def test_a_cable_that_does_not_carry_tunnels_is_one_line_and_gone_soon_after_it_is_mended(
    shown_lab: Lab, red: LabNetwork, vm: Vm
) -> None:
    lab = shown_lab
    assert vm.state.host == "cmp1"
    second = booted(lab, "vm2", "cmp2", red)
    assert narrow(lab) == []
    set_wire_mtu(lab, "cmp2", 1400)
    try:
        for host in lab.hosts:  # a restarted agent looks at once; others within 30 s
            lab.kill(host, "agent")
            lab.start(host, "agent")

        def one_line() -> bool:
            said = narrow(lab)
            begin = "host cmp2: the paths to all 2 hosts don't carry packets of 1500 bytes"
            return len(said) == 1 and said[0].startswith(begin)

        lab.wait_for(one_line, timeout_s=60, what="status shows the cable")
        seen = {host: lab.api.find("hosts", host)["problems"] for host in ("cmp1", "net1")}
        assert all("the path to host cmp2 (" in str(problems) for problems in seen.values())
    finally:
        set_wire_mtu(lab, "cmp2", 1600)
    lab.wait_for(lambda: not narrow(lab), timeout_s=10, what="the path is wide again")
    lab.delete_vm(second.state.name)
