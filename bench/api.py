"""The users' API: how fast ports are made, listed, shown and deleted, with few and with many there.

The client and the server share the machine, as a compute service and Lessor may. A create is
answered when it is on disk, so the disk's own time stands beside it.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from bench import cloud, server
from bench.figure import Figure, Limit, Peer, of_repeats, p50_p99
from bench.http1 import Connection, burst, request
from bench.processes import cpu_s
from bench.server import Server

NEUTRON_CREATES = Peer("Neutron, MariaDB", 9.4)  # a second, 8 clients, a machine like this one
NEUTRON_LIST = Peer("Neutron, MariaDB", 3100.0)  # ms, 1,000 ports
CREATES = Limit(400, least=True)
CLIENTS = 8
PAGE = 1000


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the figures of the API, and of the disk below it."""
    yield from disk()
    for present in [1000] if quick else [1000, 20000]:
        with server.running() as running:
            yield from _with(running, present, quick=quick)


def _with(running: Server, present: int, *, quick: bool) -> Iterator[Figure]:
    api = Connection(running.connect)
    cloud.add_host(api, "h1")
    ground = cloud.flat(api, "h1")
    started = time.perf_counter()
    ports = cloud.fill(api, ground, present)
    label = f"{present:,} ports present"
    rate = present / (time.perf_counter() - started)
    yield Figure(
        what=f"port create in bulks of {cloud.A_BULK}, up to {label}",
        value=rate,
        unit="ports/s",
        n=present,
    )
    events = 100 if quick else 400
    creates = cloud.create_requests(ground, events)
    yield from p50_p99(f"port create, one after the other, {label}", _timed(api, creates))
    yield from _eight(running, ground, 2 if quick else 5, 2 * events, label)
    listing = request("GET", f"/v2.0/ports?limit={PAGE}")
    taken = [one * 1000 for one in _timed(api, [listing] * (5 if quick else 15))]
    yield of_repeats(
        f"port list, {PAGE:,} of them, {label}", taken, "ms", len(taken), peer=NEUTRON_LIST
    )
    shows = [request("GET", f"/v2.0/ports/{port['id']}") for port in ports[:events]]
    yield from p50_p99(f"port show, {label}", _timed(api, shows))


def _timed(api: Connection, asked: list[bytes]) -> list[float]:
    """Return how long each of these took, one after the other, in seconds."""
    taken = []
    for one in asked:
        started = time.perf_counter()
        api.call(one)
        taken.append(time.perf_counter() - started)
    return taken


def _eight(
    running: Server, ground: cloud.Ground, repeats: int, each: int, label: str
) -> Iterator[Figure]:
    """Make ports and delete them, several times, eight clients at once."""
    made, deleted, spent = [], [], []
    for _ in range(repeats):
        before = cpu_s(running.pid)
        creates = burst(running.connect, CLIENTS, cloud.create_requests(ground, each))
        spent.append((cpu_s(running.pid) - before) / each * 1000)
        ids = [msgspec.json.decode(body)["port"]["id"] for body in creates.bodies]
        deletes = [request("DELETE", f"/v2.0/ports/{one}") for one in ids]
        made.append(creates.rate)
        deleted.append(burst(running.connect, CLIENTS, deletes).rate)
    n = repeats * each
    what = f"port create, {CLIENTS} clients, {label}"
    yield of_repeats(what, made, "creates/s", n, peer=NEUTRON_CREATES, expected=CREATES)
    yield of_repeats("  processor time of the server for one of these", spent, "ms", n)
    yield of_repeats(f"port delete, {CLIENTS} clients, {label}", deleted, "deletes/s", n)


def disk() -> Iterator[Figure]:
    """Yield how long this disk takes to keep 4 KiB: no answered write can be faster."""
    with tempfile.NamedTemporaryFile(prefix="lessor-bench-", dir=tempfile.gettempdir()) as file:
        taken = [_kept(file.fileno()) for _ in range(200)]
    yield from p50_p99(f"fdatasync of 4 KiB in {Path(tempfile.gettempdir())}", taken)


def _kept(fd: int, clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    os.write(fd, bytes(4096))
    os.fdatasync(fd)
    return clock() - started
