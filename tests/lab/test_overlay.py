"""Lab hosts with Open vSwitch, without agents: tunnels and flows made by hand."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.errors import Invalid
from lessor.lab.capture import discover_copies
from lessor.lab.lab import Lab
from lessor.lab.ovs import SERVER, SWITCH
from lessor.lab.state import HostSpec, VmState
from lessor.lab.underlay import Underlay, tunnel_address
from lessor.lab.vm import NetnsVm, tap_name

pytestmark = pytest.mark.lab

HOSTS = ("h1", "h2", "h3")
ENDS = {name: tunnel_address(number) for number, name in enumerate(HOSTS)}
VNI = 1001
PORT_ID = "5f2a9c1e-5b00-4000-8000-000000000001"
MAC = "fa:16:3e:00:00:01"
ADDRESS, SERVED_BY = IPv4Address("10.20.0.101"), IPv4Address("10.20.0.2")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """h1 and h3 are to have VMs, h2 serves DHCP; h4 is without Open vSwitch."""
    specs = [*(HostSpec(name=name, overlay=True) for name in HOSTS), HostSpec(name="h4")]
    lab = Lab.up(tmp_path_factory.mktemp("overlay") / "lab", specs, services=False)
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def vm(bare: Lab) -> NetnsVm:
    """A VM on h1; its DHCP server is on h2, and all else is flooded to all."""
    for name in HOSTS:
        make_tunnels(bare, name)
    serve_dhcp(bare)
    state = VmState(name="vm1", host="h1", port_id=PORT_ID, mac=MAC, overlay=True)
    vm = bare.plug(state)
    assert isinstance(vm, NetnsVm)
    vsctl(bare, "h1", "add-port", "br-int", tap_name(PORT_ID))
    bare.exec("h1", "ip", "link", "set", tap_name(PORT_ID), "up")
    return vm


def vsctl(lab: Lab, host: str, *words: str) -> None:
    lab.exec(host, "ovs-vsctl", "--timeout=10", *words)


def make_tunnels(lab: Lab, host: str) -> None:
    """A star around h1: a mesh of bridges that flood would be a loop."""
    vsctl(lab, host, "add-br", "br-int", "--", "set", "Bridge", "br-int", "datapath_type=netdev")
    peers = [peer for peer in HOSTS if "h1" in {host, peer} and peer != host]
    for peer in peers:
        options = f"options:local_ip={ENDS[host]} options:remote_ip={ENDS[peer]} options:key={VNI}"
        add = f"add-port br-int vx-{peer} -- set Interface vx-{peer} type=vxlan {options}"
        vsctl(lab, host, *add.split())


def serve_dhcp(lab: Lab) -> None:
    for line in (
        "netns add qdhcp",
        "link add dhcp-out type veth peer name dhcp0 netns qdhcp",
        "link set dhcp-out up",
        f"-n qdhcp addr add {SERVED_BY}/24 dev dhcp0",
        "-n qdhcp link set dhcp0 up",
    ):
        lab.exec("h2", "ip", *line.split())
    node = lab.node("h2")
    node.exec("ethtool", "-K", "dhcp0", "tx", "off", netns="qdhcp")
    vsctl(lab, "h2", "add-port", "br-int", "dhcp-out")
    node.spawn(
        "dnsmasq",
        *("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--port=0"),
        *("--leasefile-ro", "--no-ping", "--bind-interfaces", "--interface=dhcp0"),
        f"--dhcp-range={SERVED_BY},static,255.255.255.0,120s",
        f"--dhcp-host={MAC},{ADDRESS}",
        "--dhcp-option-force=option:mtu,1450",
        netns="qdhcp",
    )


def test_a_vm_leases_through_a_tunnel(vm: NetnsVm) -> None:
    lease = vm.dhcp(timeout_s=15)
    assert (lease.address, lease.server, lease.mtu) == (ADDRESS, SERVED_BY, 1450)
    assert vm.ping(SERVED_BY)


def test_captures_tell_copies_and_receivers_of_a_discover(vm: NetnsVm, bare: Lab) -> None:
    with (
        bare.capture("h1", "eth2") as sent,
        bare.capture("h3", "eth2") as received,
        bare.capture("h2", "dhcp0", netns="qdhcp") as inside,
    ):
        vm.dhcp(timeout_s=15)
        copies = discover_copies(sent.sightings(), MAC)
        at_h3, at_server = received.sightings(), inside.sightings()
    tunnels = [copy.tunnel for copy in copies if copy.tunnel]
    assert sorted(str(tunnel.destination) for tunnel in tunnels) == [
        str(ENDS["h2"]),
        str(ENDS["h3"]),
    ]
    assert {(tunnel.source, tunnel.vni) for tunnel in tunnels} == {(ENDS["h1"], VNI)}
    assert {(copy.source, copy.destination) for copy in copies} == {(MAC, "ff:ff:ff:ff:ff:ff")}
    xid = copies[0].message.xid
    assert {one.outgoing for one in at_h3 if one.tunnel and one.message.xid == xid} == {False}
    assert {seen.message.mac for seen in at_server if seen.tunnel is None} == {MAC}


def test_only_hosts_that_ask_for_it_have_open_vswitch(bare: Lab) -> None:
    assert bare.node("h4").find(SWITCH) == []
    assert "eth2" not in bare.exec("h4", "ip", "link")
    assert "br-phy" in bare.exec("h3", "ovs-vsctl", "list-br")


def test_each_host_has_its_own_database(bare: Lab) -> None:
    vsctl(bare, "h3", "add-br", "br-mine")
    assert "br-mine" not in bare.exec("h1", "ovs-vsctl", "list-br")


def test_a_packet_as_long_as_the_wire_takes_goes_through_whole(bare: Lab) -> None:
    ping = f"busybox ping -c1 -W2 -s {1600 - 20 - 8} {ENDS['h1']}"
    assert "1 packets received" in bare.exec("h2", "sh", "-c", f"{ping} || true")
    assert "mtu 1600" in bare.exec("h2", "ip", "link", "show", "br-phy")


def test_a_killed_switch_comes_back_with_its_underlay(bare: Lab) -> None:
    bare.kill("h3", SWITCH)
    bare.start("h3", SWITCH)
    assert reaches(bare, "h3", "h2")


def test_a_database_that_is_lost_comes_back_with_the_underlay_only(bare: Lab) -> None:
    vsctl(bare, "h3", "--may-exist", "add-br", "br-lost")
    bare.kill("h3", SERVER)
    bare.exec("h3", "rm", "/var/lib/lessor/openvswitch.db")
    bare.start("h3", SERVER)
    assert bare.exec("h3", "ovs-vsctl", "list-br") == "br-phy\n"
    assert reaches(bare, "h3", "h2")


def test_a_host_powered_off_and_on_keeps_its_disk_and_its_cables(bare: Lab) -> None:
    bare.exec("h4", "touch", "/var/lib/lessor/kept", "/run/lost")
    bare.power_off("h4")
    assert not bare.node("h4").is_running()
    bare.power_on("h4")
    assert "kept" in bare.exec("h4", "ls", "/var/lib/lessor")
    assert "lost" not in bare.exec("h4", "ls", "/run")
    assert "1 packets received" in bare.exec("h4", "busybox", "ping", "-c1", "-W2", "192.0.2.1")


def test_a_tunnel_cable_that_is_cut_leaves_the_management_network(bare: Lab) -> None:
    bare.cut("h2", "eth2")
    assert not reaches(bare, "h1", "h2")
    bare.heal("h2", "eth2")
    bare.wait_for(lambda: reaches(bare, "h1", "h2"), timeout_s=10)


def reaches(lab: Lab, host: str, peer: str) -> bool:
    ping = f"busybox ping -c1 -W1 {ENDS[peer]} || true"
    return "1 packets received" in lab.exec(host, "sh", "-c", ping)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        pytest.param({"mtu": 100}, "underlay_mtu 100", id="mtu"),
        pytest.param({"delay_ms": -1}, "delay_ms -1", id="delay"),
    ],
)
def test_an_underlay_that_cannot_be_is_refused(wish: dict[str, Any], why: str) -> None:
    with pytest.raises(Invalid, match=why):
        Underlay(**wish)
