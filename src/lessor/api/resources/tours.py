"""/v2.0/networks/ID/tour: how a network is on its hosts at this moment, piece by piece."""

from __future__ import annotations

import time
from typing import Any

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from lessor.api.resources import networks
from lessor.api.resources.hosts import ProblemBody, problem_body
from lessor.api.resources.routes import route, typed
from lessor.api.rest.fields import iso_time
from lessor.model import Host, HostTour, Piece, Problem
from lessor.store import tours
from lessor.store.hosts import dhcp_scheduler, no_address
from lessor.store.store import Store

ANSWER_S = 10.0  # after which a host counts as silent
LOOK_S = 0.1


class PieceBody(Struct):
    """One thing that the network needs on a host."""

    what: str
    name: str
    should: str
    found: str
    ok: bool
    command: str


class HostBody(Struct):
    """What one host says; `silent` says why it says nothing."""

    host: str
    ok: bool
    silent: str
    pieces: list[PieceBody]
    state: str
    heartbeat_at: str | None
    silent_s: int | None
    problems: list[ProblemBody]


class TourBody(Struct):
    """A network on all hosts that take part in it, or serve DHCP on it."""

    network_id: str
    ok: bool
    problems: list[str]
    dhcp_hosts: list[str]
    hosts: list[HostBody]


class TourAnswer(Struct):
    """The answer."""

    tour: TourBody


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the route."""

    def tour(key: str) -> TourAnswer:
        return TourAnswer(_tour(store, key))

    typed(
        "tour_network",
        "Ask the hosts of a network what is there of it; takes 10 s if one doesn't answer.",
        tour,
        **{"key": FromPath[str], "return": TourAnswer},
    )
    return [route(get, "/v2.0/networks/{key:str}/tour", tour, networks.RESOURCE)]


def _tour(store: Store, network_id: str) -> TourBody:
    asked = store.write(tours.ask, network_id)
    known = {host.name: host for host in store.hosts.find()}
    alive = {name for name, host in known.items() if host.alive}
    wanted = alive & set(asked.hosts)
    until = time.monotonic() + ANSWER_S
    try:
        said = store.read(tours.answers, asked.id)
        while wanted - said.keys() and time.monotonic() < until:
            time.sleep(LOOK_S)
            said = store.read(tours.answers, asked.id)
    finally:
        store.write(tours.end, asked.id)
    hosts = [said.get(name) or _silent(name, name in alive) for name in asked.hosts]
    serving = [host.name for host in store.read(dhcp_scheduler.hosts_serving, network_id)]
    problems = [] if asked.hosts else ["no host takes part in it"]
    if asked.hosts and not serving:
        problems.append("no host serves DHCP on it")
    if trouble := no_address.recent(store).of_network(network_id):
        problems.append(trouble)
    bodies = [_host(known.get(host.host), host, network_id) for host in hosts]
    return TourBody(
        network_id=network_id,
        ok=not problems and all(body.ok for body in bodies),
        problems=problems,
        dhcp_hosts=serving,
        hosts=bodies,
    )


def _host(known: Host | None, tour: HostTour, network_id: str) -> HostBody:
    """Show what a host said, with those of its problems that concern the network."""
    found = [one for one in known.problems if _concerns(one, network_id)] if known else []
    failing = any(not one.waits for one in found)
    return HostBody(
        tour.host,
        tour.ok and not failing,
        tour.silent,
        [_piece(piece) for piece in tour.pieces],
        known.state if known else "new",
        iso_time(known.heartbeat_at) if known else None,
        None if known is None or known.silent_s is None else int(known.silent_s),
        [ProblemBody(**problem_body(one)) for one in found],
    )


def _concerns(problem: Problem, network_id: str) -> bool:
    """Tell whether a problem is of a network, of a port of it, or of the whole host."""
    return network_id in problem.networks if problem.networks else not problem.ports


def _silent(host: str, alive: bool) -> HostTour:
    words = f"its agent did not answer within {ANSWER_S:g} s" if alive else "its agent is silent"
    return HostTour(host=host, silent=words)


def _piece(piece: Piece) -> PieceBody:
    values: dict[str, Any] = {name: getattr(piece, name) for name in PieceBody.__struct_fields__}
    return PieceBody(**values)
