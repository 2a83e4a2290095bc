"""The flows of br-int: what a VM may send, and where it goes (B15, B18).

| table | what arrives | where it goes |
|---|---|---|
| 0 | everything | guarded VMs: ARP to 24, the rest to 25; our other ports: to 60; else dropped |
| 23 | nothing | the canary: one flow, and if it is missing, OVS was restarted |
| 24 | ARP of VMs | with the VM's own MAC and addresses to 25, else dropped |
| 25 | frames of VMs | with the VM's own MAC to 71, else dropped |
| 60 | what may pass | DHCP requests by broadcast to DHCP servers, unicast to 61, the rest to 62 |
| 61 | unicast | to the port of its MAC; unknown ones to ports without port security and br-tun |
| 62 | broadcasts | to the ports of the network, and br-tun |
| 71 | frames of VMs | never a DHCP answer, never IPv6; own IPv4 addresses to 60, else dropped |
| 90 | what was refused | dropped; counted by port and, in register 0, reason |

All is closed but for what a flow names. A port that no flow names, whoever plugged it, sends
nothing and hears nothing, also while no agent runs: frames go to named ports, never to NORMAL,
which would send them to every port without a tag. A frame that finds no flow is counted by the one
that drops it.

Frames have no tag here; register 6 has the local VLAN of their network. A VM's DHCP requests go
through a meter of its own, named after the port here: see `lessor.core.firewall.dhcp_limit`.

Ports of UDP are known of first fragments, too: `lessor.agent.drivers.flows` asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lessor.core.offences import Reason
from lessor.core.openflow.facts import NetworkFacts
from lessor.core.openflow.flow_text import flow, to
from lessor.core.vmport import PortSecurity

CLASSIFY, CANARY, ARP, MAC, SWITCH = 0, 23, 24, 25, 60
UNICAST, FLOOD, EGRESS, REFUSED = 61, 62, 71, 90
TABLES = (CLASSIFY, CANARY, ARP, MAC, SWITCH, UNICAST, FLOOD, EGRESS, REFUSED)
REASONS = (Reason.MAC, Reason.SOURCE, Reason.ANSWER)  # register 0 has the place in it, from 1
PATCH = "patch-tun"
LEARN_COOKIE = 0x4C0C  # of what OVS itself learned: not ours to compare
LEARNED_S = 300

_REQUEST = "udp,dl_dst=ff:ff:ff:ff:ff:ff,tp_dst=67"
_GROUP = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
_RESERVED = "dl_dst=01:80:c2:00:00:00/ff:ff:ff:ff:ff:f0"  # IEEE 802.1D table 7-10
_UNTAGGED = "vlan_tci=0"


def int_flows(networks: Iterable[NetworkFacts]) -> tuple[str, ...]:
    """Return all flows of br-int, sorted. Ports are given by name."""
    lines = list(_fixed())
    for network in networks:
        lines += _arrivals(network)
        lines += _dhcp(network)
        lines += _deliveries(network)
        for vm in network.vms:
            if vm.is_enforced:
                lines += _guard(vm)
    return tuple(sorted(lines))


def on_network(vlan: int) -> str:
    """Match the frames of a network, by its local VLAN."""
    return f"reg6={vlan:#x}"


def _fixed() -> Iterator[str]:
    yield flow(CLASSIFY, 0, "", "drop")
    yield flow(CANARY, 0, "", "drop")
    yield flow(ARP, 0, "", _refused(Reason.MAC))
    yield flow(MAC, 0, "", _refused(Reason.MAC))
    yield flow(EGRESS, 1, "ip", _refused(Reason.SOURCE))
    yield flow(EGRESS, 1, "ipv6", "drop")
    yield flow(EGRESS, 0, "", "drop")
    yield flow(REFUSED, 0, "", "drop")
    yield flow(SWITCH, 110, _RESERVED, "drop")
    yield flow(SWITCH, 1, _GROUP, to(FLOOD))
    yield flow(SWITCH, 0, "", to(UNICAST))
    yield flow(UNICAST, 0, "", "drop")
    yield flow(FLOOD, 0, "", "drop")


# --- what comes in


def _arrivals(network: NetworkFacts) -> Iterator[str]:
    """Mark a port's frames with their network, and send them to the table that checks them."""
    enter = f"load:{network.vlan:#x}->NXM_NX_REG6[]"
    tag = f"load:{0x1000 | network.vlan:#x}->NXM_OF_VLAN_TCI[]"
    learn = [_learn(tag)] if any(not vm.is_enforced for vm in network.vms) else []
    inward = ["strip_vlan", enter, *learn, to(SWITCH)]
    yield flow(CLASSIFY, 9, f"in_port={PATCH},dl_vlan={network.vlan}", ",".join(inward))
    if network.dhcp_here:
        yield flow(CLASSIFY, 9, f"in_port={network.dhcp_here},{_UNTAGGED}", f"{enter},{to(SWITCH)}")
    for vm in network.vms:
        port = f"in_port={vm.tap},{_UNTAGGED}"
        if vm.is_enforced:
            yield flow(CLASSIFY, 10, f"arp,{port}", f"{enter},{to(ARP)}")
            yield flow(CLASSIFY, 9, port, f"{enter},{to(MAC)}")
        else:
            yield flow(CLASSIFY, 9, port, f"{enter},{_learn()},{to(SWITCH)}")


