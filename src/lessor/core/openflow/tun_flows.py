"""The flows of br-tun: between local VLANs and tunnels (semantics.md B16, B17).

| table | what arrives | where it goes |
|---|---|---|
| 0 | everything | from br-int to 2, from a tunnel to 4, else dropped |
| 2 | from br-int | DHCP client broadcasts to 24, ARP to 21, unicast to 20, other broadcasts to 22 |
| 4 | from a tunnel | its VNI becomes the local VLAN, then 10; unknown VNIs are dropped |
| 10 | from a tunnel | the sender is learned into 20, then br-int |
| 20 | unicast | to the tunnel of the MAC's host; unknown ones to 22 |
| 21 | ARP requests | answered here for known addresses; others to 22 |
| 22 | broadcasts | to the tunnels of all hosts with a port of the network |
| 24 | DHCP broadcasts | to the tunnels of the hosts that serve DHCP for the network, and no other |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lessor.core.openflow.facts import NetworkFacts, RemotePort
from lessor.core.openflow.flow_text import flow, to

CLASSIFY, FROM_INT, FROM_TUN, LEARN = 0, 2, 4, 10
UNICAST, ARP, FLOOD, DHCP = 20, 21, 22, 24
TABLES = (CLASSIFY, FROM_INT, FROM_TUN, LEARN, UNICAST, ARP, FLOOD, DHCP)
LEARN_COOKIE = 0x4C0B  # of what OVS itself learned: not ours to compare
LEARNED_S = 300
PATCH = "patch-int"

_BROADCAST = "dl_dst=ff:ff:ff:ff:ff:ff"
_GROUP = "01:00:00:00:00:00"


def tun_flows(networks: Iterable[NetworkFacts]) -> tuple[str, ...]:
    """Return all flows of br-tun, sorted. Ports are given by name."""
    known = tuple(networks)
    tunnels = sorted({tunnel for network in known for tunnel in network.tunnels})
    lines = [*_fixed(), *(flow(CLASSIFY, 1, f"in_port={t}", to(FROM_TUN)) for t in tunnels)]
    for network in known:
        lines += _of_network(network)
    return tuple(sorted(lines))


def _fixed() -> Iterator[str]:
    yield flow(CLASSIFY, 1, f"in_port={PATCH}", to(FROM_INT))
    yield flow(CLASSIFY, 0, "", "drop")
    yield flow(FROM_INT, 10, f"udp,{_BROADCAST},tp_dst=67", to(DHCP))
    yield flow(FROM_INT, 1, f"arp,{_BROADCAST}", to(ARP))
    yield flow(FROM_INT, 0, f"dl_dst=00:00:00:00:00:00/{_GROUP}", to(UNICAST))
    yield flow(FROM_INT, 0, f"dl_dst={_GROUP}/{_GROUP}", to(FLOOD))
    yield flow(FROM_TUN, 0, "", "drop")
    yield flow(LEARN, 1, "", f"{_learn()},output:{PATCH}")
    yield flow(UNICAST, 0, "", to(FLOOD))
    yield flow(ARP, 0, "", to(FLOOD))
    yield flow(FLOOD, 0, "", "drop")
    yield flow(DHCP, 0, "", "drop")


def _of_network(network: NetworkFacts) -> Iterator[str]:
    vlan = f"dl_vlan={network.vlan}"
    inward = f"mod_vlan_vid:{network.vlan},{to(LEARN)}"
    yield flow(FROM_TUN, 1, f"tun_id={network.vni:#x}", inward)
    if network.tunnels:
        yield flow(FLOOD, 1, vlan, _send(network, network.tunnels))
    if network.dhcp_tunnels:
        yield flow(DHCP, 1, vlan, _send(network, network.dhcp_tunnels))
    for remote in network.remotes:
        yield flow(UNICAST, 2, f"{vlan},dl_dst={remote.mac}", _send(network, remote.tunnels))
        yield from _answers(vlan, remote)


def _answers(vlan: str, remote: RemotePort) -> Iterator[str]:
    """ARP for a remote port is answered on the asker's own host."""
    mac = remote.mac.replace(":", "")
    for address in remote.addresses:
        yield flow(
            ARP,
            1,
            f"arp,{vlan},arp_op=1,arp_tpa={address}",
            ",".join(
                (
                    "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
                    f"mod_dl_src:{remote.mac}",
                    "load:0x2->NXM_OF_ARP_OP[]",
                    "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
                    "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]",
                    f"load:0x{mac}->NXM_NX_ARP_SHA[]",
                    f"load:{int(address):#x}->NXM_OF_ARP_SPA[]",
                    "in_port",
                )
            ),
        )


def _learn() -> str:
    """Learn that frames to a tunnel's sender go back through it, until a better flow is known."""
    fields = (
        f"table={UNICAST}",
        f"hard_timeout={LEARNED_S}",
        "priority=1",
        f"cookie={LEARN_COOKIE:#x}",
        "NXM_OF_VLAN_TCI[0..11]",
        "NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[]",
        "load:0->NXM_OF_VLAN_TCI[]",
        "load:NXM_NX_TUN_ID[]->NXM_NX_TUN_ID[]",
        "output:NXM_OF_IN_PORT[]",
    )
    return f"learn({','.join(fields)})"


def _send(network: NetworkFacts, tunnels: Iterable[str]) -> str:
    outputs = ",".join(f"output:{tunnel}" for tunnel in tunnels)
    return f"strip_vlan,set_tunnel:{network.vni:#x},{outputs}"
