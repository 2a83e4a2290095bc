"""How many copies of a VM's broadcasts cross the underlay, by the number of hosts of its network.

A DISCOVER goes to the host that serves DHCP, and to no other. Any other broadcast goes once to each
other host that has a port of the network: VXLAN here has no multicast.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterator

from bench import dhcp, overlay_fleet
from bench.figure import Figure, Limit
from bench.overlay_fleet import SETTLED_S, OverlayFleet, port, tap_of, who
from bench.wire import TapWire, until_offered
from lessor.lab.capture import VXLAN_PORT
from lessor.lab.netns import in_netns

COUNTS, QUICK_COUNTS = (3, 8, 16), (3,)
CIDR = "10.0.0.0/24"
ETH_P_ALL = 3
OUTER = 14 + 20 + 8 + 8  # bytes before a VM's frame in its tunnel; RFC 7348
LISTEN_S = 0.5
LONGEST_FRAME = 2048


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the copies of both; the DHCP host counts as one of the hosts."""
    counts = QUICK_COUNTS if quick else COUNTS
    hosts = overlay_fleet.compute_hosts(counts[-1] - 1)
    with overlay_fleet.up(hosts) as fleet:
        network_id = fleet.network("bench", CIDR)
        there = 0
        vm = None
        for count in counts:
            names = [spec.name for spec in hosts[1:count]]
            made = fleet.ports(*(port(network_id, n, n, tap=True) for n in names[there:]))
            there, vm = len(names), vm or made[0]
            fleet.settle(f"ports on {count} hosts are ready", SETTLED_S)
            wire = TapWire(fleet.lab.node(names[0]).netns, tap_of(vm))
            until_offered(wire, *who(vm), again_s=0.1, within_s=SETTLED_S)
            mac, address = who(vm)
            asked = arp(mac, address.packed, address.packed[:3] + b"\xfe")
            for what, frame, expected in (
                ("a DISCOVER", dhcp.discover(mac, 7), 1),
                ("an ARP request for nobody", asked, count - 1),
            ):
                yield Figure(
                    what=f"copies of {what} on the underlay, network on {count} hosts",
                    value=_copies(fleet, names[0], wire, frame),
                    unit="",
                    n=1,
                    expected=Limit(expected),
                )
            wire.close()


def _copies(fleet: OverlayFleet, host: str, wire: TapWire, frame: bytes) -> int:
    """Send a frame; return how many copies of it leave the host in tunnels."""
    netns = fleet.lab.node(host).netns
    with in_netns(netns, _listener) as outside:
        wire.send(frame)
        copies, end = 0, time.perf_counter() + LISTEN_S
        while (left := end - time.perf_counter()) > 0 and select.select([outside], [], [], left)[0]:
            seen, address = outside.recvfrom(LONGEST_FRAME)
            sent = address[2] == socket.PACKET_OUTGOING
            if sent and _is_vxlan(seen) and seen[OUTER:].startswith(frame):
                copies += 1
    return copies


def _listener() -> socket.socket:
    listener = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    listener.bind(("eth2", ETH_P_ALL))
    return listener


def _is_vxlan(frame: bytes) -> bool:
    return len(frame) > OUTER and struct.unpack_from("!H", frame, 14 + 20 + 2)[0] == VXLAN_PORT


def arp(mac: str, sender: bytes, target: bytes) -> bytes:
    """Return a request frame (RFC 826)."""
    source = bytes.fromhex(mac.replace(":", ""))
    head = dhcp.EVERYBODY + source + b"\x08\x06"
    return head + struct.pack(
        "!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, source, sender, bytes(6), target
    )
