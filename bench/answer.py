"""Time from a port's creation until its VM gets an answer.

The clock starts with the answer of the API: before it, no client has the port's MAC. The store, the
long poll, the agent and dnsmasq all lie between. From then on a DISCOVER goes out every few
milliseconds until the OFFER of the very address comes. Two VMs are measured: one on the wire, whose
host is another one, and one on the DHCP server's own host, whose tap the agent makes and guards.

The present ports have no leases at first. Then they get leases, and the measurement is repeated: at
each new reservation dnsmasq 2.90 compares all leases with all reservations, and answers no client
meanwhile (docs/reference/measurements.md).
"""

from __future__ import annotations

import errno
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import takewhile
from pathlib import Path
from statistics import mean
from typing import Any

from bench import cloud, fleet
from bench.cloud import FlatNetwork
from bench.figure import Figure, Limit, p50_p99
from bench.fleet import FAR, HOST, Fleet
from bench.http1 import Connection
from bench.wire import TapWire, Wire, until_acked, until_offered
from lessor.lab.services import AGENT
from lessor.lab.wait import wait_for

Plug = Callable[[dict[str, Any]], Wire]  # gives the wire that a port's client is on

AGAIN_S = 0.001
WITHIN_S = 10.0
LONG_S, QUICK_S = 60.0, 10.0  # for the ports of one kind
SETTLED_S = 60.0  # for thousands of ports made at once
MANY = 5000
DRIVERS = ("dnsmasq", "native")
SERVER = "10.64.0.1"  # the gateway of `cloud.flat`, which is the DHCP server
AT_MOST = Limit(100)  # ms, with 5,000 ports there


def measure(quick: bool) -> Iterator[Figure]:
    """Yield how long it takes, with few and with many ports on the network, by each program."""
    for driver in DRIVERS:
        for figure in _by(driver, quick=quick):
            yield replace(figure, what=f"{figure.what}, {driver}")


def _by(driver: str, *, quick: bool) -> Iterator[Figure]:
    with fleet.up(dhcp_driver=driver) as made:
        target = cloud.flat(made.api, FAR)
        made.start_agent()
        wire = made.wire()
        there: list[dict[str, Any]] = []
        for present in (100, MANY):
            there += cloud.fill(made.api, target, present - len(there))
            until_offered(wire, *_who(there[-1]), again_s=0.1, within_s=SETTLED_S)
            yield from _with(made, target, wire, present, quick=quick)
        live = _take_leases(wire, there, QUICK_S if quick else LONG_S)
        wait_for(lambda: made.row["counts"].get("leases", 0) >= live, SETTLED_S, "all are reported")
        yield from _with_leases(made, target, wire, live, quick=quick)
        wire.close()


def _take_leases(wire: Wire, ports: Iterable[dict[str, Any]], within_s: float) -> int:
    """Let clients of the ports take leases until the time is over; return the number of leases."""
    end = time.perf_counter() + within_s
    taken = 0
    for port in takewhile(lambda _: time.perf_counter() < end, ports):
        until_acked(wire, *_who(port), IPv4Address(SERVER), within_s=WITHIN_S)
        taken += 1
    return taken


def _with_leases(
    made: Fleet, target: FlatNetwork, wire: Wire, live: int, *, quick: bool
) -> Iterator[Figure]:
    bodies = (target.port(f"late{at}") for at in range(10 if quick else 60))
    yield from p50_p99(
        f"port create to DISCOVER answered, VM on the wire, {MANY:,} ports, {live:,} live leases",
        _all_answered(made.api, bodies, lambda _: wire, quick=quick),
    )


def _with(
    made: Fleet, target: FlatNetwork, wire: Wire, present: int, *, quick: bool
) -> Iterator[Figure]:
    expected = AT_MOST if present == MANY else None
    netns = made.host.netns
    bodies = (target.port(f"far{at}") for at in range(60 if quick else 400))
    yield from p50_p99(
        f"port create to DISCOVER answered, VM on the wire, {present:,} ports",
        _all_answered(made.api, bodies, lambda _: wire, quick=quick),
        expected_p99=expected,
    )
    here = FlatNetwork(target.network_id, HOST, tap="managed")
    own = (here.port(f"here{at}") for at in range(20 if quick else 100))
    log = made.host.log(AGENT)
    logged = log.stat().st_size
    yield from p50_p99(
        f"port create to DISCOVER answered, VM on the host, tap made, {present:,} ports",
        _all_answered(made.api, own, lambda port: _tap(netns, port), quick=quick),
        expected_p99=expected,
    )
    passes = _passes(log, logged)
    yield Figure(
        what=f"an agent's pass that makes a tap, mean, {present:,} ports",
        value=mean(passes),
        unit="ms",
        n=len(passes),
    )


def _passes(log: Path, offset: int) -> list[int]:
    """Return the milliseconds that each thing done was logged with since then."""
    with log.open("rb") as opened:
        opened.seek(offset)
        return [int(found) for found in re.findall(rb"took_ms=(\d+)", opened.read())]


def _all_answered(
    api: Connection, bodies: Iterable[dict[str, Any]], plugged: Plug, *, quick: bool
) -> list[float]:
    """Make ports one after the other, as long as there is time; return the seconds of each."""
    end = time.perf_counter() + (QUICK_S if quick else LONG_S)
    return [
        _answered(api, body, plugged)
        for body in takewhile(lambda _: time.perf_counter() < end, bodies)
    ]


def _answered(api: Connection, body: dict[str, Any], plugged: Plug) -> float:
    """Create a port; return the seconds until its client gets an answer."""
    port = api.ask("POST", "/v2.0/ports", body)["port"]
    started = time.perf_counter()
    wire = plugged(port)
    until_offered(wire, *_who(port), again_s=AGAIN_S, within_s=WITHIN_S)
    taken = time.perf_counter() - started
    if isinstance(wire, TapWire):
        wire.close()
    return taken


def _who(port: dict[str, Any]) -> tuple[str, IPv4Address]:
    return port["mac_address"], IPv4Address(port["fixed_ips"][0]["ip_address"])


def _tap(netns: Path, port: dict[str, Any]) -> TapWire:
    """Open a port's tap as soon as it is on its bridge, as a hypervisor does that waits for it.

    The agent lets go of it last; until then it is busy.
    """
    name = port["binding:vif_details"]["tap_name"]
    bridge_port = netns.parents[1] / "root" / "sys" / "class" / "net" / name / "brport"
    end = time.perf_counter() + WITHIN_S
    while time.perf_counter() < end:
        if bridge_port.exists():  # else to open it would make it
            try:
                return TapWire(netns, name)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
        time.sleep(AGAIN_S / 3)
    raise TimeoutError(f"tap {name} can't be opened after {WITHIN_S:g} s")
