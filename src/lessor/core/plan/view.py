"""An agent's view of the cloud, and what the server's answers do to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from lessor.core.plan.rows import replaced
from lessor.errors import Invalid
from lessor.model import Scope, ScopeChange, View, ViewAnswer, ViewRequest

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)  # RFC 9562 section 4


def checked(answer: ViewAnswer) -> ViewAnswer:
    """Return an answer of a server as it is: folders, files and devices are named after its ids.

    Raises:
        Invalid: an id is no UUID in lower case, or a row is of another network than its scope.
    """
    for name in _ids(answer):
        if not _ID.fullmatch(name):
            raise Invalid(f"the server names {name[:100]!r}, which is no id: it must be a UUID")
    for key, change in answer.scopes.items():
        if {key} != {key, *_networks(change)}:
            raise Invalid(f"the server has rows of other networks in the view of network {key}")
    return answer


def _networks(change: ScopeChange) -> Iterator[str]:
    yield from (subnet.network_id for subnet in change.subnets)
    yield from (port.network_id for port in change.ports)
    if change.network is not None:
        yield change.network.id


def _ids(answer: ViewAnswer) -> Iterator[str]:
    yield from answer.scopes
    for tour_id, network_id in answer.tours.items():
        yield from (tour_id, network_id)
    for change in answer.scopes.values():
        yield from (subnet.id for subnet in change.subnets)
        yield from (port.id for port in change.ports)


def merge(view: View, answer: ViewAnswer) -> View:
    """Return the view after an answer. Scopes that the answer doesn't name stay the same objects.

    A row is always whole, so merging an answer twice, or an old one after a newer whole scope of
    the same revision, changes nothing. An answer of another epoch replaces everything.

    Source: design.md, "View".
    """
    kept = view.scopes if answer.epoch == view.epoch else {}
    scopes = {key: scope for key, scope in kept.items() if key not in answer.left}
    for key, change in answer.scopes.items():
        scope = _scope(scopes.get(key), change, answer.revision)
        if scope is not None:
            scopes[key] = scope
    return View(epoch=answer.epoch, scopes=scopes, position=answer.position)


def _scope(known: Scope | None, change: ScopeChange, revision: int) -> Scope | None:
    if change.whole or known is None:
        if change.network is None:  # a part of a scope that we don't hold: the next answer is whole
            return None
        return Scope(
            revision=revision,
            network=change.network,
            subnets={subnet.id: subnet for subnet in change.subnets},
            ports={port.id: port for port in change.ports},
            peers=change.peers or {},
        )
    subnets = replaced(known.subnets, change.gone_subnets, {s.id: s for s in change.subnets})
    ports = replaced(known.ports, change.gone_ports, {port.id: port for port in change.ports})
    network = change.network or known.network
    peers = known.peers if change.peers is None else change.peers
    return replace(
        known, revision=revision, network=network, subnets=subnets, ports=ports, peers=peers
    )


def request(view: View, wait_s: float, tours: tuple[str, ...] = ()) -> ViewRequest:
    """Return what to ask the server for: all that is newer than this view, and new tours."""
    cursors = {key: scope.revision for key, scope in view.scopes.items()}
    return ViewRequest(
        epoch=view.epoch, cursors=cursors, wait_s=wait_s, tours=tours, position=view.position
    )


def share_lost(view: View, newer: View) -> float:
    """Return the share (0 to 1) of the ports in `view` that `newer` no longer has."""
    known = {key for scope in view.scopes.values() for key in scope.ports}
    still = {key for scope in newer.scopes.values() for key in scope.ports}
    return len(known - still) / len(known) if known else 0.0
