"""From the start of an agent's process to "in sync", with 500 ports, cold and again.

In sync is what the server says of the host: its agent of this run has the view, has brought the
host to it, and has reported. Cold, the host has nothing yet: the bridge, rules, DHCP server and all
files are made. Then the agent is ended and started again; its DHCP server goes on all the while.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from bench import cloud, fleet
from bench.cloud import FlatNetwork
from bench.figure import Figure, of_repeats
from bench.fleet import FAR, HOST, Fleet
from bench.http1 import Connection
from lessor.lab.wait import wait_for

PORTS = 500
TAPS = 100  # of those on the host itself, in the second measurement
WITHIN_S = 120
POLL_S = 0.01


def measure(quick: bool) -> Iterator[Figure]:
    """Yield both, for a DHCP host without VMs and for one with some."""
    for taps in (0, TAPS):
        cold, again = [], []
        for _ in range(1 if quick else 3):
            with fleet.up() as made:
                _fill(made.api, taps)
                cold.append(_started(made))
                again += [_restarted(made) for _ in range(1 if quick else 3)]
        label = f"{PORTS} ports, {taps} of them here"
        yield of_repeats(f"agent start to in sync, cold, {label}", cold, "s", len(cold))
        yield of_repeats(f"agent start to in sync, again, {label}", again, "s", len(again))


def _fill(api: Connection, taps: int) -> None:
    target = cloud.flat(api, FAR)
    cloud.fill(api, target, PORTS - taps)
    if taps:
        cloud.fill(api, FlatNetwork(target.network_id, HOST, tap="managed"), taps)


def _started(made: Fleet) -> float:
    """Start the agent; return the seconds until the server says that all is done there."""
    before = made.row["started_at"]
    started = time.perf_counter()
    made.start_agent()
    while not _is_done(made, before):
        if time.perf_counter() > started + WITHIN_S:
            raise TimeoutError(f"agent not in sync after {WITHIN_S} s: {made.row}")
        time.sleep(POLL_S)
    return time.perf_counter() - started


def _is_done(made: Fleet, before: str | None) -> bool:
    """Return whether a later run is in sync and no port of the host is pending."""
    row = made.row
    if row["started_at"] == before or not row["in_sync"]:
        return False
    waiting = f"/v2.0/ports?binding:host_id={HOST}&status=DOWN&limit=1"
    return not made.api.ask("GET", waiting)["ports"]


def _restarted(made: Fleet) -> float:
    """End the agent and start it again; make sure that its DHCP server did not notice."""
    before = made.host.find("dnsmasq")
    made.stop_agent()
    shown = made.row["started_at"]  # in whole seconds, so the next run has to begin in another one
    wait_for(lambda: _second() > shown, WITHIN_S, "the next second begins")
    taken = _started(made)
    after = made.host.find("dnsmasq")
    if not before or before != after:
        raise RuntimeError(f"dnsmasq was {before} before the agent's restart and is {after}")
    return taken


def _second() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
