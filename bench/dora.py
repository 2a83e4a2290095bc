"""DISCOVER to ACK on the wire, from our DHCP server and from a bare dnsmasq, in turns.

The bare one has the same program, arguments and files but no script, on a host with a bridge and no
firewall rules; its wire is built like ours. What is left of a difference is our rules on the way
and the machine's work with our lease events.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address
from typing import Any

from bench import cloud, fleet
from bench.figure import Figure, Peer, quantile
from bench.fleet import BRIDGE, FAR, Fleet, client_on, ip_batch
from bench.wire import DeviceWire, Wire, dora, until_offered
from lessor.lab.wait import wait_for

CIDR = "10.64.0.0/16"
SERVER = IPv4Address("10.64.0.1")
FOLDER = "networks"  # in a host's state folder
START_S = 20
PAUSE_S = 0.01

Who = tuple[str, IPv4Address]  # a client's MAC, and the address it is to get


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the median and the 99th percentile of both, each MAC asking once a round."""
    with fleet.up() as made:
        target = cloud.flat(made.api, FAR, CIDR)
        ports = cloud.fill(made.api, target, 100 if quick else 500)
        made.start_agent()
        ours = made.wire()
        who = [_who(port) for port in ports]
        for one in who:
            until_offered(ours, *one, again_s=0.1, within_s=START_S)
        bare = _bare(made)
        until_offered(bare, *who[0], again_s=0.1, within_s=START_S)
        taken = _in_turns(ours, bare, who * (1 if quick else 3))
        yield from _figures(*taken, reservations=len(ports))
        ours.close()
        bare.close()


def _in_turns(ours: Wire, bare: Wire, who: Iterable[Who]) -> tuple[list[float], list[float]]:
    """Let each MAC ask both, in changing order; return the milliseconds that each server took.

    A pause between two exchanges lets the event of the first finish, so that it is not measured.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    both = [(ours, taken[0]), (bare, taken[1])]
    for mac, address in who:
        for wire, times in both:
            times.append(dora(wire, mac, address, SERVER) * 1000)
            time.sleep(PAUSE_S)
        both.reverse()
    return taken


def _figures(ours: list[float], bare: list[float], *, reservations: int) -> Iterator[Figure]:
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield Figure(
            what=f"DISCOVER to ACK, {reservations:,} reservations, {name}",
            value=quantile(ours, share),
            unit="ms",
            n=len(ours),
            peer=Peer("bare dnsmasq", quantile(bare, share)),
        )


def _bare(made: Fleet) -> DeviceWire:
    """Start the bare dnsmasq on a host and a wire of its own; return its client's place."""
    node = made.bare_host()
    ip_batch(
        made.fabric,
        "link add plain type bridge forward_delay 0 mcast_snooping 0",
        "link set plain up",
        f"link add plain-host type veth peer name eth1 netns {node.init.pid}",
        "link set plain-host master plain up",
    )
    ip_batch(
        node,
        f"link add {BRIDGE} type bridge forward_delay 0",
        f"link set eth1 master {BRIDGE} up",
        f"link set {BRIDGE} up",
        f"addr add {SERVER}/16 dev {BRIDGE}",
    )
    shutil.copytree(made.host.state_dir / FOLDER, node.state_dir / FOLDER)
    node.exec("/usr/sbin/ethtool", "-K", BRIDGE, "tx", "off")  # as ours: checksums are whole
    node.exec(*_arguments(made))
    wait_for(lambda: node.find("dnsmasq"), START_S, "the bare dnsmasq runs")
    return client_on(made.fabric, "plain")


def _arguments(made: Fleet) -> list[str]:
    """Return the arguments of our dnsmasq without its script."""
    host = made.host
    first: Any = host.find("dnsmasq")[0]
    words = (host.proc / str(first.pid) / "cmdline").read_text().split("\0")[:-1]
    return [word for word in words if not word.startswith("--dhcp-script=")]


def _who(port: dict[str, Any]) -> Who:
    return port["mac_address"], IPv4Address(port["fixed_ips"][0]["ip_address"])
