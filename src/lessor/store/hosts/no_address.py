"""Troubles: why ports get no address, as far as networks and hosts are the reason.

`api/resources/ports.py` shows them with what concerns the port alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import bindparam, exists, func, select

from lessor.model import VXLAN, DhcpMove, Host, Port
from lessor.store.engine.access import Database
from lessor.store.engine.tx import ReadTx
from lessor.store.hosts import problems as hostproblems
from lessor.store.hosts import unserved_networks
from lessor.store.hosts.rules import HOST, host_of
from lessor.store.hosts.unserved_networks import Pair
from lessor.store.tables import hosts, networks, ports, subnets

RECENT_S = 1.0

_HAS_DHCP = exists(select(1).where(subnets.c.network_id == networks.c.id, subnets.c.enable_dhcp))
_FIELDS = (networks.c.id, networks.c.name)
_FLAT = select(*_FIELDS, networks.c.host, networks.c.physical_network).where(
    networks.c.host.in_(bindparam("hosts", expanding=True)),
    networks.c.network_type != VXLAN,
    ~networks.c.multi_host,
    _HAS_DHCP,
)
_EACH = (
    select(*_FIELDS, ports.c.binding_host)
    .select_from(ports.join(networks, networks.c.id == ports.c.network_id))
    .where(
        ports.c.binding_host.in_(bindparam("hosts", expanding=True)),
        networks.c.multi_host,
        _HAS_DHCP,
    )
    .distinct()
)
_SOME = select(ports.c.network_id).where(ports.c.server_of.in_(bindparam("hosts", expanding=True)))
_SERVERS = (
    select(*_FIELDS, ports.c.server_of)
    .select_from(ports.join(networks, networks.c.id == ports.c.network_id))
    .where(networks.c.network_type == VXLAN, ports.c.server_of > "", networks.c.id.in_(_SOME))
    .order_by(networks.c.id, ports.c.server_of)
)
_SAME_NAME = select(func.count()).where(networks.c.name == bindparam("name"))


@dataclass(frozen=True, slots=True)
class Troubles:
    """Why ports get no address.

    Attributes:
        networks: of whole networks, by id.
        local: of the ports of a multi-host network on one host, by host and network id.
        moves: DHCP servers that were moved in the last ten minutes, by network id.
        ports: of ports whose tap is on another host, by id.
    """

    networks: Mapping[str, str] = field(default_factory=dict)
    local: Mapping[Pair, str] = field(default_factory=dict)
    moves: Mapping[str, list[DhcpMove]] = field(default_factory=dict)
    ports: Mapping[str, str] = field(default_factory=dict)

    def of_network(self, network_id: str) -> str:
        """Return why ports of a network get no address; "" without a known reason."""
        some = [text for (_, key), text in sorted(self.local.items()) if key == network_id]
        return "; ".join(filter(None, [self.networks.get(network_id), *some]))

    def of_port(self, port: Port) -> str:
        """Return why a port gets no address; "" without a known reason."""
        if port.device_owner.startswith("network:"):
            return ""
        local = self.local.get((port.binding_host or "", port.network_id), "")
        return self.networks.get(port.network_id) or local


@dataclass(frozen=True, slots=True)
class _Look:
    """The hosts, and the networks that they report unserved."""

    hosts: Mapping[str, Host]
    reasons: Mapping[Pair, str]
    wait_s: float

    def reason(self, host: str, network_id: str) -> str:
        """Return why a host doesn't serve a network; "" without a known reason."""
        found = self.hosts.get(host)
        if found is not None and found.state == "new":
            return f"{host} has no agent yet"
        if found is not None and found.state != "up":
            state = "" if found.state == "silent" else "down, "
            return f"{host} is {state}silent for {int(found.silent_s or 0)} s"
        reason = self.reasons.get((host, network_id))
        return f"{host} can't serve it: {reason}" if reason else ""

    def able(self, network_id: str, besides: Collection[str]) -> Iterator[Host]:
        """Yield the hosts that could serve a network instead, by name."""
        for name, host in sorted(self.hosts.items()):
            fit = host.state == "up" and host.network_host and host.admin_state_up
            if fit and name not in besides and (name, network_id) not in self.reasons:
                yield host


