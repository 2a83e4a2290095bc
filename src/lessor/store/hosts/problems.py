"""Problems of hosts as the API shows them: with the names of networks and ports."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import bindparam, select

from lessor.model import Host, Problem
from lessor.store.engine.tx import ReadTx
from lessor.store.tables import bindings, networks, ports

STRAY = "stray "  # begins the key of a problem with a tap that no port of its host has
AT_ONCE = 5000  # ids in one statement

_NETWORKS = select(networks.c.id, networks.c.name).where(
    networks.c.id.in_(bindparam("keys", expanding=True)), networks.c.name != ""
)
_PORTS = select(ports.c.id, ports.c.name).where(
    ports.c.id.in_(bindparam("keys", expanding=True)), ports.c.name != ""
)


_BY_TAP = select(ports.c.id, ports.c.name, ports.c.network_id, ports.c.binding_host.label("host"))
_BY_TAP = _BY_TAP.where(ports.c.id >= bindparam("first"), ports.c.id <= bindparam("last"))
_LOWEST = "00-0000-0000-000000000000"  # the rest of an id
_PREPARED = select(bindings.c.port_id).where(
    bindings.c.port_id == bindparam("port"), bindings.c.host == bindparam("host_name")
)


def named(tx: ReadTx, found: Sequence[Host]) -> list[Host]:
    """Return hosts whose problems have names in place of ids; a deleted row keeps its id."""
    found = [_joined(tx, host) for host in found]
    problems = [problem for host in found for problem in host.problems]
    if not problems:
        return [*found]
    names = dict(_names(tx, problems))
    return [
        replace(host, problems=tuple(_named(one, names) for one in host.problems)) for host in found
    ]


def orphan_taps(tx: ReadTx, host: Host) -> dict[str, Problem]:
    """Return the problems of taps on a host whose ports are bound elsewhere, by port id."""
    found = {}
    for problem in host.problems:
        tap = problem.key.removeprefix(STRAY)
        if tap == problem.key or not (row := _port_of(tx, tap)) or row.host == host.name:
            continue
        if tx.conn.execute(_PREPARED, {"port": row.id, "host_name": host.name}).first():
            continue  # a VM that moves has a tap on both hosts
        bound = f"the port is bound to {row.host or 'no host'}"
        mend = f"lessor port set {shlex.quote(row.name or row.id)} --host {host.name}"
        text = f"{tap} is on {host.name}, {bound}; if the VM runs on {host.name}: {mend}"
        networks, key = (row.network_id,), (row.id,)
        found[row.id] = replace(problem, text=text, networks=networks, ports=key)
    return found


def _port_of(tx: ReadTx, tap: str) -> Any:
    """Return the port that a tap is named after; None: it is none of ours.

    Both limits have the form of an id, so that every collation orders them alike.
    """
    start = tap.removeprefix("tap")
    limits = {"first": f"{start}{_LOWEST}", "last": f"{start}{_LOWEST.replace('0', 'f')}"}
    return tx.conn.execute(_BY_TAP, limits).first()


def _joined(tx: ReadTx, host: Host) -> Host:
    """Return a host with its stray taps by their ports; taps of no port of ours are left out."""
    if not any(one.key.startswith(STRAY) for one in host.problems):
        return host
    others = [one for one in host.problems if not one.key.startswith(STRAY)]
    return replace(host, problems=(*others, *orphan_taps(tx, host).values()))


def _names(tx: ReadTx, problems: Iterable[Problem]) -> Iterator[tuple[str, str]]:
    wanted: tuple[set[str], set[str]] = set(), set()
    for problem in problems:
        wanted[0].update(problem.networks)
        wanted[1].update(problem.ports)
    for query, ids in zip((_NETWORKS, _PORTS), map(sorted, wanted), strict=True):
        for start in range(0, len(ids), AT_ONCE):
            for row in tx.conn.execute(query, {"keys": ids[start : start + AT_ONCE]}):
                yield row.id, row.name


def _named(problem: Problem, names: Mapping[str, str]) -> Problem:
    """Say names in the text; a port that it doesn't mention is added to it."""
    text = problem.text
    for key in (*problem.networks, *problem.ports):
        if key in names:
            text = text.replace(key, names[key])
    if len(problem.ports) == 1:
        name = names.get(problem.ports[0], problem.ports[0])
        if name not in text:
            text = f"port {name}: {text}"
    return replace(problem, text=text)
