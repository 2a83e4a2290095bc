"""DHCP on overlay networks, from the API to the packet (semantics.md D3, checks 11, 12 and 16)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from bench.dhcp import discover
from lessor.core.firewall.dhcp_limit import BURST, RATE
from lessor.lab.capture import Capture, Sighting, discover_copies
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.vm import NetnsVm, Vm
from tests.lab.conftest import WEST
from tests.lab.test_wrong_source import (
    static_address_is_said_and_mended,
    wrong_mac_is_said_and_mended,
)

pytestmark = pytest.mark.lab

CIDR = "10.30.0.0/24"
COMPUTE = ("cmp1", "cmp2", "cmp3")
READY_S = 5  # from the tap's appearance to ACTIVE


@pytest.fixture(scope="module")
def red(overlay_lab: Lab) -> LabNetwork:
    return overlay_lab.network("red", CIDR, kind="vxlan")


@pytest.fixture(scope="module")
def trio(overlay_lab: Lab, red: LabNetwork) -> dict[str, Vm]:
    """A VM of one network on each compute host, and a second one on the first, by name."""
    places = {"vm1": "cmp1", "vm2": "cmp2", "vm3": "cmp3", "beside": "cmp1"}
    return {name: booted(overlay_lab, name, host, red) for name, host in places.items()}


def booted(lab: Lab, name: str, on: str, network: LabNetwork, **port: object) -> Vm:
    vm = lab.boot(name, on, network, port=port)
    lab.wait_active(vm, timeout_s=20)
    vm.dhcp(timeout_s=20)
    return vm


def dhcp_ports(lab: Lab, network: LabNetwork) -> list[dict[str, object]]:
    query = {"network_id": network.id, "device_owner": "network:dhcp"}
    return lab.api.list("ports", query)


def dhcp_host(lab: Lab, network: LabNetwork) -> str:
    (port,) = dhcp_ports(lab, network)
    return str(port["binding:host_id"])


def tunnel_to(lab: Lab, host: str) -> str:
    end = lab.host_state(host).tunnel_address
    assert end is not None
    return f"vxlan-{int(end):08x}"


def flows(lab: Lab, host: str, table: int) -> list[str]:
    """Return the flows of a table of br-tun, ports by name, without counters.

    A host that takes part in no overlay network has no br-tun.
    """
    if "br-tun" not in lab.exec(host, "ovs-vsctl", "list-br").split():
        return []
    said = lab.exec(
        host, "ovs-ofctl", "--names", "--no-stats", "dump-flows", "br-tun", f"table={table}"
    )
    return [line.strip() for line in said.splitlines() if "actions=" in line]


def outputs(lines: list[str]) -> set[str]:
    return {port for line in lines for port in re.findall(r"output:\"?(vxlan-[0-9a-f]+)", line)}


# --- 11


def test_d3_11_a_port_is_active_only_when_it_is_wired_and_dhcp_has_its_reservation(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    assert trio
    lab, host = overlay_lab, dhcp_host(overlay_lab, red)
    lab.kill(host, "agent")
    try:
        vm = lab.boot("blocked", "cmp2", red)
        lab.wait_for(lambda: wired(lab, vm), timeout_s=10, what="the tap is in br-int")
        port = lab.api.show("ports", vm.state.port_id)
        assert port["status"] != "ACTIVE"
        assert "dhcp" in str(port["lessor:pending"]).lower()
    finally:
        lab.start(host, "agent")
    lab.wait_active(vm, timeout_s=15)
    assert vm.dhcp(timeout_s=10).address == vm.state.assigned


def wired(lab: Lab, vm: Vm) -> bool:
    return vm.tap in lab.exec(vm.state.host, "ovs-vsctl", "list-ports", "br-int").split()


def test_d3_11_a_port_waits_for_its_tap_and_is_ready_soon_after_it(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    assert trio
    lab = overlay_lab
    body = {"network_id": red.id, "binding:host_id": "cmp3", "device_owner": "compute:lab"}
    made = lab.api.create("ports", body)
    tap = f"tap{made['id'][:11]}"
    lab.wait_for(
        lambda: tap in str(lab.api.show("ports", made["id"])["lessor:pending"]),
        timeout_s=10,
        what="the port says which tap it waits for",
    )
    assert lab.api.show("ports", made["id"])["status"] != "ACTIVE"
    lab.exec("cmp3", "ip", "link", "add", tap, "type", "veth", "peer", "name", "other-end")
    lab.wait_for(lambda: lab.api.show("ports", made["id"])["status"] == "ACTIVE", timeout_s=READY_S)
    lab.exec("cmp3", "ip", "link", "del", tap)
    lab.api.delete("ports", made["id"])


def test_a_port_that_waits_for_its_tap_holds_up_no_other_of_its_host(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    assert trio
    lab = overlay_lab
    body = {"network_id": red.id, "binding:host_id": "cmp3", "device_owner": "compute:lab"}
    waiting = lab.api.create("ports", body)
    try:
        vm = booted(lab, "neighbour", "cmp3", red)
        assert lab.api.show("ports", waiting["id"])["status"] != "ACTIVE"
        lab.delete_vm(vm.state.name)
    finally:
        lab.api.delete("ports", waiting["id"])


# --- 12


def test_d3_12_tables_20_21_and_22_follow_a_port_on_three_hosts(overlay_lab: Lab) -> None:
    lab = overlay_lab
    network = lab.network("tables", "10.31.0.0/24", kind="vxlan")
    first = booted(lab, "table1", "cmp1", network)
    server = dhcp_ports(lab, network)[0]
    to_dhcp, to_second = tunnel_to(lab, dhcp_host(lab, network)), tunnel_to(lab, "cmp2")

    assert outputs(about(lab, "cmp1", 20, str(server["mac_address"]))) == {to_dhcp}
    assert flooded(lab, "cmp1", network) == {to_dhcp}

    second = booted(lab, "table2", "cmp2", network)
    lab.wait_for(
        lambda: outputs(about(lab, "cmp1", 20, second.state.mac)) == {to_second}, timeout_s=10
    )
    assert flooded(lab, "cmp1", network) == {to_dhcp, to_second}
    assert about(lab, "cmp1", 21, f"arp_tpa={second.state.assigned},")
    assert outputs(about(lab, "cmp2", 20, first.state.mac)) == {tunnel_to(lab, "cmp1")}
    for table, what in ((20, first.state.mac), (21, str(first.state.assigned))):
        assert about(lab, "cmp3", table, what) == []
    assert flooded(lab, "cmp3", network) == set()

    lab.delete_vm("table2")
    lab.wait_for(lambda: not about(lab, "cmp1", 20, second.state.mac), timeout_s=10)
    assert about(lab, "cmp1", 21, f"arp_tpa={second.state.assigned},") == []
    assert flooded(lab, "cmp1", network) == {to_dhcp}


def about(lab: Lab, host: str, table: int, what: str) -> list[str]:
    """Return the flows that say it, but those that OVS learned by itself."""
    return [line for line in flows(lab, host, table) if what in line and "hard_timeout" not in line]


def flooded(lab: Lab, host: str, network: LabNetwork) -> set[str]:
    vni = int(lab.api.show("networks", network.id)["provider:segmentation_id"])
    sets = f"load:{vni:#x}->NXM_NX_TUN_ID[],"
    return outputs([line for line in flows(lab, host, 22) if sets in line])


def test_d3_12_a_discover_crosses_the_underlay_once_and_to_the_dhcp_host_only(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    lab, vm = overlay_lab, trio["vm1"]
    with lab.capture("cmp1", "eth2") as wire:
        vm.dhcp(timeout_s=20)
        copies = discover_copies(wire.sightings(), vm.state.mac)
    end = lab.host_state(dhcp_host(lab, red)).tunnel_address
    assert [copy.tunnel.destination for copy in copies if copy.tunnel] == [end]


# --- Done-when 3


def test_no_dhcp_packet_of_a_vm_reaches_another_host_or_another_vm(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    vm = trio["vm1"]
    with elsewhere(overlay_lab, red, trio) as captures:
        vm.dhcp(timeout_s=20)
        assert seen_at(captures, vm) == {}


def test_without_the_dhcp_flows_the_captures_see_it_everywhere(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    """The test above would fail then. The agent must be away, or it puts them back."""
    lab, vm = overlay_lab, trio["vm1"]
    lab.kill("cmp1", "agent")
    try:
        lab.exec("cmp1", "ovs-ofctl", "del-flows", "br-int", "table=60,udp,tp_dst=67")
        lab.exec("cmp1", "ovs-ofctl", "del-flows", "br-tun", "table=2,udp,tp_dst=67")
        with elsewhere(lab, red, trio) as captures:
            vm.dhcp(timeout_s=20)
            seen = seen_at(captures, vm)
    finally:
        lab.start("cmp1", "agent")
    assert {"cmp2 eth2", "cmp3 eth2", "tap of beside"} <= seen.keys()
    with elsewhere(lab, red, trio) as captures:  # and they are put back
        lab.wait_for(lambda: dhcp_flow(lab, "cmp1"), timeout_s=10)
        vm.dhcp(timeout_s=20)
        assert seen_at(captures, vm) == {}


def dhcp_flow(lab: Lab, host: str) -> bool:
    return any("tp_dst=67" in line for line in flows(lab, host, 2))


@contextmanager
def elsewhere(lab: Lab, network: LabNetwork, trio: dict[str, Vm]) -> Iterator[dict[str, Capture]]:
    """Listen on the wires of the hosts that have nothing to do with vm1's DHCP, and other taps."""
    hosts = [name for name in lab.hosts if name not in {"cmp1", dhcp_host(lab, network)}]
    with ExitStack() as stack:
        wires = {f"{name} eth2": lab.capture(name, "eth2") for name in hosts}
        taps = {
            f"tap of {name}": lab.capture(vm.state.host, vm.tap)
            for name, vm in trio.items()
            if name != "vm1"
        }
        for capture in (captures := wires | taps).values():
            stack.enter_context(capture)
        yield captures


