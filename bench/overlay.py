"""Overlay networks on four hosts: DORA through the tunnel, create to ACTIVE, change to flows.

One host serves DHCP, three have VMs. The agent makes the taps, and our client opens them as a
hypervisor does.
"""

from __future__ import annotations

import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Self

from bench import overlay_fleet
from bench.figure import Figure, Limit, p50_p99, quantile
from bench.overlay_fleet import DHCP_HOST, SETTLED_S, OverlayFleet, port, tap_of, until, who
from bench.wire import TapWire, dora, until_offered
from lessor.agent.drivers.flows import FlowDriver
from lessor.agent.host.run import run
from lessor.core.diff import Changes
from lessor.core.firewall.dhcp_limit import RATE
from lessor.core.openflow.facts import NetworkFacts, RemotePort
from lessor.core.openflow.tun_flows import tun_flows
from lessor.core.state import Flows
from lessor.lab.node import Node
from lessor.lab.wait import wait_for

VM_HOSTS = ("cmp1", "cmp2", "cmp3")
CIDR = "10.64.0.0/16"
PAUSE_S = 2 / RATE  # between two exchanges: a port may not send more
ACTIVE = Limit(300)  # ms, the median
REMOTES = 2500  # ports on other hosts: two flows each
OVS_RUN = "run/openvswitch"


def measure(quick: bool) -> Iterator[Figure]:
    """Yield all of it."""
    with overlay_fleet.up(overlay_fleet.compute_hosts(len(VM_HOSTS))) as fleet:
        network_id = fleet.network("bench", CIDR)
        made = [fleet.ports(port(network_id, host, host, tap=True))[0] for host in VM_HOSTS]
        fleet.settle("the first ports are ready", SETTLED_S)
        yield from _dora(fleet, made[0], 50 if quick else 200)
        yield from _active(fleet, network_id, 20 if quick else 100)
        yield from _changes(fleet, network_id, 20 if quick else 100)
        yield from _written(fleet.lab.node("cmp3"), 1 if quick else 3)


def _dora(fleet: OverlayFleet, vm: dict[str, Any], times: int) -> Iterator[Figure]:
    query = f"network_id={vm['network_id']}&device_owner=network:dhcp"
    (served_by,) = fleet.api.ask("GET", f"/v2.0/ports?{query}")["ports"]
    wire = TapWire(fleet.lab.node(vm["binding:host_id"]).netns, tap_of(vm))
    until_offered(wire, *who(vm), again_s=0.1, within_s=SETTLED_S)
    taken = []
    for _ in range(times):
        taken.append(dora(wire, *who(vm), who(served_by)[1]))
        time.sleep(PAUSE_S)
    wire.close()
    yield from p50_p99("DISCOVER to ACK through the tunnel", taken)


def _active(fleet: OverlayFleet, network_id: str, times: int) -> Iterator[Figure]:
    """Make ports one after the other, on the compute hosts in turns."""
    taken = []
    for at in range(times):
        host = VM_HOSTS[at % len(VM_HOSTS)]
        (made,) = fleet.ports(port(network_id, host, f"active{at}", tap=True))
        taken.append(until(lambda made=made: _is_active(fleet, made), SETTLED_S, "ACTIVE") * 1000)
    for name, share, expected in (("p50", 0.5, ACTIVE), ("p99", 0.99, None)):
        yield Figure(
            what=f"port create to ACTIVE, vxlan, tap made, {name}",
            value=quantile(taken, share),
            unit="ms",
            n=times,
            expected=expected,
        )


def _is_active(fleet: OverlayFleet, made: dict[str, Any]) -> bool:
    status: str = fleet.api.ask("GET", f"/v2.0/ports/{made['id']}")["port"]["status"]
    return status == "ACTIVE"


# --- one port's change, to flows on three other hosts


def _changes(fleet: OverlayFleet, network_id: str, times: int) -> Iterator[Figure]:
    """Make ports on one host; wait for the flow of each one's MAC in table 20 of the others."""
    others = [DHCP_HOST, *VM_HOSTS[1:]]
    taken = []
    with ExitStack() as stack:
        watches = [stack.enter_context(FlowWatch(fleet.lab.node(name))) for name in others]
        for at in range(times):
            (made,) = fleet.ports(port(network_id, VM_HOSTS[0], f"change{at}"))
            started = time.perf_counter()
            _all_said(watches, made["mac_address"])
            taken.append(time.perf_counter() - started)
    yield from p50_p99(f"port create to its flows on {len(others)} other hosts", taken)


class FlowWatch:
    """ovs-ofctl, telling of each flow that is added to table 20 of a host's br-tun."""

    def __init__(self, node: Node) -> None:
        words = ("ovs-ofctl", "monitor", "br-tun", "watch:!initial,!delete,!modify,table=20")
        self._process = subprocess.Popen(
            (*node.entering(), *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # where it says what it saw
            env=node.env(),
        )
        assert self._process.stdout is not None
        self.lines = self._process.stdout
        self.said = b""
        self.lines.readline()  # it listens now

    def fileno(self) -> int:
        """Return what becomes readable when it has said something."""
        return self.lines.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self.lines.close()


def _all_said(watches: Sequence[FlowWatch], mac: str) -> None:
    left, sought = list(watches), f"dl_dst={mac}".encode()
    end = time.perf_counter() + SETTLED_S
    while left:
        ready = select.select(left, [], [], max(0.0, end - time.perf_counter()))[0]
        if not ready:
            raise TimeoutError(f"no flow of {mac} on {len(left)} hosts after {SETTLED_S} s")
        for watch in ready:
            watch.said += watch.lines.read1(1 << 16)  # type: ignore[attr-defined] # a BufferedReader
        left = [watch for watch in left if sought not in watch.said]
    for watch in watches:
        watch.said = b""


# --- how fast flows are written


def _written(node: Node, repeats: int) -> Iterator[Figure]:
    """Give a bridge of its own the flows of a large network, all at once."""
    made = ("--", "set", "Bridge", "br-bench", "datapath_type=netdev", "fail_mode=secure")
    node.exec("ovs-vsctl", "add-br", "br-bench", *made, "protocols=OpenFlow10,OpenFlow14")
    sockets = node.root / OVS_RUN
    wait_for((sockets / "br-bench.mgmt").exists, SETTLED_S, "br-bench answers")
    remotes = tuple(
        RemotePort(
            f"fa:16:3e:00:{at >> 8:02x}:{at & 255:02x}", (IPv4Address(0xA400000 + at),), ("T",)
        )
        for at in range(REMOTES)
    )
    facts = NetworkFacts(vni=1, vlan=1, tunnels=("T",), remotes=remotes)
    lines = tuple(line.replace("output:T", "output:LOCAL") for line in tun_flows([facts]))
    absent = ("in_port=T,", "patch-int")  # ports that this bridge has not
    flows = Flows("br-bench", tuple(li for li in lines if not any(name in li for name in absent)))
    rates = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="lessor-bench-") as folder:
            driver = FlowDriver(run, Path(folder, "flows.json"), str(sockets), ("br-bench",))
            started = time.perf_counter()
            driver.apply(Changes(create=(flows,)))
            rates.append(len(flows.lines) / (time.perf_counter() - started))
    yield Figure(
        what="flows written, in one bundle",
        value=quantile(rates, 0.5),
        unit="flows/s",
        n=len(flows.lines) * repeats,
        low=min(rates),
        high=max(rates),
    )