def _learn(*changes: str) -> str:
    """Learn behind which port a MAC is that is no port's own, as that of a VM inside a VM."""
    fields = (
        f"table={UNICAST}",
        f"hard_timeout={LEARNED_S}",
        "priority=2",
        f"cookie={LEARN_COOKIE:#x}",
        "NXM_NX_REG6[]",
        "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]",
        *changes,
        "output:NXM_OF_IN_PORT[]",
    )
    return f"learn({','.join(fields)})"


def _guard(vm: PortSecurity) -> Iterator[str]:
    port = f"in_port={vm.tap}"
    for mac in vm.macs:
        yield flow(ARP, 2, f"arp,{port},arp_sha={mac},arp_spa=0.0.0.0,arp_op=1", to(MAC))
        yield flow(ARP, 1, f"arp,{port},dl_src={mac}", _refused(Reason.SOURCE))
        yield flow(MAC, 2, f"{port},dl_src={mac}", to(EGRESS))
    for mac, block in vm.sources:
        yield flow(ARP, 2, f"arp,{port},arp_sha={mac},arp_spa={block}", to(MAC))
        yield flow(EGRESS, 65, f"ip,{port},dl_src={mac},nw_src={block}", to(SWITCH))
    yield from _egress(port)


def _egress(port: str) -> Iterator[str]:
    yield flow(EGRESS, 95, f"arp,{port}", to(SWITCH))
    yield flow(EGRESS, 80, f"udp,{port},nw_src=0.0.0.0,tp_src=68,tp_dst=67", to(SWITCH))
    for answer in ("udp,{},tp_src=67", "udp,{},tp_dst=68"):
        yield flow(EGRESS, 90, answer.format(port), _refused(Reason.ANSWER))
    # Open vSwitch reads no ports where a packet says that it ends before them.
    yield flow(EGRESS, 90, f"udp,{port},nw_frag=not_later,tp_src=0,tp_dst=0", "drop")
    for number in range(1, len(REASONS) + 1):
        yield flow(REFUSED, 1, f"reg0={number},{port}", "drop")


def _refused(reason: Reason) -> str:
    number = REASONS.index(reason) + 1
    return f"load:{number}->NXM_NX_REG0[],{to(REFUSED)}"


# --- where it goes


def _dhcp(network: NetworkFacts) -> Iterator[str]:
    """Client broadcasts reach DHCP servers, here or beyond the tunnels, and nobody else.

    Whatever their source port; a request that comes in fragments is none.
    """
    here = [f"output:{network.dhcp_here}"] if network.dhcp_here else []
    beyond = [_beyond(network)] if network.dhcp_tunnels else []
    for vm in network.vms:
        meter, port = f"meter:{vm.tap}", f"in_port={vm.tap}"
        actions = ",".join([meter, *here, *beyond]) if here or beyond else "drop"
        yield flow(SWITCH, 101, f"udp,{port},nw_frag=first,tp_dst=67", "drop")
        yield flow(SWITCH, 100, f"{port},{_REQUEST}", actions)
        yield flow(SWITCH, 99, f"udp,{port},{_GROUP},tp_dst=67", f"{meter},{to(FLOOD)}")
        yield flow(SWITCH, 98, f"udp,{port},tp_dst=67", f"{meter},{to(UNICAST)}")
    place = f"in_port={PATCH},{on_network(network.vlan)}"
    yield flow(SWITCH, 100, f"{place},{_REQUEST}", here[0] if here else "drop")


def _deliveries(network: NetworkFacts) -> Iterator[str]:
    """Yield which ports the frames of a network go to."""
    place, beyond = on_network(network.vlan), [_beyond(network)] if network.tunnels else []
    vms = [f"output:{vm.tap}" for vm in network.vms]
    free = [f"output:{vm.tap}" for vm in network.vms if not vm.is_enforced]
    server = [f"output:{network.dhcp_here}"] if network.dhcp_here else []
    for mac, outputs in _owners(network, beyond).items():
        yield flow(UNICAST, 3, f"{place},dl_dst={mac}", ",".join(outputs) or "drop")
    for mac in dict.fromkeys(mac for vm in network.vms for mac in vm.macs):
        yield flow(UNICAST, 4, f"ipv6,{place},dl_dst={mac}", "drop")
    yield flow(UNICAST, 1, place, ",".join((*free, *beyond)) or "drop")
    yield flow(FLOOD, 1, place, ",".join((*vms, *server, *beyond)) or "drop")
    yield flow(FLOOD, 2, f"ipv6,{place}", ",".join((*free, *beyond)) or "drop")


def _owners(network: NetworkFacts, beyond: list[str]) -> dict[str, list[str]]:
    """Return the outputs that lead to each MAC that ports have or may have; `beyond` is last.

    A MAC that several may have (a virtual router's) is with any of them, here or elsewhere; a VM
    that moves while it runs is on one of two hosts, and which one is known only afterwards.
    """
    found = {vm.mac: [f"output:{vm.tap}"] for vm in network.vms}
    if network.dhcp_here:
        found[network.dhcp_mac] = [f"output:{network.dhcp_here}"]
    far = {remote.mac for remote in network.remotes if remote.mac in found}  # VMs on the move
    if any(not vm.is_enforced for vm in network.vms):  # else what is unknown goes beyond, too
        far.update(remote.mac for remote in network.remotes if remote.mac not in found)
    for vm in network.vms:
        for mac in vm.macs:
            if mac not in found:
                far.add(mac)
            if mac != vm.mac:
                found.setdefault(mac, []).append(f"output:{vm.tap}")
    return found | {mac: [*found.get(mac, ()), *beyond] for mac in far}


def _beyond(network: NetworkFacts) -> str:
    return f"mod_vlan_vid:{network.vlan},output:{PATCH}"
