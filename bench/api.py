"""The API: how fast ports are made, listed, shown and deleted, with few and with many there.

The client and the server share the machine, as a compute service and Lessor may. A create is
answered when it is on disk, so the disk's own time stands beside it. Then, agents that wait
(`bench.polls`). Neutron's figures are of one measurement, on a machine of this kind.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import msgspec

from bench import cloud, polls, server
from bench.databases import DATABASES
from bench.figure import Figure, Limit, Peer, of_repeats, p50_p99
from bench.http1 import Connection, burst, request
from bench.processes import cpu_s, mapped_mib, memory_mib
from bench.server import Server
from lessor.store.engine.database import FILE

NEUTRON = "Neutron, MariaDB"
NEUTRON_CREATE = Peer(NEUTRON, 240)  # ms, p50, one after the other
NEUTRON_CREATES = Peer(NEUTRON, 9.4)  # a second, 8 clients
NEUTRON_SHOWS = Peer(NEUTRON, 147)  # a second, 8 clients
NEUTRON_LIST = Peer(NEUTRON, 3100)  # ms, 1,000 ports
NEUTRON_BULK = Peer(NEUTRON, 23_000)  # ms, 100 ports
NEUTRON_MEMORY = Peer(NEUTRON, 1083)  # MiB, proportional, of all its processes
CREATE, BULK, LIST = Limit(3), Limit(60), Limit(15)  # ms
CREATES = {"SQLite": Limit(400, least=True), "PostgreSQL": Limit(250, least=True)}
MEMORY = Limit(114)  # MiB: 120 MB
COST = "  processor time of the server for one of these"
CLIENTS = 8
PAGE = 1000
A_BULK = 100
CROWD = 100_000  # ports
FILTER = Limit(10)  # ms
CROWD_MEMORY = Limit(124)  # MiB: 130 MB


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the figures of the API, and of the disk below it."""
    yield from disk()
    for present in [1000] if quick else [1000, 20000]:
        for database, opened in DATABASES.items():
            if quick or database == "SQLite" or present > PAGE:
                with opened() as connection, server.running(connection) as running:
                    yield from _with(running, database, present, quick=quick)
    if not quick:
        for database, opened in DATABASES.items():
            with opened() as connection, server.running(connection) as running:
                yield from _crowded(running, database)
    with server.running() as running:
        yield from polls.measure(running, quick=quick)


def _with(running: Server, database: str, present: int, *, quick: bool) -> Iterator[Figure]:
    api = Connection(running.connect)
    cloud.add_host(api, "h1")
    target = cloud.flat(api, "h1")
    ports = cloud.fill(api, target, present)
    label = f"{database}, {present:,} ports present"
    events = 100 if quick else 400
    creates = cloud.create_requests(target, events)
    yield from p50_p99(
        f"port create, one after the other, {label}",
        _timed(api, creates),
        expected_p50=CREATE,
        peer_p50=NEUTRON_CREATE,
    )
    least = CREATES[database]
    yield from _eight(running, target, 2 if quick else 5, 2 * events, label, least=least)
    api.close()
    api = Connection(running.connect)  # the server has hung up on the first one by now, maybe
    repeats = 5 if quick else 15
    yield from _bulks(running.pid, api, target, repeats, label)
    yield from _lists(running.pid, api, target, repeats, label)
    yield from _eight_shows(running, ports, 2 if quick else 5, 5 * events, label)
    shows = [request("GET", f"/v2.0/ports/{port['id']}") for port in ports[:events]]
    yield from p50_p99(f"port show, {label}", _timed(api, shows))
    _, proportional = memory_mib(running.pid)
    pages = mapped_mib(running.pid, FILE)
    what = f"memory of the server after all that, {label}"
    size = proportional - pages
    yield Figure(what=what, value=size, unit="MiB", n=1, peer=NEUTRON_MEMORY, expected=MEMORY)
    if pages:
        yield Figure(what="  pages of the database's file besides", value=pages, unit="MiB", n=1)


def _eight_shows(
    running: Server, ports: Sequence[Mapping[str, Any]], repeats: int, each: int, label: str
) -> Iterator[Figure]:
    """Show ports, eight clients at once."""
    asked = [request("GET", f"/v2.0/ports/{port['id']}") for port in islice(cycle(ports), each)]
    rates, spent = [], []
    for _ in range(repeats):
        before = cpu_s(running.pid)
        rates.append(burst(running.connect, CLIENTS, asked).rate)
        spent.append((cpu_s(running.pid) - before) / each * 1000)
    what = f"port show, {CLIENTS} clients, {label}"
    yield of_repeats(what, rates, "shows/s", repeats * each, peer=NEUTRON_SHOWS)
    yield of_repeats(COST, spent, "ms", repeats * each)


