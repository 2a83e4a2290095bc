"""Availability zones of hosts, and of networks' DHCP servers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

from sqlalchemy import bindparam, select, union

from lessor.errors import NotFound
from lessor.store.columns import listed
from lessor.store.engine.tx import ReadTx
from lessor.store.tables import hosts, networks, ports

_KNOWN = select(hosts.c.availability_zone).where(hosts.c.run_id != "").distinct()
_HINTS = select(networks.c.availability_zone_hints).where(networks.c.id == bindparam("network"))
_IDS: Any = bindparam("ids", expanding=True)
_OF_NETWORKS = union(
    select(networks.c.id, hosts.c.availability_zone)
    .select_from(networks.join(hosts, hosts.c.name == networks.c.host))
    .where(networks.c.id.in_(_IDS)),
    select(ports.c.network_id, hosts.c.availability_zone)
    .select_from(ports.join(hosts, hosts.c.name == ports.c.server_of))
    .where(ports.c.network_id.in_(_IDS)),
)


def known(tx: ReadTx) -> list[str]:
    """Return the zones that hosts are in, by name."""
    return sorted(row[0] for row in tx.conn.execute(_KNOWN))


def check(tx: ReadTx, hints: Collection[str]) -> None:
    """Refuse zones that no host is in.

    Raises:
        NotFound: no agent has reported one of them.
    """
    there = known(tx) if hints else []
    if missing := [zone for zone in hints if zone not in there]:
        raise NotFound(
            f"availability zone {missing[0]!r} has no host: the agents are in "
            f"{', '.join(there) or 'none'}; ask for one of these, or set [agent] availability_zone "
            "on a host",
            type_="AvailabilityZoneNotFound",
        )


def hints(tx: ReadTx, network_id: str) -> tuple[str, ...]:
    """Return the zones that a network's DHCP servers shall be in; none: any."""
    found: tuple[str, ...] = listed(
        tx.conn.execute(_HINTS, {"network": network_id}).scalar() or "[]"
    )
    return found


def of_networks(tx: ReadTx, ids: Collection[str]) -> dict[str, list[str]]:
    """Return for each network the zones in which hosts serve DHCP on it, by name."""
    found: dict[str, set[str]] = defaultdict(set)
    for network_id, zone in tx.conn.execute(_OF_NETWORKS, {"ids": list(ids)}) if ids else ():
        found[network_id].add(zone)
    return {network_id: sorted(zones) for network_id, zones in found.items()}
