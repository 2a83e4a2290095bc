"""The drivers together, with the flows that core makes, and packets."""

import socket
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from lessor.agent.drivers import Driver
from lessor.agent.drivers.flows import FlowDriver
from lessor.agent.drivers.ovs_bridges import OvsBridgeDriver
from lessor.agent.drivers.ovs_ports import OvsPortDriver
from lessor.agent.host.ovs import Ovsdb, rundir
from lessor.agent.host.run import run
from lessor.core.diff import Changes, diff
from lessor.core.openflow.facts import NetworkFacts, RemotePort
from lessor.core.openflow.flow_bundle import OURS
from lessor.core.openflow.int_flows import int_flows
from lessor.core.openflow.tun_flows import tun_flows
from lessor.core.state import Flows, OvsBridge, OvsPort
from lessor.core.vmport import PortSecurity
from tests.agent.drivers.frames import ALL as ALL_PROTOCOLS
from tests.agent.drivers.frames import arp
from tests.agent.drivers.ovs_daemons import Ovs

pytestmark = pytest.mark.lab

Shell = Callable[[str], str]
MAC = "fa:16:3e:00:00:01"
TUNNEL = OvsPort(
    "vxlan-0a63000a",
    "br-tun",
    "vxlan",
    options=(
        ("egress_pkt_mark", "0"),
        ("in_key", "flow"),
        ("local_ip", "10.99.0.11"),
        ("out_key", "flow"),
        ("remote_ip", "10.99.0.10"),
    ),
)
PORTS = (
    OvsPort("tap1", "br-int", "vif", "p1", MAC, "n", vlan=5),
    OvsPort("tap2", "br-int", "vif", "p2", "fa:16:3e:00:00:02", "n", vlan=5),
    OvsPort("patch-tun", "br-int", "patch", options=(("peer", "patch-int"),)),
    OvsPort("patch-int", "br-tun", "patch", options=(("peer", "patch-tun"),)),
    TUNNEL,
)
FACTS = NetworkFacts(
    vni=1001,
    vlan=5,
    vms=(
        PortSecurity("tap1", "br-int", MAC, (MAC,), ((MAC, IPv4Network("10.0.0.5/32")),)),
        PortSecurity("tap2", "br-int", "fa:16:3e:00:00:02", (), ()),
    ),
    dhcp_tunnels=(TUNNEL.name,),
    tunnels=(TUNNEL.name,),
    remotes=(RemotePort("fa:16:3e:00:00:09", (IPv4Address("10.0.0.9"),), (TUNNEL.name,)),),
)
BRIDGES = (OvsBridge("br-int", "netdev"), OvsBridge("br-tun", "netdev"))
FLOWS = (Flows("br-int", int_flows([FACTS])), Flows("br-tun", tun_flows([FACTS])))


class Host:
    """The three drivers of an agent."""

    def __init__(self, ovs: Ovs, db: Ovsdb, folder: Path) -> None:
        ports = OvsPortDriver(db, run)
        sockets, names = rundir(ovs.connection), [bridge.name for bridge in BRIDGES]
        bridges = {bridge.name: bridge for bridge in BRIDGES}
        flows = FlowDriver(run, folder / "flows.json", sockets, names, names=ports.names)
        self.kinds: tuple[tuple[Driver[Any], Mapping[str, Any]], ...] = (
            (OvsBridgeDriver(db, names), bridges),
            (ports, {port.name: port for port in PORTS}),
            (flows, {one.bridge: one for one in FLOWS}),
        )

    def bring(self) -> list[Changes[Any]]:
        """Make one pass; return what had to be done."""
        done = []
        for driver, wanted in self.kinds:
            changes = diff(wanted, driver.observe())
            driver.apply(changes)
            done += [changes] if changes else []
        return done


@pytest.fixture
def host(ovs: Ovs, db: Ovsdb, sh: Shell, tmp_path: Path) -> Host:
    for number in (1, 2):
        plug(sh, number)
    made = Host(ovs, db, tmp_path)
    made.bring()
    return made


def plug(sh: Shell, number: int) -> None:
    """Make a tap; its other end stands for the VM, and does not answer for the host."""
    tap, vm = f"tap{number}", f"vm{number}"
    sh(f"ip link add {tap} type veth peer name {vm}; ip link set {tap} up; ip link set {vm} up")
    sh(f"echo 1 >/proc/sys/net/ipv4/conf/{vm}/arp_ignore")


def crosses() -> bool:
    """Tell whether a frame of VM 1 comes to VM 2."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)) as ear:
        ear.bind(("vm2", ALL_PROTOCOLS))
        ear.settimeout(1)
        say("vm1")
        try:
            while MAC.replace(":", "") not in ear.recv(2000).hex():
                pass
        except TimeoutError:
            return False
        return True


def say(device: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as mouth:
        mouth.bind((device, 0))
        mouth.send(arp(MAC, "10.0.0.5", "10.0.0.1"))


def test_cores_flows_are_applied_whole_and_packets_cross(ovs: Ovs, host: Host) -> None:
    assert not host.bring()
    for flows in FLOWS:
        printed = ovs("ovs-ofctl", "-O", "OpenFlow14", "dump-flows", flows.bridge, OURS)
        assert printed.count("\n cookie=") == len(flows.lines)
    assert crosses()


def test_after_ovs_lost_everything_packets_cross_again(ovs: Ovs, host: Host) -> None:
    ovs.kill("ovs-vswitchd")
    ovs.forget()
    ovs.start_switch()
    host.bring()
    assert not host.bring()
    assert crosses()


def test_the_hosts_own_stack_gets_no_frame_of_a_vm(ovs: Ovs, host: Host, sh: Shell) -> None:
    """Not of a tap that was made anew, either."""
    sh("ip addr add 10.0.0.1/24 dev tap1")
    assert crosses()
    assert not answered()
    sh("ip link del tap1")
    plug(sh, 1)
    sh("ip addr add 10.0.0.1/24 dev tap1")
    host.bring()
    ovs.wait(crosses)
    assert not answered()
    sh("nft flush ruleset")
    assert answered()  # the test can fail


def answered() -> bool:
    """Tell whether the host answers an ARP request of VM 1, once that has crossed."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)) as ear:
        ear.bind(("vm1", ALL_PROTOCOLS))
        ear.settimeout(0.3)
        assert crosses()
        try:
            while True:
                frame = ear.recv(2000)
                if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02":
                    return True
        except TimeoutError:
            return False
