"""`lessor network tour`: what it shows of a whole network, and of one with a piece missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.services import LESSOR, SERVER
from lessor.lab.vm import Vm

pytestmark = pytest.mark.lab

Tour = dict[str, Any]


@pytest.fixture(scope="module")
def red(overlay_lab: Lab) -> LabNetwork:
    return overlay_lab.network("red", "10.30.0.0/24", kind="vxlan")


@pytest.fixture(scope="module")
def vm(overlay_lab: Lab, red: LabNetwork) -> Vm:
    return booted(overlay_lab, "vm1", "cmp1", red)


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
    said = lab.exec(node, "sh", "-c", f'{" ".join(command)}; echo "#$?"', timeout_s=60)
    text, _, status = said.rpartition("#")
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


def test_a_tour_shows_all_that_a_discover_meets(overlay_lab: Lab, red: LabNetwork, vm: Vm) -> None:
    lab = overlay_lab
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
    overlay_lab: Lab, red: LabNetwork, vm: Vm, what: str
) -> None:
    lab = overlay_lab
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


def test_a_host_whose_agent_is_away_is_named(overlay_lab: Lab, red: LabNetwork, vm: Vm) -> None:
    lab = overlay_lab
    with unrepaired(lab, "cmp1"):
        status, tour = toured(lab, red)
    [silent] = [host for host in tour["hosts"] if host["silent"]]
    assert (status, silent["host"]) == (1, "cmp1")
    assert "did not answer within" in silent["silent"]


def test_a_flat_network_is_toured_as_well(overlay_lab: Lab) -> None:
    lab = overlay_lab
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
