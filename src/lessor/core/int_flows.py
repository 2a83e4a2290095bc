"""The flows of br-int: what a VM may send, and where its DHCP broadcasts go (B15, B18).

| table | what arrives | where it goes |
|---|---|---|
| 0 | everything | the dead VLAN nowhere; a guarded VM's ARP to 24, the rest of it to 25; others to 60 |
| 23 | nothing | the canary: one flow, and if it is missing, OVS was restarted |
| 24 | ARP of VMs | with the VM's own MAC and addresses to 25, else dropped |
| 25 | frames of VMs | with the VM's own MAC to 71, else dropped |
| 60 | what may pass | DHCP client broadcasts to DHCP servers only; the rest as a switch would (NORMAL) |
| 71 | frames of VMs | never a DHCP answer or a router advertisement; own addresses to 60, else dropped |

A frame of an access port has no tag in the pipeline, so what concerns one network's VMs goes by
port. A VM's DHCP requests go through a meter of its own, which goes by the port's name here: see
`lessor.core.dhcp_limit`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lessor.core.flow_text import flow, to
from lessor.core.overlay import NetworkFacts, VmFacts

CLASSIFY, CANARY, ARP, MAC, SWITCH, EGRESS = 0, 23, 24, 25, 60, 71
TABLES = (CLASSIFY, CANARY, ARP, MAC, SWITCH, EGRESS)
EGRESS_DHCP = 90  # priority of what drops a VM's DHCP answers
PATCH = "patch-tun"
DEAD_VLAN = 4095

_RENEWAL = "udp,tp_src=68,tp_dst=67"
_REQUEST = "udp,dl_dst=ff:ff:ff:ff:ff:ff,tp_src=68,tp_dst=67"


def int_flows(networks: Iterable[NetworkFacts]) -> tuple[str, ...]:
    """Return all flows of br-int, sorted. Ports are given by name."""
    lines = list(_fixed())
    for network in networks:
        lines += _dhcp(network)
        for vm in network.vms:
            if vm.macs:
                lines += _guard(vm)
    return tuple(sorted(lines))


def _fixed() -> Iterator[str]:
    yield flow(CLASSIFY, 65535, f"dl_vlan={DEAD_VLAN}", "drop")
    yield flow(CLASSIFY, 0, "", to(SWITCH))
    yield flow(CANARY, 0, "", "drop")
    yield flow(ARP, 0, "", "drop")
    yield flow(MAC, 0, "", "drop")
    yield flow(EGRESS, 0, "", "drop")
    yield flow(SWITCH, 1, "", "NORMAL")


def _dhcp(network: NetworkFacts) -> Iterator[str]:
    """Client broadcasts reach DHCP servers, here or beyond the tunnels, and nobody else."""
    here = [f"output:{network.dhcp_here}"] if network.dhcp_here else []
    beyond = [f"mod_vlan_vid:{network.vlan}", f"output:{PATCH}"] if network.dhcp_tunnels else []
    for vm in network.vms:
        meter = f"meter:{vm.tap}"
        actions = ",".join([meter, *here, *beyond]) if here or beyond else "drop"
        yield flow(SWITCH, 100, f"in_port={vm.tap},{_REQUEST}", actions)
        yield flow(SWITCH, 99, f"in_port={vm.tap},{_RENEWAL}", f"{meter},NORMAL")
    arrived = f"strip_vlan,{here[0]}" if here else "drop"
    yield flow(SWITCH, 100, f"in_port={PATCH},dl_vlan={network.vlan},{_REQUEST}", arrived)


def _guard(vm: VmFacts) -> Iterator[str]:
    port = f"in_port={vm.tap}"
    yield flow(CLASSIFY, 10, f"{port},arp", to(ARP))
    yield flow(CLASSIFY, 9, port, to(MAC))
    for mac in vm.macs:
        yield flow(ARP, 2, f"arp,{port},arp_sha={mac},arp_spa=0.0.0.0,arp_op=1", to(MAC))
        yield flow(MAC, 2, f"{port},dl_src={mac}", to(EGRESS))
    for mac, block in vm.sources:
        yield flow(ARP, 2, f"arp,{port},arp_sha={mac},arp_spa={block}", to(MAC))
        yield flow(EGRESS, 65, f"ip,{port},dl_src={mac},nw_src={block}", to(SWITCH))
    yield from _egress(port)


def _egress(port: str) -> Iterator[str]:
    yield flow(EGRESS, 95, f"arp,{port}", to(SWITCH))
    yield flow(EGRESS, 80, f"udp,{port},nw_src=0.0.0.0,tp_src=68,tp_dst=67", to(SWITCH))
    for answer in ("udp,{},tp_src=67", "udp,{},tp_dst=68", "udp6,{},tp_src=547"):
        yield flow(EGRESS, EGRESS_DHCP, answer.format(port), "drop")
    for kind in (134, 137):  # router advertisement, redirect
        yield flow(EGRESS, 70, f"icmp6,{port},icmp_type={kind}", "drop")
    for source in ("fe80::/10", "::"):
        yield flow(EGRESS, 65, f"ipv6,{port},ipv6_src={source}", to(SWITCH))