def seen_at(captures: dict[str, Capture], vm: Vm) -> dict[str, list[Sighting]]:
    found = {
        where: [seen for seen in capture.sightings() if seen.message.mac == vm.state.mac]
        for where, capture in captures.items()
    }
    return {where: seen for where, seen in found.items() if seen}


def test_a_vm_that_answers_dhcp_is_not_heard(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    """A rogue dnsmasq in vm2 sees no request, and what it sends by itself is dropped."""
    lab, rogue = overlay_lab, trio["vm2"]
    offer = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM);"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1); s.bind(('', 67));"
        f"s.sendto({bytes_of_offer(trio['vm3'].state.mac)!r}, ('{red.cidr.broadcast_address}', 68))"
    )
    with (
        lab.capture("cmp2", rogue.tap) as left,
        lab.capture("cmp3", trio["vm3"].tap) as arrived,
    ):
        rogue.exec("/usr/bin/python3", "-c", offer)
        lab.wait_for(left.sightings, timeout_s=5, what="the rogue's offer leaves it")
        assert rogue.state.assigned is not None
        assert trio["vm3"].ping(rogue.state.assigned)  # what it sent before would be here by now
        assert [one for one in arrived.sightings() if one.source == rogue.state.mac] == []
    said_and_counted(lab, rogue, "answers DHCP", "dhcp_answers_dropped")