def recent(db: Database) -> Troubles:
    """Return the troubles as of at most `RECENT_S` ago."""
    now, cached = db.clock(), db.fleet.troubles
    if cached is None or not 0 <= now - cached[0] < RECENT_S:
        cached = db.fleet.troubles = now, db.read(find)
    return cached[1]


def find(tx: ReadTx) -> Troubles:
    """Return the current troubles."""
    known = {row.name: host_of(tx, row) for row in tx.conn.execute(_HOSTS)}
    look = _Look(known, unserved_networks.reasons(tx, tx.now), tx.settings.dhcp_down_time)
    moves: dict[str, list[DhcpMove]] = {}
    for move in unserved_networks.moves(tx):
        moves.setdefault(move.network_id, []).append(move)
    unwell = {name for name, host in known.items() if host.state != "up"}
    unwell |= {host for host, _ in look.reasons}
    orphans = {
        key: problem.text
        for host in known.values()
        for key, problem in hostproblems.orphan_taps(tx, host).items()
        if host.state == "up"
    }
    if not unwell:
        return Troubles(moves=moves, ports=orphans)
    whole = {**dict(_flats(tx, look, unwell)), **dict(_overlays(tx, look, unwell))}
    return Troubles(whole, dict(_each(tx, look, unwell)), moves, orphans)


_HOSTS = select(*HOST).where(hosts.c.added).order_by(hosts.c.name)


def _flats(tx: ReadTx, look: _Look, unwell: Collection[str]) -> Iterator[tuple[str, str]]:
    for row in tx.conn.execute(_FLAT, {"hosts": sorted(unwell)}).all():
        why = look.reason(row.host, row.id)
        if not why:
            continue
        others = [
            host.name
            for host in look.able(row.id, [row.host])
            if row.physical_network in host.physical_networks
        ]
        if others:
            key = shlex.quote(_key(tx, row.id, row.name))
            mend = f"move it: lessor network set {key} --host {others[0]}"
        else:
            mend = f"no other network host with {row.physical_network} is up to move it to"
        yield (
            row.id,
            (
                f"its DHCP server and gateway {why}; its VMs get no address and reach no gateway; "
                f"{mend}"
            ),
        )


def _overlays(tx: ReadTx, look: _Look, unwell: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the overlay networks of which all DHCP hosts fail."""
    servers: dict[str, dict[str, str]] = {}
    for row in tx.conn.execute(_SERVERS, {"hosts": sorted(unwell)}).all():
        servers.setdefault(row.id, {})[row.server_of] = look.reason(row.server_of, row.id)
    for network_id, reasons in servers.items():
        if not all(reasons.values()):
            continue
        others = [host for host in look.able(network_id, reasons) if host.local_ip is not None]
        mend = (
            f"its DHCP server moves to another host after {look.wait_s:g} s"
            if others
            else "no other network host with a local_ip is up to take it"
        )
        hosts_ = "its DHCP host" if len(reasons) == 1 else "its DHCP hosts:"
        yield network_id, f"{hosts_} {', '.join(reasons.values())}; its VMs get no address; {mend}"


def _each(tx: ReadTx, look: _Look, unwell: Collection[str]) -> Iterator[tuple[Pair, str]]:
    """Yield the hosts of multi-host networks that don't serve their own ports."""
    for row in tx.conn.execute(_EACH, {"hosts": sorted(unwell)}).all():
        why = look.reason(row.binding_host, row.id)
        if why:
            text = f"its DHCP server and gateway on its host {why}; VMs there get no address"
            yield (row.binding_host, row.id), text


def _key(tx: ReadTx, network_id: str, name: str) -> str:
    """Return what a command finds a network by: its name, if no other network has it."""
    if name and tx.conn.execute(_SAME_NAME, {"name": name}).scalar() == 1:
        return name
    return network_id
