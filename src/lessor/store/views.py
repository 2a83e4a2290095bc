"""What one host has to know: answered from rows and revisions, with nothing kept between calls.

A host takes part in a network that it owns, or that has a port bound to it or prepared for it. Of a network it knows
the network's row, its subnets and, in one of two *forms*, all its ports (the owner of a
single-host network; every host of an overlay one, and of a multi-host one with
`update_dns_entries`) or those bound to it, or prepared for it (`portbindings`). A change of an overlay scope also says where the tunnels
of all who take part end (`peers`). A scope that the host holds gets the rows newer than its cursor; it is sent whole when it is
new, when the form changed after the cursor, or when tombstones after the cursor were purged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, bindparam, exists, literal, or_, select, union

from lessor.model import Network, Port, ScopeChange, Subnet, ViewAnswer, ViewRequest
from lessor.store import tours
from lessor.store.engine.history import Now
from lessor.store.networks import overlay
from lessor.store.networks import subnets as subnet_rows
from lessor.store.ports import rows as portrows
from lessor.store.rows import NETWORK, SUBNET, network_of
from lessor.store.tables import bindings, networks, ports, subnets, tombstones

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


def view(
    conn: Connection, host: str, request: ViewRequest, at: Now, *, all_names: bool
) -> ViewAnswer:
    """Return all that concerns a host and is newer than what it has.

    Args:
        conn: a connection that sees one state of the database.
        host: its name.
        request: what it has.
        at: how far the database is; cursors of another epoch mean nothing.
        all_names: `update_dns_entries`.
    """
    revision = at.revision
    rows = conn.execute(_PART, {"host_name": host}).all()
    moving = ("", "") in rows
    part = list({network_id for network_id, _ in rows if network_id})
    here = {port_id for _, port_id in rows if port_id}
    cursors = request.cursors if request.epoch == at.epoch else {}
    forms = conn.execute(_FORMS, {"ids": part}).all() if part else []
    scopes: dict[str, ScopeChange] = {}
    for (cursor, every), ids in _alike(forms, host, cursors, revision, all_names).items():
        whole = cursor < 0
        for network_id, found in _read(
            conn, host, ids, cursor, here, every=every, moving=moving
        ).items():
            change = found.change(whole=whole)
            if change is not None:
                scopes[network_id] = change
    left = tuple(sorted(request.cursors.keys() - set(part)))
    _add_peers(conn, scopes, {row.id for row in forms if row.network_type == overlay.VXLAN})
    asked = tours.open_for(conn, host)
    fresh = {key: asked[key] for key in sorted(asked.keys() - set(request.tours))}
    return ViewAnswer(
        epoch=at.epoch,
        revision=revision,
        scopes=scopes,
        left=left,
        tours=fresh,
        position=at.position,
    )


def _add_peers(conn: Connection, scopes: dict[str, ScopeChange], tunnelled: set[str]) -> None:
    ends = overlay.peers(conn, sorted(scopes.keys() & tunnelled))
    for network_id, peers in ends.items():
        scopes[network_id] = replace(scopes[network_id], peers=peers)


def _alike(
    forms: Collection[Any],
    host: str,
    cursors: Mapping[str, int],
    revision: int,
    all_names: bool,
) -> dict[tuple[int, bool], list[str]]:
    """Group networks that are read alike: by cursor (-1: whole) and form (True: all ports)."""
    groups: dict[tuple[int, bool], list[str]] = {}
    for network_id, kind, owner, multi_host, formed, floor in forms:
        cursor = cursors.get(network_id, -1)
        if not max(formed, floor) <= cursor <= revision:
            cursor = -1
        every = kind == overlay.VXLAN or (all_names if multi_host else owner == host)
        if cursor < revision:
            groups.setdefault((cursor, every), []).append(network_id)
    return groups


def _read(
    conn: Connection,
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
    for row in conn.execute(_NETWORKS, key):
        found[row.id].network = network_of(row)
    for subnet in subnet_rows.read(conn, conn.execute(_SUBNETS, key).all()):
        found[subnet.network_id].subnets.append(subnet)
    own = key | {"host_name": host}
    rows = conn.execute(_PORTS, key).all() if every else conn.execute(_OWN_PORTS, own).all()
    if here and not every:
        rows = [*rows, *conn.execute(_PREPARED_PORTS, own | {"prepared": sorted(here)})]
    prepared = portrows.prepared(conn, ids) if moving and rows else {}
    for port in portrows.read(conn, rows):
        others = prepared.get(port.id)
        found[port.network_id].ports.append(replace(port, prepared_for=others) if others else port)
    if cursor >= 0:
        for network_id, kind, row_id in conn.execute(_GRAVES, own):
            found[network_id].gone[kind].append(row_id)
    return found