def test_a_vm_that_floods_requests_is_limited_and_the_others_are_served(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    lab, flooder, other = overlay_lab, trio["vm2"], trio["vm3"]
    many = 20 * BURST
    frame = discover(flooder.state.mac, 7)
    flood = (
        "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0));"
        f"[s.send({frame!r}) for _ in range({many})]"
    )
    with lab.capture("cmp2", "eth2") as wire:
        started = time.monotonic()
        flooder.exec("/usr/bin/python3", "-c", flood)
        assert other.dhcp(timeout_s=20).address == other.state.assigned
        said_and_counted(lab, flooder, "DHCP requests a second", "dhcp_requests_dropped")
        allowed = BURST + RATE * (time.monotonic() - started) + 1
        passed = [
            one for one in wire.sightings() if one.outgoing and one.message.mac == flooder.state.mac
        ]
    assert 0 < len(passed) <= min(allowed, many - 1)
    lab.wait_for(lambda: flooder.dhcp(timeout_s=20), timeout_s=40, what="it is served again, too")


def test_a_wrong_mac_and_a_static_address_on_vxlan_are_said_with_what_mends_them(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    vm, other = (booted(overlay_lab, name, "cmp3", red) for name in ("strange", "near"))
    assert isinstance(vm, NetnsVm)
    assert isinstance(other, NetnsVm)
    static_address_is_said_and_mended(overlay_lab, vm, "10.30.0.177", other)
    wrong_mac_is_said_and_mended(overlay_lab, vm)


def said_and_counted(lab: Lab, vm: Vm, words: str, count: str) -> None:
    """An operator sees it in the host's counts, in status and in the port."""
    host, port_id = vm.state.host, vm.state.port_id
    # meters are read every 30 s
    lab.wait_for(lambda: lab.api.find("hosts", host)["counts"][count] > 0, timeout_s=40, what=count)
    lab.wait_for(
        lambda: any(
            words in said["text"] and port_id in said["ports"]
            for said in lab.api.find("hosts", host)["problems"]
        ),
        timeout_s=15,
        what=f"{host} says so",
    )
    assert words in lab.exec("server", "lessor", "status")
    shown = json.loads(lab.exec("server", "lessor", "port", "show", port_id, "--json"))
    assert words in "".join(shown["problems"])


def bytes_of_offer(mac: str) -> bytes:
    head = b"\x02\x01\x06\x00" + b"\0" * 24 + bytes.fromhex(mac.replace(":", ""))
    return head.ljust(236, b"\0") + b"\x63\x82\x53\x63\x35\x01\x02\xff"


# --- repaired, and said


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        pytest.param("ovs-ofctl del-flows br-tun table=20", "flows", id="flows-of-br-tun"),
        pytest.param("ovs-ofctl del-flows br-int", "flows", id="flows-of-br-int"),
        pytest.param("ovs-vsctl del-port TUNNEL", "ovs_ports", id="tunnel"),
    ],
)
def test_what_is_deleted_by_hand_is_put_back_within_seconds_and_said(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm], words: str, kind: str
) -> None:
    """cmp3 has a full look every 300 s only."""
    lab, vm = overlay_lab, trio["vm3"]
    deleted = words.replace("TUNNEL", tunnel_to(lab, dhcp_host(lab, red)))
    check_repair(lab, "cmp3", kind, deleted.split())
    assert vm.dhcp(timeout_s=20).address == vm.state.assigned


