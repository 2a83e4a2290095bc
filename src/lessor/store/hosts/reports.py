"""Reports of agents: on themselves, on ports, and on the revisions applied."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import bindparam, case, delete, select, update

from lessor.errors import Conflict
from lessor.model import VXLAN, Report
from lessor.net.address import Address
from lessor.store.addresses.allocation import free
from lessor.store.columns import packed
from lessor.store.engine import history
from lessor.store.engine.access import Database
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import blocks as hostblocks
from lessor.store.hosts import failover, unserved_networks
from lessor.store.hosts import rules as host_rows
from lessor.store.networks import overlay
from lessor.store.networks import rules as network_rows
from lessor.store.networks.addressing import hosts_taking_part
from lessor.store.ports import compute_events, serving
from lessor.store.tables import holds, hosts, networks, ports

AT_ONCE = 5000  # ids in one statement: PostgreSQL takes 65,535 at most


def receive(db: Database, host: str, report: Report) -> None:
    """Take an agent's report. A bare heartbeat costs no write.

    Raises:
        NotFound: there is no such host.
        Conflict: another agent of this name is alive, or another host has this local_ip.
    """
    if report.has_news or not _is_known(db, host, report.bare):
        db.write(write, host, report)
        db.fleet.reports[host] = report.bare
    db.fleet.heartbeats.record(host, db.clock())
    if report.network_host and db.read(network_rows.unowned):
        db.write(network_rows.claim_unowned)
    if report.network_host and report.local_ip is not None and host not in db.fleet.able:
        failover.place(db)


def _is_known(db: Database, host: str, bare: Report) -> bool:
    """Tell whether the database has a report already; with other servers, it is read."""
    if db.peers.several:
        return db.read(is_stored, host, bare)
    return db.fleet.reports.get(host) == bare


_RUN = select(
    hosts.c.run_id,
    hosts.c.heartbeat_at,
    hosts.c.local_ip,
    history.noted(history.EPOCH).label("epoch"),
).where(hosts.c.name == bindparam("host_name"))


def write(tx: Tx, host: str, report: Report) -> None:
    """Write what an agent reports.

    Raises:
        NotFound: there is no such host.
        Conflict: another agent of this name is alive, or another host has this local_ip.
    """
    row = tx.conn.execute(_RUN, {"host_name": host}).first()
    if row is None:
        raise host_rows.not_found(host)
    last = tx.fleet.heartbeats.last(host, row.heartbeat_at)
    runs = {report.run_id, report.previous_run_id, *report.unconfirmed_run_ids}
    if row.run_id and row.run_id not in runs:
        _check_silent(host, tx.now - last, tx.settings.agent_down_time)
    if row.local_ip != _text(report.local_ip):
        overlay.check_end(tx, host, report.local_ip)
        _moved_end(tx, host)
    tx.conn.execute(update(hosts).where(hosts.c.name == host).values(**_columns(report, tx.now)))
    if report.unserved is not None:
        unserved_networks.record(tx, host, report.unserved)
        tx.after_commit(tx.fleet.forget_troubles)
    if report.blocks is not None:
        hostblocks.record(tx, host, report.blocks)
    if report.epoch not in {"", row.epoch}:  # its revisions mean nothing here
        return
    _ports(tx, host, report)
    for network_id, revision in report.applied.items():
        applied(tx, host, network_id, revision)
    if report.settled:
        _settled(tx, host, report.settled)


def is_stored(tx: ReadTx, host: str, report: Report) -> bool:
    """Tell whether a host's row equals a report."""
    columns = _columns(report, 0.0)
    del columns["heartbeat_at"]
    known = select(*(hosts.c[name] for name in columns)).where(hosts.c.name == host)
    row = tx.conn.execute(known).first()
    return row is not None and tuple(row) == tuple(columns.values())


def _moved_end(tx: Tx, host: str) -> None:
    """Send the new tunnel end of a host to its peers."""
    for network_id in overlay.networks_of(tx, host):
        tx.touch("networks", network_id)
        tx.concerns(hosts_taking_part(tx, network_id))


def _text(end: Address | None) -> str | None:
    return None if end is None else str(end)


def _check_silent(host: str, ago_s: float, down_s: float) -> None:
    if ago_s < down_s:
        raise Conflict(
            f"another agent reports as host {host}: it did so {ago_s:.0f} s ago. Stop it, or give "
            f"this one another 'host'; if it is dead, wait {down_s - ago_s:.0f} s",
            type_="AgentConflict",
        )


def _columns(report: Report, now: float) -> dict[str, Any]:
    columns = {
        "run_id": report.run_id,
        "started_at": report.started_at,
        "heartbeat_at": now,
        "version": report.version,
        "physical_networks": packed(report.physical_networks),
        "network_host": report.network_host,
        "local_ip": _text(report.local_ip),
        "availability_zone": report.availability_zone,
        "server": report.server,
        "datapath_type": report.datapath_type,
        "in_sync": report.in_sync,
        "counts": packed(report.counts),
        "report_interval": report.report_interval,
    }
    if report.problems is not None:
        columns["problems"] = packed(report.problems)
    return columns


# The binding host reports a port wired; its DHCP server's host, on an overlay network any of them,
# reports it served. A report on an older revision of the row does not count.
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


def _ports(tx: Tx, host: str, report: Report) -> None:
    every = [*report.ports]
    for start in range(0, len(every), AT_ONCE):
        some = every[start : start + AT_ONCE]
        elsewhere = _some_ports(tx, host, report, some)
        compute_events.reported(tx, some)
        compute_events.prepared(tx, host, elsewhere)


def _some_ports(tx: Tx, host: str, report: Report, some: Sequence[str]) -> list[str]:
    """Write the reported states of ports; return those wired though bound elsewhere."""
    elsewhere = []
    rows = tx.conn.execute(_PRESENT, {"host_name": host, "keys": some}).all()
    for port_id, revision, binds, serves, kind, physical, places in rows:
        state = report.ports[port_id]
        if state.revision and state.revision < revision:
            continue
        columns: dict[str, Any] = {}
        if state.wired and not binds:
            elsewhere.append(port_id)
        if binds and state.wired is not None:
            columns |= {"wired": state.wired, "wired_pending": state.pending}
            there = has_network(report.local_ip, report.physical_networks, kind, physical)
            if state.wired or there:
                columns["binding_failed"] = False
        if kind == VXLAN and places and state.served is not None:
            columns |= serving.record(tx, port_id, host, state)
        elif serves and state.served is not None:
            pending = "" if columns else state.pending
            columns |= {"served": state.served, "served_pending": pending}
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
    return local_ip is not None if network_type == VXLAN else wanted in physical_networks


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
    """Lift the holds of a host that has applied a network up to a revision."""
    key = {"host_name": host, "network": network_id, "upto": revision}
    for (address,) in tx.conn.execute(_LIFT, key).all():
        free(tx, network_id, address)


_LIFT_ALL = (
    delete(holds)
    .where(holds.c.host == bindparam("host_name"), holds.c.revision <= bindparam("upto"))
    .returning(holds.c.network_id, holds.c.address)
)


def _settled(tx: Tx, host: str, revision: int) -> None:
    """Lift the holds of a host on all networks: it has applied its view up to a revision."""
    lifted = tx.conn.execute(_LIFT_ALL, {"host_name": host, "upto": revision}).all()
    for network_id, address in lifted:
        free(tx, network_id, address)
