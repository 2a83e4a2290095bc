"""D3 check 15: 200 networks of 5 ports on one DHCP host.

The ports are of VMs on another host, one of each network with a tap, whose client is ours: what it
asks goes through br-int, br-tun and the tunnel. The DHCP host starts with nothing, cold, until all
200 clients have an offer of their address. Then its agent is ended and started again, while one of
the clients renews all the time: its DHCP servers are to be the same processes, and every renewal
answered.
"""

from __future__ import annotations

import random
import select
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from bench import dhcp, overlay_fleet
from bench.figure import Figure, Limit, Peer, of_repeats
from bench.overlay_fleet import DHCP_HOST, OverlayFleet, dnsmasqs, port, tap_of, until, who
from bench.processes import memory_mib
from bench.wire import Silence, TapWire, Wire, dora
from lessor.lab.ovs import DAEMONS
from lessor.lab.wait import wait_for

NETWORKS, QUICK_NETWORKS, PORTS = 200, 50, 5
CIDR = "10.0.0.0/24"  # of all of them
CLIENTS_HOST = "cmp1"
FAR = "far"  # a host without an agent: its ports are rows only
AGAIN_S = 0.25
WITHIN_S = 300
COLD, RESTART = Limit(15), Limit(5)
NEUTRON_COLD = Peer("Neutron, 200 networks", 254.0)
NEUTRON_RESTART = Peer("Neutron, 50 networks", 33.0)


@dataclass
class Client:
    """A VM's DHCP client."""

    wire: Wire
    mac: str
    address: IPv4Address
    xid: int = field(default_factory=lambda: random.getrandbits(32))


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the cold start, the restarts, and the memory that a network takes."""
    many = QUICK_NETWORKS if quick else NETWORKS
    label = f"{many} networks of {PORTS} ports"
    with overlay_fleet.up(overlay_fleet.compute_hosts(1)) as fleet:
        fleet.api.ask("POST", "/v2.0/hosts", {"host": {"name": FAR}})
        idle = _memory(fleet)
        fleet.stop_agent(DHCP_HOST)
        clients = _clients(fleet, _ports(fleet, many))
        started = time.perf_counter()
        run = fleet.launch(DHCP_HOST)
        cold = all_offered(clients, started)
        yield Figure(
            what=f"D3 15: cold start of a DHCP host's agent until all answer, {label}",
            value=cold,
            unit="s",
            n=many,
            peer=None if quick else NEUTRON_COLD,
            expected=COLD,
        )
        until(lambda: fleet.is_done(DHCP_HOST, run), WITHIN_S, "the DHCP host is in sync")
        yield from _restarts(fleet, clients, label, 1 if quick else 3)
        yield from _of_a_network(idle, _memory(fleet), many)
        for client in clients:
            client.wire.close()


def _ports(fleet: OverlayFleet, many: int) -> list[dict[str, Any]]:
    """Make all networks and ports; return the ports that have a tap."""
    taps = []
    for at in range(many):
        network_id = fleet.network(f"n{at}", CIDR)
        bodies = [port(network_id, CLIENTS_HOST, f"n{at}-0", tap=True)]
        bodies += [port(network_id, FAR, f"n{at}-{more}") for more in range(1, PORTS)]
        taps.append(fleet.ports(*bodies)[0])
    return taps


def _clients(fleet: OverlayFleet, ports: Sequence[dict[str, Any]]) -> list[Client]:
    """Open all taps, as hypervisors do, once they are in br-int."""
    host = fleet.lab.node(CLIENTS_HOST)
    wanted = {tap_of(one) for one in ports}
    wait_for(
        lambda: wanted <= set(host.exec("ovs-vsctl", "list-ports", "br-int").split()),
        WITHIN_S,
        "all taps are in br-int",
    )
    return [Client(TapWire(host.netns, tap_of(one)), *who(one)) for one in ports]


def all_offered(clients: Sequence[Client], started: float) -> float:
    """Ask until every client has an offer of its address; return the seconds since `started`."""
    left = {client.wire.fileno(): client for client in clients}
    ask_at = 0.0
    while left:
        now = time.perf_counter()
        if now > started + WITHIN_S:
            raise Silence(f"{len(left)} clients have no offer after {WITHIN_S} s")
        if now >= ask_at:
            for client in left.values():
                client.wire.send(dhcp.discover(client.mac, client.xid))
            ask_at = now + AGAIN_S
        for fd in select.select(left, [], [], max(0.0, ask_at - time.perf_counter()))[0]:
            client = left[fd]
            offer = dhcp.Answer(dhcp.OFFER, client.xid, client.address)
            if dhcp.answer(client.wire.receive()) == offer:
                del left[fd]
    return time.perf_counter() - started


# --- again


def _restarts(
    fleet: OverlayFleet, clients: Sequence[Client], label: str, repeats: int
) -> Iterator[Figure]:
    server = _server(fleet, clients[0])
    node = fleet.lab.node(DHCP_HOST)
    taken, renewals = [], Renewals(clients[0], server)
    with renewals:
        for _ in range(repeats):
            served_by = dnsmasqs(node)
            fleet.stop_agent(DHCP_HOST)
            started = time.perf_counter()
            run = fleet.launch(DHCP_HOST)
            until(lambda run=run: fleet.is_done(DHCP_HOST, run), WITHIN_S, "in sync again")
            taken.append(time.perf_counter() - started)
            if dnsmasqs(node) != served_by:
                raise RuntimeError("the restart of the agent was noticed by its DHCP servers")
    yield of_repeats(
        f"D3 15: restart of a DHCP host's agent until in sync, {label}",
        taken,
        "s",
        repeats,
        peer=NEUTRON_RESTART,
        expected=RESTART,
    )
    yield Figure(
        what="  exchanges of a client meanwhile that were not answered within 1 s",
        value=renewals.lost,
        unit="",
        n=renewals.done,
        expected=Limit(0),
    )


def _server(fleet: OverlayFleet, client: Client) -> IPv4Address:
    """Return the address of a client's DHCP server."""
    (mine,) = fleet.api.ask("GET", f"/v2.0/ports?mac_address={client.mac}")["ports"]
    query = f"network_id={mine['network_id']}&device_owner=network:dhcp"
    (served_by,) = fleet.api.ask("GET", f"/v2.0/ports?{query}")["ports"]
    return who(served_by)[1]


class Renewals:
    """A client that asks and takes all the time, in a thread of its own."""

    def __init__(self, client: Client, server: IPv4Address) -> None:
        self._client, self._server = client, server
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.done = self.lost = 0

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        client = self._client
        while not self._end.wait(0.1):
            try:
                dora(client.wire, client.mac, client.address, self._server)
            except Silence:
                self.lost += 1
            self.done += 1


# --- memory


def _memory(fleet: OverlayFleet) -> dict[str, float]:
    """Return the proportional memory of the DHCP host's programs, in MiB."""
    node = fleet.lab.node(DHCP_HOST)
    proc, agent = fleet.agent(DHCP_HOST)
    pids = {name: [one.pid for one in node.find(name)] for name in ("dnsmasq", *DAEMONS)}
    pids["agent"] = [agent.pid]
    return {name: sum(memory_mib(pid, proc)[1] for pid in many) for name, many in pids.items()}


def _of_a_network(idle: dict[str, float], now: dict[str, float], many: int) -> Iterator[Figure]:
    """Yield what one network more takes of the DHCP host's memory, by program."""
    for name, taken in now.items():
        yield Figure(
            what=f"memory of one network on its DHCP host: {name}, proportional",
            value=(taken - idle[name]) / many * 1024,
            unit="KiB",
            n=many,
        )
