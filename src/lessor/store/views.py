"""Views of hosts: the rows that concern one, newer than its cursors; nothing is kept between calls.

A host takes part in a network that it owns, or that has a port bound to it or prepared for it. Its
scope of the network has the network's row, its subnets and, in one of two *forms*, all ports (for
the owner of a single-host network, and every host of an overlay network, or of a multi-host one
with `update_dns_entries`) or those bound to the host, or prepared for it (`ports.bindings`). A
change of an overlay scope also has the tunnel ends of all hosts that take part (`peers`). The host
gets the rows newer than the scope's cursor; the scope is sent whole when it is new, when its form
changed after the cursor, or when tombstones after the cursor were purged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy import bindparam, exists, literal, or_, select, union

from lessor.model import VXLAN, Network, Port, ScopeChange, Subnet, ViewAnswer, ViewRequest
from lessor.store import tours
from lessor.store.engine import database, history, notes
from lessor.store.engine.access import Database
from lessor.store.engine.peers import EVERYONE
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.networks import overlay
from lessor.store.networks import subnets as subnet_rows
from lessor.store.networks.rows import NETWORK, SUBNET, network_of
from lessor.store.ports import rows as portrows
from lessor.store.tables import bindings, networks, ports, subnets, tombstones

log = structlog.get_logger("lessor.store")

_HOST: Any = bindparam("host_name")
_AFTER: Any = bindparam("cursor")
_IDS: Any = bindparam("ids", expanding=True)

# Networks, and the ports that are prepared for the host; nothing twice: some are for some host.
_PART = union(
    select(networks.c.id, literal("")).where(networks.c.host == _HOST),
    select(ports.c.network_id, literal("")).where(ports.c.binding_host == _HOST),
    select(ports.c.network_id, ports.c.id)
    .select_from(ports.join(bindings, bindings.c.port_id == ports.c.id))
    .where(bindings.c.host == _HOST),
    select(literal(""), literal("")).where(exists(select(bindings.c.port_id))),
)
_FORMS = select(
    networks.c.id,
    networks.c.network_type,
    networks.c.host,
    networks.c.multi_host,
    networks.c.form_revision,
    networks.c.floor_revision,
).where(networks.c.id.in_(_IDS))
_NETWORKS = select(*NETWORK).where(networks.c.id.in_(_IDS), networks.c.revision > _AFTER)
_SUBNETS = (
    select(*SUBNET)
    .where(subnets.c.network_id.in_(_IDS), subnets.c.revision > _AFTER)
    .order_by(subnets.c.created_at, subnets.c.id)
)
_PORTS = portrows.SELECT.where(ports.c.network_id.in_(_IDS), ports.c.revision > _AFTER)
_OWN_PORTS = portrows.SELECT.where(
    ports.c.binding_host == _HOST, ports.c.network_id.in_(_IDS), ports.c.revision > _AFTER
)
# Apart from the former: joined by OR, no index of ports' hosts would be used.
_PREPARED_PORTS = _PORTS.where(
    ports.c.id.in_(bindparam("prepared", expanding=True)),
    ports.c.binding_host.is_distinct_from(_HOST),
)
_GRAVES = select(tombstones.c.network_id, tombstones.c.kind, tombstones.c.id).where(
    tombstones.c.network_id.in_(_IDS),
    tombstones.c.revision > _AFTER,
    or_(tombstones.c.host.is_(None), tombstones.c.host == _HOST),
)


@dataclass(slots=True)
class _Found:
    """What was found for one scope."""

    network: Network | None = None
    subnets: list[Subnet] = field(default_factory=list)
    ports: list[Port] = field(default_factory=list)
    gone: dict[str, list[str]] = field(default_factory=lambda: {"subnet": [], "port": []})

    def change(self, *, whole: bool) -> ScopeChange | None:
        """Return the change, or None if there is none. What is there again is not gone."""
        if not (whole or self.network or self.subnets or self.ports or any(self.gone.values())):
            return None
        here = {subnet.id for subnet in self.subnets} | {port.id for port in self.ports}
        gone = {k: tuple(i for i in ids if i not in here) for k, ids in self.gone.items()}
        return ScopeChange(
            whole=whole,
            network=self.network,
            subnets=tuple(self.subnets),
            ports=tuple(self.ports),
            gone_subnets=() if whole else gone["subnet"],
            gone_ports=() if whole else gone["port"],
        )


def answer(db: Database, host: str, request: ViewRequest) -> ViewAnswer:
    """Return at once what concerns a host and is newer than what it has.

    A host that has seen what this database lost gets a new epoch: see `history`.
    """
    found = db.read(view, host, request)
    if found is None:
        _begin_epoch(db, host, request.epoch)
        found = db.read(view, host, request)
        assert found is not None, "the request is of another epoch by now"
    db.epoch = found.epoch
    return found


def _begin_epoch(db: Database, host: str, before: str) -> None:
    """Give the database a new epoch, unless another server has done so meanwhile."""
    if db.write(_new_epoch, before):
        log.error(
            "the database went back: an older copy was put in its place",
            host=host,
            was=before,
            then="hosts take whole views, and no address is given out before they reported",
        )


def _new_epoch(tx: Tx, before: str) -> bool:
    if history.now(tx.conn).epoch != before:
        return False
    database.new_epoch(tx.conn)
    tx.concerns(EVERYONE)
    return True


def view(tx: ReadTx, host: str, request: ViewRequest) -> ViewAnswer | None:
    """Return all that concerns a host and is newer than what it has.

    None: the host has seen what this database lost.
    """
    at = history.now(tx.conn)
    if request.epoch == at.epoch and history.is_lost(tx.conn, at, request.position):
        return None
    revision = at.revision
    rows = tx.conn.execute(_PART, {"host_name": host}).all()
    moving = ("", "") in rows
    part = list({network_id for network_id, _ in rows if network_id})
    here = {port_id for _, port_id in rows if port_id}
    cursors = request.cursors if request.epoch == at.epoch else {}
    forms = tx.conn.execute(_FORMS, {"ids": part}).all() if part else []
    scopes: dict[str, ScopeChange] = {}
    for (cursor, every), ids in _alike(tx, forms, host, cursors, revision).items():
        whole = cursor < 0
        for network_id, found in _read(
            tx, host, ids, cursor, here, every=every, moving=moving
        ).items():
            change = found.change(whole=whole)
            if change is not None:
                scopes[network_id] = change
    left = tuple(sorted(request.cursors.keys() - set(part)))
    _add_peers(tx, scopes, {row.id for row in forms if row.network_type == VXLAN})
    asked = tours.open_for(tx, host)
    fresh = {key: asked[key] for key in sorted(asked.keys() - set(request.tours))}
    return ViewAnswer(
        epoch=at.epoch,
        revision=revision,
        scopes=scopes,
        left=left,
        tours=fresh,
        position=at.position,
    )


def _add_peers(tx: ReadTx, scopes: dict[str, ScopeChange], tunnelled: set[str]) -> None:
    ends = overlay.peers(tx, sorted(scopes.keys() & tunnelled))
    for network_id, peers in ends.items():
        scopes[network_id] = replace(scopes[network_id], peers=peers)


def _alike(
    tx: ReadTx, forms: Collection[Any], host: str, cursors: Mapping[str, int], revision: int
) -> dict[tuple[int, bool], list[str]]:
    """Group networks that are read alike: by cursor (-1: whole) and form (True: all ports)."""
    groups: dict[tuple[int, bool], list[str]] = {}
    for network_id, kind, owner, multi_host, formed, floor in forms:
        cursor = cursors.get(network_id, -1)
        if not max(formed, floor) <= cursor <= revision:
            cursor = -1
        every = kind == VXLAN or (tx.settings.update_dns_entries if multi_host else owner == host)
        if cursor < revision:
            groups.setdefault((cursor, every), []).append(network_id)
    return groups


def _read(
    tx: ReadTx,
    host: str,
    ids: list[str],
    cursor: int,
    here: set[str],
    *,
    every: bool,
    moving: bool,
) -> dict[str, _Found]:
    found = {network_id: _Found() for network_id in ids}
    key: dict[str, Any] = {"ids": ids, "cursor": cursor}
    for row in tx.conn.execute(_NETWORKS, key):
        found[row.id].network = network_of(row)
    for subnet in subnet_rows.read(tx, tx.conn.execute(_SUBNETS, key).all()):
        found[subnet.network_id].subnets.append(subnet)
    own = key | {"host_name": host}
    rows = tx.conn.execute(_PORTS, key).all() if every else tx.conn.execute(_OWN_PORTS, own).all()
    if here and not every:
        rows = [*rows, *tx.conn.execute(_PREPARED_PORTS, own | {"prepared": sorted(here)})]
    prepared = portrows.prepared(tx, ids) if moving and rows else {}
    for port in portrows.read(tx, rows):
        others = prepared.get(port.id)
        found[port.network_id].ports.append(replace(port, prepared_for=others) if others else port)
    if cursor >= 0:
        for network_id, kind, row_id in tx.conn.execute(_GRAVES, own):
            found[network_id].gone[kind].append(row_id)
    return found


_MULTI_HOST = select(networks.c.id).where(networks.c.multi_host)


def note_form(tx: Tx) -> None:
    """Have multi-host scopes sent whole if update_dns_entries, which picks their ports, changed."""
    form = str(tx.settings.update_dns_entries)
    if notes.remembered(tx.conn, "update_dns_entries") == form:
        return
    notes.remember(tx.conn, "update_dns_entries", form)
    for (network_id,) in tx.conn.execute(_MULTI_HOST).all():
        tx.touch("form", network_id)
