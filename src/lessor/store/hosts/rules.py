"""Hosts, their tokens, and what their agents report."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

from sqlalchemy import Connection, bindparam, case, delete, func, insert, or_, select, update

from lessor.errors import Conflict, InUse, NotFound
from lessor.model import Host, Report, TunnelEnd
from lessor.store.addresses.allocation import free
from lessor.store.engine import history
from lessor.store.engine.writer import Tx
from lessor.store.hosts import blocks as hostblocks
from lessor.store.hosts import problems as hostproblems
from lessor.store.hosts import unknown as unknownhosts
from lessor.store.hosts import unserved
from lessor.store.listing import Listing
from lessor.store.networks import overlay
from lessor.store.networks.ground import hosts_taking_part
from lessor.store.ports import novaevents, serving
from lessor.store.query import Query
from lessor.store.rows import HOST, host_of, packed
from lessor.store.tables import holds, hosts, networks, ports
from lessor.store.values import HostValues

AT_ONCE = 5000  # ids in one statement: PostgreSQL takes 65,535 at most


class Beats:
    """Heartbeats, kept in memory and written in batches: they have no revision, nobody waits."""

    def __init__(self, down_s: float) -> None:
        self._down_s = down_s
        self._fresh: dict[str, float] = {}
        self._written: dict[str, float] = {}

    def hear(self, host: str, now: float) -> None:
        """Note that a host reported."""
        self._fresh[host] = now

    @property
    def fresh(self) -> bool:
        """Whether there is anything to write."""
        return bool(self._fresh)

    def forget(self, host: str) -> None:
        """Forget a host that was deleted."""
        self._fresh.pop(host, None)
        self._written.pop(host, None)

    def known(self) -> Mapping[str, float]:
        """Return when each host was heard last."""
        return self._written | self._fresh

    def last(self, host: str) -> float:
        """Return when a host was heard last, 0 if never."""
        return max(self._fresh.get(host, 0.0), self._written.get(host, 0.0))

    def alive_since(self, now: float) -> float:
        """Return the time before which a last heartbeat is too old."""
        return now - self._down_s

    def write(self, tx: Tx) -> dict[str, float]:
        """Write what is new, and return it; `wrote` is told when it is in the database."""
        fresh = dict(self._fresh)
        if fresh:
            tx.conn.execute(_BEAT, [{"host_name": h, "at": at} for h, at in fresh.items()])
        return fresh

    def wrote(self, beats: Mapping[str, float]) -> None:
        """Note what is in the database now."""
        self._written |= beats
        for host, at in beats.items():
            if self._fresh.get(host) == at:
                del self._fresh[host]


DELETED = "-"  # before a host's name, where servers tell each other which hosts a change concerns
_BEAT = (
    update(hosts)
    .where(
        hosts.c.name == bindparam("host_name"),
        func.coalesce(hosts.c.heartbeat_at, 0.0)
        < bindparam("at"),  # another server may know better
    )
    .values(heartbeat_at=bindparam("at"))
)
_ONE = select(*HOST).where(hosts.c.name == bindparam("host_name"), hosts.c.added)
_ROLE = case(  # as `Host.role` has it
    (hosts.c.network_host, "dhcp"), (hosts.c.local_ip.is_not(None), "switch"), else_="bridge"
)
LISTING = Listing(
    "host",
    select(*HOST).where(hosts.c.added),
    hosts.c.name,
    {
        column.name: column
        for column in HOST
        if column.name not in {"physical_networks", "problems", "counts"}
    }
    | {"role": _ROLE},
    nullable={"started_at": 0.0, "heartbeat_at": 0.0},
)


def token_hash(token: str) -> str:
    """Return what is kept of a token. It is random and long, so a plain hash can't be guessed."""
    return hashlib.sha256(token.encode()).hexdigest()