def _crowded(running: Server, database: str) -> Iterator[Figure]:
    """Yield what lists by filters take, and the memory of the server, with very many ports."""
    api = Connection(running.connect)
    cloud.add_host(api, "h1")
    target = cloud.flat(api, "h1", "10.64.0.0/15")
    ports = cloud.fill(api, target, CROWD, keep=CLIENTS)
    label = f"{database}, {CROWD:,} ports present"
    resident, _ = memory_mib(running.pid)
    yield Figure(
        what=f"resident memory of the server, {label}",
        value=resident,
        unit="MiB",
        n=1,
        expected=CROWD_MEMORY if database == "SQLite" else None,
    )
    pages = mapped_mib(running.pid, FILE)
    if pages:
        yield Figure(what="  pages of the database's file therein", value=pages, unit="MiB", n=1)
    one = ports[-1]
    for port in ports:
        api.ask("PUT", f"/v2.0/ports/{port['id']}/tags", {"tags": ["blue"]})
    filters = {
        "name": f"name={one['name']}",
        "device": f"device_id={one['device_id']}",
        "MAC": f"mac_address={one['mac_address']}",
        "address": f"fixed_ips=ip_address%3D{one['fixed_ips'][0]['ip_address']}",
        "a part of an address": "fixed_ips=ip_address_substr%3D64.9.99",
        "tag": "tags=blue",
    }
    for what, query in filters.items():
        taken = [took * 1000 for took in _timed(api, [request("GET", f"/v2.0/ports?{query}")] * 15)]
        yield of_repeats(f"port list by {what}, {label}", taken, "ms", len(taken), expected=FILTER)
    shows = [request("GET", f"/v2.0/ports/{port['id']}") for port in ports] * 10
    yield from p50_p99(f"port show, {label}", _timed(api, shows))
    yield from p50_p99(
        f"port create, one after the other, {label}",
        _timed(api, cloud.create_requests(target, 100)),
    )
    first = [request("GET", "/v2.0/ports?limit=100")] * 15
    taken = [took * 1000 for took in _timed(api, first)]
    yield of_repeats(f"port list, a page of 100, {label}", taken, "ms", len(taken))


def _bulks(
    pid: int, api: Connection, target: cloud.FlatNetwork, repeats: int, label: str
) -> Iterator[Figure]:
    """Make a hundred ports in a request, several times."""
    asked = [
        request(
            "POST",
            "/v2.0/ports",
            {"ports": [target.fields(f"b{turn}-{at}") for at in range(A_BULK)]},
        )
        for turn in range(repeats)
    ]
    what = f"port create, {A_BULK} in a request, {label}"
    yield from _costing(pid, api, what, asked, peer=NEUTRON_BULK, expected=BULK)


def _costing(
    pid: int, api: Connection, what: str, asked: list[bytes], *, peer: Peer, expected: Limit
) -> Iterator[Figure]:
    """Yield how long these take, one after the other, and what each costs the server."""
    before = cpu_s(pid)
    taken = [one * 1000 for one in _timed(api, asked)]
    spent = (cpu_s(pid) - before) / len(asked) * 1000
    yield of_repeats(what, taken, "ms", len(asked), peer=peer, expected=expected)
    yield Figure(what=COST, value=spent, unit="ms", n=len(asked))


def _lists(
    pid: int, api: Connection, target: cloud.FlatNetwork, repeats: int, label: str
) -> Iterator[Figure]:
    """List a thousand ports as clients do: all at once, some attributes, pages, a filter."""
    whole = [request("GET", f"/v2.0/ports?limit={PAGE}")] * repeats
    what = f"port list, {PAGE:,} of them, {label}"
    yield from _costing(pid, api, what, whole, peer=NEUTRON_LIST, expected=LIST)
    only = "&".join(f"fields={name}" for name in ("id", "mac_address", "fixed_ips"))
    lists = {
        f"port list, {PAGE:,} of them, 3 attributes": f"limit={PAGE}&{only}",
        f"port list, {PAGE:,} of them sorted by name": f"limit={PAGE}&sort_key=name",
        "port list of one device": "device_id=vm-old7",
        "port list of one address": "fixed_ips=ip_address%3D10.64.0.9",
        "port list by a part of an address": "fixed_ips=ip_address_substr%3D.0.99",
    }
    for what, query in lists.items():
        asked = [request("GET", f"/v2.0/ports?{query}")] * repeats
        taken = [one * 1000 for one in _timed(api, asked)]
        yield of_repeats(f"{what}, {label}", taken, "ms", repeats)
    taken = [
        _in_pages(api, f"/v2.0/ports?network_id={target.network_id}&limit=100")
        for _ in range(repeats)
    ]
    yield of_repeats(f"port list, {PAGE:,} of them in pages of 100, {label}", taken, "ms", repeats)


def _in_pages(api: Connection, path: str) -> float:
    """Return how long a thousand rows take, page by page, in milliseconds."""
    started = time.perf_counter()
    rows, marker = 0, ""
    while rows < PAGE:
        page = msgspec.json.decode(api.call(request("GET", path + marker)))["ports"]
        rows += len(page)
        marker = f"&marker={page[-1]['id']}"
    return (time.perf_counter() - started) * 1000


def _timed(api: Connection, asked: list[bytes]) -> list[float]:
    """Return how long each of these took, one after the other, in seconds."""
    taken = []
    for one in asked:
        started = time.perf_counter()
        api.call(one)
        taken.append(time.perf_counter() - started)
    return taken


def _eight(
    running: Server, target: cloud.FlatNetwork, repeats: int, each: int, label: str, *, least: Limit
) -> Iterator[Figure]:
    """Make ports and delete them, several times, eight clients at once."""
    made, deleted, spent = [], [], []
    for _ in range(repeats):
        before = cpu_s(running.pid)
        creates = burst(running.connect, CLIENTS, cloud.create_requests(target, each))
        spent.append((cpu_s(running.pid) - before) / each * 1000)
        ids = [msgspec.json.decode(body)["port"]["id"] for body in creates.bodies]
        deletes = [request("DELETE", f"/v2.0/ports/{one}") for one in ids]
        made.append(creates.rate)
        deleted.append(burst(running.connect, CLIENTS, deletes).rate)
    n = repeats * each
    what = f"port create, {CLIENTS} clients, {label}"
    yield of_repeats(what, made, "creates/s", n, peer=NEUTRON_CREATES, expected=least)
    yield of_repeats(COST, spent, "ms", n)
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
