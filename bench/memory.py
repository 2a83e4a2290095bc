"""How much memory the processes take, with nothing to do and with many ports.

Resident is what ps shows; proportional counts pages that several processes share in parts. The
server was filled through its API, so what the filling needed is in its figures.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

from bench import cloud, fleet, server
from bench.figure import Figure
from bench.fleet import FAR
from bench.http1 import Connection
from bench.processes import PROC, memory_mib
from bench.wire import until_offered
from lessor.lab.wait import wait_for

SETTLED_S = 60


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the server's memory, then the agent's."""
    with server.running() as running:
        api = Connection(running.connect)
        cloud.add_host(api, "h1")
        yield from _figures("server, idle", running.pid)
        target, there = cloud.flat(api, "h1"), 0
        for present in (1000,) if quick else (1000, 20000):
            cloud.fill(api, target, present - there)
            there = present
            yield from _figures(f"server, {present:,} ports", running.pid)
    with fleet.up() as made:
        made.start_agent()
        wait_for(lambda: made.row["in_sync"], SETTLED_S, "the agent is in sync")
        proc, agent = made.agent
        yield from _figures("agent, idle", agent.pid, proc)
        last = cloud.fill(made.api, cloud.flat(made.api, FAR), 1000)[-1]
        wire, address = made.wire(), IPv4Address(last["fixed_ips"][0]["ip_address"])
        until_offered(wire, last["mac_address"], address, again_s=0.1, within_s=SETTLED_S)
        wire.close()
        yield from _figures("agent, 1,000 ports served", agent.pid, proc)
        served = made.host.find("dnsmasq")
        yield from _figures("its dnsmasq, 1,000 reservations", min(p.pid for p in served), proc)


def _figures(what: str, pid: int, proc: Path = PROC) -> Iterator[Figure]:
    for kind, size in zip(("resident", "proportional"), memory_mib(pid, proc), strict=True):
        yield Figure(what=f"memory of {what}, {kind}", value=size, unit="MiB", n=1)