def create(tx: Tx, name: str) -> tuple[Host, str]:
    """Make a host; return it with its token, which is not kept.

    Raises:
        Invalid: the name can't be a host's.
        Conflict: there is a host of this name.
    """
    unknownhosts.check_name(name)
    if tx.conn.execute(_ONE, {"host_name": name}).first():
        raise Conflict(
            f"there is a host {name} already; `lessor host token {name}` gives it a new token"
        )
    token = secrets.token_urlsafe(32)
    host = Host(name=name, id=str(uuid.uuid4()), created_at=tx.now)
    row = {"id": host.id, "token_hash": token_hash(token), "created_at": tx.now, "added": True}
    named = update(hosts).where(hosts.c.name == name).values(**row)  # by ports bound before
    if not tx.conn.execute(named).rowcount:
        tx.conn.execute(insert(hosts), row | {"name": name})
    return host, token


def renew_token(tx: Tx, name: str) -> str:
    """Give a host a new token, which is not kept; the former is worth nothing from then on.

    Raises:
        NotFound: there is no such host.
    """
    token = secrets.token_urlsafe(32)
    named = update(hosts).where(hosts.c.name == name, hosts.c.added)
    if not tx.conn.execute(named.values(token_hash=token_hash(token))).rowcount:
        raise NotFound(f"there is no host {name}", type_="HostNotFound")
    tx.concerns([name])
    return token


def get(conn: Connection, name: str, beats: Beats, now: float) -> Host:
    """Return a host, or raise NotFound."""
    row = conn.execute(_ONE, {"host_name": name}).first()
    if row is None:
        raise _not_found(name)
    return hostproblems.named(conn, [host_of(row, beats.known(), beats.alive_since(now), now)])[0]


def find(conn: Connection, query: Query, beats: Beats, now: float) -> list[Host]:
    """Return the hosts that a query asks for."""
    alive = query.filters.get("alive")
    filters = {name: values for name, values in query.filters.items() if name != "alive"}
    asked = Query(filters, query.sort, query.limit, query.marker, query.page_reverse)
    rows = LISTING.rows(conn, asked)
    found = [host_of(row, beats.known(), beats.alive_since(now), now) for row in rows]
    return hostproblems.named(conn, [one for one in found if alive is None or one.alive in alive])


_DATAPATHS = select(hosts.c.name, hosts.c.datapath_type).where(
    hosts.c.name.in_(bindparam("keys", expanding=True)), hosts.c.datapath_type != ""
)


def datapath_types(conn: Connection, names: Collection[str]) -> dict[str, str]:
    """Return what forwards the packets of Open vSwitch on those hosts that say so."""
    rows = conn.execute(_DATAPATHS, {"keys": sorted(names)})
    return {row.name: row.datapath_type for row in rows}


_BEARER = select(hosts.c.name).where(hosts.c.token_hash == bindparam("digest"))


def named_by(conn: Connection, digest: str) -> str | None:
    """Return whose token has this hash."""
    found = conn.execute(_BEARER, {"digest": digest}).scalar()
    return None if found is None else str(found)


def change(tx: Tx, name: str, values: HostValues) -> None:
    """Change what an administrator says of a host, or raise NotFound."""
    here = update(hosts).where(hosts.c.name == name)
    if values and not tx.conn.execute(here.values(**values)).rowcount:
        raise _not_found(name)


def remove(tx: Tx, name: str) -> None:
    """Delete a host that nothing needs any more.

    Raises:
        NotFound: there is none.
        InUse: it owns networks or has ports.
    """
    if not tx.conn.execute(_ONE, {"host_name": name}).first():
        raise _not_found(name)
    owned = select(func.count()).where(networks.c.host == name)
    bound = select(func.count()).where(ports.c.binding_host == name)
    counts = {
        "networks": tx.conn.execute(owned).scalar_one(),
        "ports": tx.conn.execute(bound).scalar_one(),
    }
    if any(counts.values()):
        words = " and ".join(
            f"{count} {what if count > 1 else what.removesuffix('s')}"
            for what, count in counts.items()
            if count
        )
        raise InUse(f"host {name} still has {words}; move or delete them first", type_="HostInUse")
    tx.conn.execute(delete(hosts).where(hosts.c.name == name))
    tx.concerns([f"{DELETED}{name}"])


