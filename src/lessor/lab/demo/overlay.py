"""The demo's overlay part: two networks with the same addresses on three hosts, kept apart.

Equal addresses prove nothing by answering a ping: each VM serves a page with its own name, and each
asks its neighbour for that. Who sees a client's DHCP is captured on every tunnel wire and tap.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

from lessor.errors import LessorError
from lessor.lab import underlay
from lessor.lab.capture import Capture, discover_copies
from lessor.lab.cloud import LabNetwork
from lessor.lab.demo.checks import LEASE_TIMEOUT_S, Seen, fetch, look_inside
from lessor.lab.lab import Lab
from lessor.lab.vm import NetnsVm, Vm
from lessor.lab.wait import wait_for
from lessor.net.address import Address

CIDR = "10.30.0.0/24"  # of both
NETWORKS = ("red", "blue")
VMS = (  # name, network, host, last byte of its address, real
    ("red1", "red", "cmp1", 11, False),
    ("red2", "red", "cmp2", 12, False),
    ("blue1", "blue", "cmp2", 11, False),
    ("blue2", "blue", "cmp3", 12, False),
    ("blue3", "blue", "cmp1", 13, False),
    ("red3", "red", "cmp3", 13, True),
)
ASKS = {
    "red1": "red2",
    "red2": "red1",
    "red3": "red1",
    "blue1": "blue2",
    "blue2": "blue3",
    "blue3": "blue1",
}
WATCHED = {"red": "red1", "blue": "blue1"}  # whose DISCOVER is followed
FAILOVER_TIMEOUT_S, RENEWED_TIMEOUT_S, KNOWN_TIMEOUT_S = 60, 4, 20


@dataclass(slots=True, kw_only=True)
class OverlaySeen:
    """What became of one overlay network. `failures` says in words what is not right."""

    network: LabNetwork
    vni: int
    dhcp_hosts: list[str]  # by the store
    copies_to: list[str] = field(default_factory=list)  # hosts that got a DISCOVER by tunnel
    seen_by: list[str] = field(default_factory=list)  # taps and wires that shouldn't have it
    failures: list[str] = field(default_factory=list)

    def expect(self, so: bool, otherwise: str) -> None:
        """Note what is wrong unless it is so."""
        if not so:
            self.failures.append(otherwise)


class OverlayDemo:
    """One run in a lab."""

    def __init__(self, lab: Lab, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._say = say
        self.networks: dict[str, LabNetwork] = {}
        self.vms: list[Seen] = []
        self.seen: list[OverlaySeen] = []
        self.failover_s: float | None = None
        self.failures: list[str] = []  # but those of `vms` and `seen`

    def boot_all(self) -> None:
        """Make the networks and VMs, look at each, and have each ask its neighbour's name."""
        for name in NETWORKS:
            self.networks[name] = self._lab.network(name, CIDR, kind="vxlan")
        for name, network, host, last, real in VMS:
            self._say(f"{name}: {'a real guest' if real else 'a namespace'} on {host}, {network}")
            inside = self.networks[network]
            port = {
                "fixed_ips": [{"ip_address": str(inside.cidr[last]), "subnet_id": inside.subnet_id}]
            }
            vm = self._lab.boot(name, host, inside, real=real, port=port)
            self.vms.append(look_inside(self._lab, vm))
            if isinstance(vm, NetnsVm):
                vm.serve(name)
        for seen in self.vms:
            self._ask(seen)

    def _ask(self, seen: Seen) -> None:
        neighbour = self._lab.vm(ASKS[seen.name]).state
        seen.neighbour_says = fetch(self._lab.vm(seen.name), f"http://{neighbour.assigned}/")
        said = f"{neighbour.assigned} says it is {seen.neighbour_says or 'nothing'}"
        seen.neighbour_ok = seen.expect(
            seen.neighbour_says == neighbour.name, f"{said}, {neighbour.name} is right"
        )

    def follow_discovers(self) -> None:
        """Let a VM of each network send a new DISCOVER, and capture where its packets go."""
        for network, name in WATCHED.items():
            self._say(f"{name}: requests its lease again, captured on every wire and tap")
            try:
                self.seen.append(self._follow(self.networks[network], self._lab.vm(name)))
            except LessorError as error:
                self.failures.append(f"{name} requests its lease again: {error}")

    def _follow(self, network: LabNetwork, vm: Vm) -> OverlaySeen:
        row = self._lab.api.show("networks", network.id)
        hosts = dhcp_hosts(self._lab, network)
        seen = OverlaySeen(network=network, vni=row["provider:segmentation_id"], dhcp_hosts=hosts)
        with ExitStack() as stack:
            own = stack.enter_context(self._lab.capture(vm.state.host, underlay.NIC))
            others = {
                where: stack.enter_context(capture)
                for where, capture in self._elsewhere(vm, hosts).items()
            }
            vm.dhcp(LEASE_TIMEOUT_S)
            seen.copies_to = self._receivers(own, vm)
            seen.seen_by = [
                where for where, capture in others.items() if _has(capture, vm.state.mac)
            ]
        mac = vm.state.mac
        seen.expect(
            sorted(seen.copies_to) == sorted(hosts),
            f"a DISCOVER of {vm.state.name} ({mac}) went to {_listed(seen.copies_to)}, "
            f"its DHCP is on {_listed(hosts)}",
        )
        seen.expect(not seen.seen_by, f"DHCP of {vm.state.name} was seen {_listed(seen.seen_by)}")
        return seen

    def _elsewhere(self, vm: Vm, hosts: Iterable[str]) -> dict[str, Capture]:
        """Listen on every wire and tap where this VM's DHCP has no business to be."""
        wires = [name for name in self._lab.hosts if name not in {vm.state.host, *hosts}]
        taps = [other for other in self._lab.vms() if other.state.name != vm.state.name]
        found = {f"on {name}'s wire": self._lab.capture(name, underlay.NIC) for name in wires}
        return found | {
            f"by {other.state.name}": self._lab.capture(other.state.host, other.tap)
            for other in taps
        }

    def _receivers(self, capture: Capture, vm: Vm) -> list[str]:
        names = host_names(self._lab)
        copies = discover_copies(capture.sightings(), vm.state.mac)
        ends = [copy.tunnel.destination for copy in copies if copy.tunnel]
        return [names.get(end, str(end)) for end in ends]

    def fail_over(self) -> None:
        """Kill the host that serves a network's DHCP; a VM renews at its successor."""
        network, vm = self.networks[NETWORKS[0]], self._lab.vm(WATCHED[NETWORKS[0]])
        serving = dhcp_hosts(self._lab, network)
        if not serving:
            self.failures.append(f"{network.name} has no DHCP host that could be killed")
            return
        dead = serving[0]
        self._say(f"{dead}, which serves DHCP to {network.name}, loses its power")
        before = len(vm.events())
        started = time.monotonic()
        self._lab.power_off(dead)
        try:
            self._wait_for_successor(network, vm, dead)
            renew(vm)
            self.failover_s = round(time.monotonic() - started, 1)
            self._check_successor(vm, network, before)
        except LessorError as error:
            self.failures.append(f"{dead} killed: {error}")

    def _wait_for_successor(self, network: LabNetwork, vm: Vm, dead: str) -> None:
        """Wait until the address that gave a VM its lease answers again."""
        wait_for(
            lambda: dead not in dhcp_hosts(self._lab, network),
            FAILOVER_TIMEOUT_S,
            f"another host than {dead} serves DHCP to {network.name}",
        )
        lease = vm.lease()
        assert lease is not None
        wait_for(
            lambda: vm.ping(lease.server, timeout_s=1),
            FAILOVER_TIMEOUT_S,
            f"{lease.server}, which served DHCP to {network.name}, answers again",
        )

    def _check_successor(self, vm: Vm, network: LabNetwork, seen: int) -> None:
        lease, since = vm.lease(), set(vm.events()[seen:])
        if lease is None or lease.address != vm.state.assigned or since & {"deconfig", "nak"}:
            self.failures.append(
                f"{vm.state.name}: its address did not last over the failover: {lease}, {since}"
            )
        successors = dhcp_hosts(self._lab, network)
        wait_for(
            lambda: lease_host(self._lab, vm) in successors,
            KNOWN_TIMEOUT_S,
            f"the store knows that {vm.state.name} has its lease from {_listed(successors)}",
        )

    def all_failures(self) -> list[str]:
        """Return all failures."""
        return [
            *(f"{one.name}: {failure}" for one in self.vms for failure in one.failures),
            *(f"{one.network.name}: {failure}" for one in self.seen for failure in one.failures),
            *self.failures,
        ]