def test_a_namespace_that_is_deleted_by_hand_is_put_back_within_seconds_and_said(
    overlay_lab: Lab, red: LabNetwork, trio: dict[str, Vm]
) -> None:
    """Its dnsmasq still runs, in a namespace that has no name any more."""
    lab, vm = overlay_lab, trio["vm3"]
    check_repair(lab, dhcp_host(lab, red), "namespaces", f"ip netns del qdhcp-{red.id}".split())
    assert vm.dhcp(timeout_s=20).address == vm.state.assigned


def check_repair(lab: Lab, host: str, kind: str, words: list[str]) -> None:
    def said() -> int:
        lines = lab.node(host).log("agent").read_text().splitlines()
        return sum("put back" in line and f"kind={kind}" in line for line in lines)

    settle(lab, host)  # what differs beside something wanted is brought in without a word
    before = said(), put_back(lab, host)
    lab.exec(host, *words)
    lab.wait_for(lambda: said() > before[0], timeout_s=15, what=f"{kind} are put back on {host}")
    lab.wait_for(lambda: put_back(lab, host) > before[1], timeout_s=15, what="the server knows")


def settle(lab: Lab, host: str) -> None:
    """Wait until a host's agent has had nothing to do for a while."""
    seen = [0, time.monotonic()]

    def is_quiet() -> bool:
        size = lab.node(host).log("agent").stat().st_size
        if size != seen[0]:
            seen[:] = size, time.monotonic()
        return time.monotonic() - seen[1] > 1.5

    lab.wait_for(is_quiet, timeout_s=30, what=f"the agent of {host} has nothing to do")


def put_back(lab: Lab, host: str) -> int:
    return int(lab.api.find("hosts", host)["counts"]["put_back"])


# --- zones


@pytest.mark.parametrize(("zone", "host"), [(WEST, "net2"), ("nova", "net1")])
def test_a_network_that_asks_for_a_zone_is_served_there(
    overlay_lab: Lab, zone: str, host: str
) -> None:
    hints = {"availability_zone_hints": [zone]}
    network = overlay_lab.network(f"in-{zone}", "10.31.0.0/24", kind="vxlan", network=hints)
    vm = booted(overlay_lab, f"vm-{zone}", "cmp3", network)
    (port,) = dhcp_ports(overlay_lab, network)
    lease = vm.last_lease()
    assert lease is not None
    assert port["binding:host_id"] == host
    fixed_ips = overlay_lab.api.show("ports", str(port["id"]))["fixed_ips"]
    assert str(lease.server) == fixed_ips[0]["ip_address"]
    assert overlay_lab.api.show("networks", network.id)["availability_zones"] == [zone]


# --- 16


def test_d3_16_the_mtu_of_a_vxlan_network_is_1450(trio: dict[str, Vm]) -> None:
    lease = trio["vm1"].last_lease()
    assert lease is not None
    assert lease.mtu == 1450
    assert "mtu 1450" in trio["vm1"].exec("ip", "link", "show", "eth0")


def test_d3_16_a_hostname_of_70_characters_still_gets_a_lease(
    overlay_lab: Lab, red: LabNetwork
) -> None:
    vm = booted(overlay_lab, "n" * 70, "cmp1", red)
    lease = vm.last_lease()
    assert lease is not None
    assert (lease.address, lease.hostname) == (vm.state.assigned, f"nn-{'n' * 60}")


def test_vms_of_one_network_reach_each_other_over_tcp(
    overlay_lab: Lab, trio: dict[str, Vm]
) -> None:
    """A long page: checksums and the MTU are right, not only ping."""
    assert overlay_lab.hosts
    server = trio["vm3"]
    assert isinstance(server, NetnsVm)
    server.serve("x" * 100_000)
    assert len(trio["vm1"].http(f"http://{server.state.assigned}/").strip()) == 100_000