def _not_found(name: str) -> NotFound:
    return NotFound(
        f"there is no host {name}; add it first (lessor host add {name})", type_="HostNotFound"
    )


# --- reports --------------------------------------------------------------------------------------

_RUN = select(
    hosts.c.run_id,
    hosts.c.heartbeat_at,
    hosts.c.local_ip,
    history.noted(history.EPOCH).label("epoch"),
).where(hosts.c.name == bindparam("host_name"))


def report(tx: Tx, host: str, said: Report, beats: Beats) -> None:
    """Write what an agent reports.

    Raises:
        NotFound: there is no such host.
        Conflict: another agent of this name is alive, or another host has this local_ip.
    """
    row = tx.conn.execute(_RUN, {"host_name": host}).first()
    if row is None:
        raise _not_found(host)
    last = max(row.heartbeat_at or 0.0, beats.known().get(host, 0.0))
    runs = {said.run_id, said.previous_run_id, *said.unconfirmed_run_ids}
    if row.run_id and row.run_id not in runs:
        _check_silent(host, tx.now - last, tx.now - beats.alive_since(tx.now))
    if row.local_ip != _text(said.local_ip):
        overlay.check_end(tx.conn, host, said.local_ip)
        _moved_end(tx, host)
    tx.conn.execute(update(hosts).where(hosts.c.name == host).values(**_columns(said, tx.now)))
    if said.unserved is not None:
        unserved.said(tx, host, said.unserved)
    if said.blocks is not None:
        hostblocks.said(tx, host, said.blocks)
    if said.epoch not in {"", row.epoch}:  # its revisions mean nothing here
        return
    _ports(tx, host, said)
    for network_id, revision in said.applied.items():
        applied(tx, host, network_id, revision)
    if said.settled:
        _settled(tx, host, said.settled)


def is_known(conn: Connection, host: str, said: Report) -> bool:
    """Tell whether a host's row has what it says of itself already."""
    columns = _columns(said, 0.0)
    del columns["heartbeat_at"]
    known = select(*(hosts.c[name] for name in columns)).where(hosts.c.name == host)
    row = conn.execute(known).first()
    return row is not None and tuple(row) == tuple(columns.values())


def _moved_end(tx: Tx, host: str) -> None:
    """A host's tunnels end elsewhere now: whoever has tunnels to it must know."""
    for network_id in overlay.networks_of(tx.conn, host):
        tx.touch("networks", network_id)
        tx.concerns(hosts_taking_part(tx.conn, network_id))


def _text(end: TunnelEnd | None) -> str | None:
    return None if end is None else str(end)


def _check_silent(host: str, ago_s: float, down_s: float) -> None:
    if ago_s < down_s:
        raise Conflict(
            f"another agent reports as host {host}: it did so {ago_s:.0f} s ago. Stop it, or give "
            f"this one another 'host'; if it is dead, wait {down_s - ago_s:.0f} s",
            type_="AgentConflict",
        )


def _columns(said: Report, now: float) -> dict[str, Any]:
    columns = {
        "run_id": said.run_id,
        "started_at": said.started_at,
        "heartbeat_at": now,
        "version": said.version,
        "physical_networks": packed(said.physical_networks),
        "network_host": said.network_host,
        "local_ip": _text(said.local_ip),
        "availability_zone": said.availability_zone,
        "server": said.server,
        "datapath_type": said.datapath_type,
        "in_sync": said.in_sync,
        "counts": packed(said.counts),
        "report_interval": said.report_interval,
    }
    if said.problems is not None:
        columns["problems"] = packed(said.problems)
    return columns


# Who may say what of a port: its binding host that it is wired, its DHCP server's host that it is
# served; on an overlay network several hosts may. Nothing that was said of an older row counts for the present one.
_PRESENT = (
    select(
        ports.c.id,
        ports.c.revision,
        ports.c.binding_host == bindparam("host_name"),
        case((networks.c.multi_host, ports.c.binding_host), else_=networks.c.host)
        == bindparam("host_name"),
        networks.c.network_type,
        networks.c.physical_network,
        serving.serves(bindparam("host_name")),
    )
    .select_from(ports.join(networks, networks.c.id == ports.c.network_id))
    .where(ports.c.id.in_(bindparam("keys", expanding=True)))
)