def dhcp_hosts(lab: Lab, network: LabNetwork) -> list[str]:
    """Name the hosts that serve a network's DHCP, as the store has it."""
    query = {"network_id": network.id, "device_owner": "network:dhcp"}
    return sorted(row["binding:host_id"] for row in lab.api.list("ports", query))


def host_names(lab: Lab) -> dict[Address, str]:
    """Return the lab's hosts by their tunnel addresses."""
    nodes = lab.state.nodes
    return {node.tunnel_address: name for name, node in nodes.items() if node.tunnel_address}


def renew(vm: Vm) -> None:
    """Have a VM renew, once: udhcpc that is told to, and hears nothing, gives its address up.

    Raises:
        StillNot: it has not renewed by then.
    """
    before = vm.events().count("renew")
    vm.renew()
    wait_for(
        lambda: vm.events().count("renew") > before,
        RENEWED_TIMEOUT_S,
        f"VM {vm.state.name} renews",
    )


def lease_host(lab: Lab, vm: Vm) -> str | None:
    """Name the host that gave a VM its lease, as the store has it."""
    rows = lab.api.list("leases", {"port_id": vm.state.port_id, "live": True})
    return rows[0]["host"] if rows else None


def _has(capture: Capture, mac: str) -> bool:
    return any(seen.message.mac == mac for seen in capture.sightings())


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nobody"