def _ports(tx: Tx, host: str, said: Report) -> None:
    every = [*said.ports]
    for start in range(0, len(every), AT_ONCE):
        some = every[start : start + AT_ONCE]
        elsewhere = _some_ports(tx, host, said, some)
        novaevents.reported(tx, some)
        novaevents.prepared(tx, host, elsewhere)


def _some_ports(tx: Tx, host: str, said: Report, some: Sequence[str]) -> list[str]:
    """Note what a host says of ports; return those it has wired though they are bound elsewhere."""
    elsewhere = []
    rows = tx.conn.execute(_PRESENT, {"host_name": host, "keys": some}).all()
    for port_id, revision, binds, serves, kind, physical, places in rows:
        word = said.ports[port_id]
        if word.revision and word.revision < revision:
            continue
        columns: dict[str, Any] = {}
        if word.wired and not binds:
            elsewhere.append(port_id)
        if binds and word.wired is not None:
            columns |= {"wired": word.wired, "wired_pending": word.pending}
            there = has_network(said.local_ip, said.physical_networks, kind, physical)
            if word.wired or there:
                columns["binding_failed"] = False
        if kind == overlay.VXLAN and places and word.served is not None:
            columns |= serving.said(tx, port_id, host, word)
        elif serves and word.served is not None:
            pending = "" if columns else word.pending
            columns |= {"served": word.served, "served_pending": pending}
        if columns:
            tx.conn.execute(update(ports).where(ports.c.id == port_id).values(**columns))
    return elsewhere


def has_network(
    local_ip: object, physical_networks: Collection[str], network_type: str, wanted: str | None
) -> bool:
    """Tell whether a host takes part in a network.

    Args:
        local_ip: the host's end of tunnels, if it has one.
        physical_networks: those that it is on.
        network_type: of the network.
        wanted: its physical network; None on an overlay.
    """
    return local_ip is not None if network_type == overlay.VXLAN else wanted in physical_networks


_LIFT = (
    delete(holds)
    .where(
        holds.c.host == bindparam("host_name"),
        holds.c.network_id == bindparam("network"),
        holds.c.revision <= bindparam("upto"),
    )
    .returning(holds.c.address)
)


def applied(tx: Tx, host: str, network_id: str, revision: int) -> None:
    """A host has applied all of a network up to a revision: what was let go there serves nobody."""
    key = {"host_name": host, "network": network_id, "upto": revision}
    for (address,) in tx.conn.execute(_LIFT, key).all():
        free(tx, network_id, IPv4Address(address))


_LIFT_ALL = (
    delete(holds)
    .where(holds.c.host == bindparam("host_name"), holds.c.revision <= bindparam("upto"))
    .returning(holds.c.network_id, holds.c.address)
)


def _settled(tx: Tx, host: str, revision: int) -> None:
    """A host is as its view of a revision says, whatever networks it took part in before."""
    lifted = tx.conn.execute(_LIFT_ALL, {"host_name": host, "upto": revision}).all()
    for network_id, address in lifted:
        free(tx, network_id, IPv4Address(address))


def eligible(
    conn: Connection, beats: Beats, now: float, reporting: Collection[str] = ()
) -> set[str]:
    """Return the hosts that are alive and may be given flat networks."""
    asked = select(hosts.c.name, hosts.c.heartbeat_at).where(
        hosts.c.network_host,
        hosts.c.admin_state_up,
        or_(hosts.c.local_ip.is_(None), hosts.c.physical_networks != "[]"),
    )
    known, since = beats.known(), beats.alive_since(now)
    return {
        name
        for name, beat in conn.execute(asked)
        if name in reporting or max(beat or 0.0, known.get(name, 0.0)) > since
    }
