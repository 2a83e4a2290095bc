"""Rules of networks."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from lessor.errors import Conflict, Forbidden, InUse, Invalid
from lessor.model import DHCP_OWNER, FLAT, VXLAN, Network
from lessor.settings import ServerSettings
from lessor.store.addresses.allocation import hold
from lessor.store.columns import packed
from lessor.store.engine.dialect import attempt
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import dhcp_candidates
from lessor.store.listing import Listing
from lessor.store.networks import overlay, vnis, zones
from lessor.store.networks.addressing import check_host, hosts_taking_part, network_not_found
from lessor.store.networks.rows import NETWORK, network_of
from lessor.store.noun import Noun
from lessor.store.ports import project_limits
from lessor.store.query import Query
from lessor.store.sharing import rbac, visible
from lessor.store.sharing.quotas import quota
from lessor.store.sharing.shareable import Shareable
from lessor.store.tables import addresses, holds, hosts, networks, pools, ports, subnets, tombstones
from lessor.store.tagrows import forget_network
from lessor.store.values import NetworkValues

LEAST_MTU = 68  # of a network with IPv4 subnets: RFC 791 section 3.2

_SELECT = select(*NETWORK)


def _visible(project_id: str) -> ColumnElement[bool]:
    return visible.own_or_shared(visible.NETWORK, networks, project_id)


LISTING = Listing(
    "network",
    _SELECT,
    networks.c.id,
    {column.name: column for column in NETWORK},
    nullable={"physical_network": "", "segmentation_id": 0, "host": ""},
    visible=_visible,
)
_ONE = _SELECT.where(networks.c.id == bindparam("key"))
_SUBNET_IDS = (
    select(subnets.c.network_id, subnets.c.id)
    .where(subnets.c.network_id.in_(bindparam("keys", expanding=True)))
    .order_by(subnets.c.created_at, subnets.c.id)
)


def get(tx: ReadTx, network_id: str) -> Network:
    """Return a network, or raise NotFound."""
    row = tx.conn.execute(_ONE, {"key": network_id}).first()
    if row is None:
        raise network_not_found(network_id)
    return network_of(row)


def find(tx: ReadTx, query: Query) -> list[Network]:
    """Return the networks that a query asks for; those shared with its caller are `shared`."""
    project_id = query.visible_to
    if project_id is None:
        return [network_of(row) for row in LISTING.rows(tx, query)]
    listing = rbac.listing_for(LISTING, visible.NETWORK, networks, project_id)
    found = [network_of(row) for row in listing.rows(tx, query)]
    return rbac.as_seen(tx, visible.NETWORK, found, project_id)


def subnet_ids(tx: ReadTx, network_ids: Collection[str]) -> dict[str, list[str]]:
    """Return the subnets of each network, oldest first."""
    found: dict[str, list[str]] = {network_id: [] for network_id in network_ids}
    for network_id, subnet_id in tx.conn.execute(_SUBNET_IDS, {"keys": list(network_ids)}):
        found[network_id].append(subnet_id)
    return found


def create(tx: Tx, values: NetworkValues) -> Network:
    """Make a network.

    Raises:
        NotFound: a zone that is asked for has no host.
        Forbidden: it would be on a wire that is not for projects, or a project chooses what is its
            owner's on one that projects share.
        Invalid: there is no such type, the physical network of a flat one has no bridge, or a
            value is out of range.
        Conflict: its VNI is in use.
        Unavailable: no VNI is free.
    """
    kind = overlay.type_of(tx, values)
    zones.check(tx, values.get("availability_zone_hints", ()))
    if kind == FLAT and "acts_for" in values:
        _check_shared_wire("a flat network", cast(dict[str, Any], values))
    own = overlay.shape(tx, values) if kind == VXLAN else _flat(tx, values)
    network = Network(
        **cast(Any, _plain(values))
        | own
        | {
            "id": values.get("id") or str(uuid.uuid4()),
            "network_type": kind,
            "created_at": tx.now,
            "updated_at": tx.now,
        }
    )
    if tx.conn.execute(_ONE, {"key": network.id}).first():
        raise Conflict(f"there is a network {network.id} already")
    try:
        with attempt(tx.conn):
            tx.conn.execute(insert(networks), _row(network))
    except IntegrityError as error:
        raise vnis.in_use(tx, network.segmentation_id, error, values.get("acts_for")) from error
    if network.shared:
        rbac.share(tx, visible.NETWORK, network.id, shared=True)
    tx.touch("form", network.id)
    tx.concerns([network.host])
    return network


def _row(network: Network) -> dict[str, Any]:
    row = {column.name: getattr(network, column.name) for column in NETWORK}
    return row | {"availability_zone_hints": packed(network.availability_zone_hints)}


def _plain(values: NetworkValues) -> dict[str, Any]:
    names = (
        "name", "project_id", "description", "admin_state_up", "shared", "port_security_enabled",
        "dns_domain", "availability_zone_hints",
    )  # fmt: skip
    return {name: value for name, value in values.items() if name in names}


def _flat(tx: Tx, values: NetworkValues) -> dict[str, Any]:
    """Return what a new flat network has of its own kind."""
    if values.get("segmentation_id") is not None:
        raise Invalid("a flat network has no segmentation id; leave it out")
    settings = tx.settings
    multi_host = values.get("multi_host", settings.multi_host)
    return {
        "physical_network": _physical(settings, values),
        "mtu": _mtu(settings, values.get("mtu")),
        "multi_host": multi_host,
        "share_address": values.get("share_address", settings.share_dhcp_address),
        "host": _owner(tx, values, multi_host=multi_host),
    }


def _physical(settings: ServerSettings, values: NetworkValues) -> str:
    asked = values.get("physical_network")
    known = overlay.physical_networks(settings, values)
    if not known:
        raise Invalid(
            "network not created, bridge required: flat_network_bridge (or flat_mappings) must be "
            "set for a flat network, and there is no default"
        )
    if asked is not None and asked not in known:
        raise Invalid(
            f"network not created: physical network {asked!r} has no bridge, for which there is no "
            f"default; set flat_network_bridge or flat_mappings (known: {', '.join(known)})"
        )
    return asked or known[0]


def _mtu(settings: ServerSettings, asked: int | None) -> int:
    """Return the MTU of a flat network: the wire's, or less if asked.

    Raises:
        Invalid: the wire carries no such packets.
    """
    most = settings.global_physnet_mtu
    if (asked or most) > most:
        raise Invalid(f"mtu {asked} is more than the wire carries, global_physnet_mtu={most}")
    return asked or most


def check_mtu(network_id: str, mtu: int) -> None:
    """Refuse that a network of an MTU has subnets: a network without any may have a smaller one.

    Raises:
        Conflict: IPv4 needs more.
    """
    if mtu < LEAST_MTU:
        raise Conflict(
            f"mtu {mtu} of network {network_id} is less than {LEAST_MTU}, which its IPv4 subnets "
            "need; set a larger one",
            type_="NetworkMTUSubnetConflict",
        )


# --- owners (semantics.md A12.4) ------------------------------------------------------------------


def _owner(tx: Tx, values: NetworkValues, *, multi_host: bool) -> str | None:
    asked = values.get("host")
    if asked is not None:
        check_host(tx, asked)
        if multi_host:
            raise Invalid(f"a multi_host network is not owned by one host; leave out {asked!r}")
        return asked
    return None if multi_host else choose_owner(tx)


def choose_owner(tx: Tx) -> str | None:
    """Return the host for a network that has none: the configured one, or the least loaded.

    None: there is no such host yet; the next one that reports takes it.
    """
    configured = tx.settings.network_host
    names = {configured} if configured else set()
    if not tx.conn.execute(
        select(hosts.c.name).where(hosts.c.name.in_(names), hosts.c.added)
    ).first():
        names = dhcp_candidates.owners(tx)
    load = (
        select(func.count()).where(networks.c.host == hosts.c.name).correlate(hosts)
    ).scalar_subquery()
    chosen = select(hosts.c.name).where(hosts.c.name.in_(names)).order_by(load, hosts.c.name)
    return tx.conn.execute(chosen.limit(1)).scalar()


_UNOWNED = (
    select(networks.c.id)
    .where(
        networks.c.host.is_(None),
        ~networks.c.multi_host,
        networks.c.network_type == FLAT,
    )
    .order_by(networks.c.created_at, networks.c.id)
)


def unowned(tx: ReadTx) -> bool:
    """Tell whether a single-host network has no host."""
    return tx.conn.execute(_UNOWNED.limit(1)).first() is not None


def claim_unowned(tx: Tx) -> None:
    """Give every network that has no host one, as far as there are any."""
    for (network_id,) in tx.conn.execute(_UNOWNED).all():
        host = choose_owner(tx)
        if host is None:
            return
        _write(tx, network_id, {"host": host})
        tx.touch("form", network_id)
        tx.concerns([host, *hosts_taking_part(tx, network_id)])


# --- changes --------------------------------------------------------------------------------------

# Troubles depend on these.
_SERVED_BY = frozenset({"name", "host", "multi_host"})
_FORM = frozenset({"host", "multi_host", "share_address"})


def update_one(tx: Tx, network_id: str, values: NetworkValues) -> Network:
    """Change a network.

    Raises:
        NotFound: there is none.
        Invalid: what can't change is to be changed, or a value is out of range.
        Forbidden: a project chooses what is not its own on a wire that projects share.
        InUse: multi_host or share_address is to change while there are ports.
        Conflict: the MTU is to be too small for its subnets.
    """
    before = get(tx, network_id)
    asked = {k: v for k, v in values.items() if k != "acts_for"}
    if "mtu" in asked:
        asked["mtu"] = _new_mtu(tx, before, values["mtu"])
    changes = {k: v for k, v in asked.items() if getattr(before, k) != v}
    _check_fixed(before, changes)
    _check_type(before, changes, by_project="acts_for" in values)
    if changes.keys() & {"multi_host", "share_address"}:
        _check_empty(tx, network_id, "multi_host and share_address can only change without")
        if changes.get("multi_host"):
            changes["host"] = None
    if changes.get("host"):
        check_host(tx, cast(str, changes["host"]))
        if changes.get("multi_host", before.multi_host):
            raise Invalid(f"multi_host network {network_id} is not owned by one host")
    if not changes:
        return before
    tx.concerns(hosts_taking_part(tx, network_id))
    _write(tx, network_id, changes | {"updated_at": tx.now})
    if "host" in changes and before.host is not None:
        _hold_all(tx, network_id, before.host)
        unserved = update(ports).where(ports.c.network_id == network_id).values(served=None)
        tx.conn.execute(unserved)
    if before.multi_host and changes.get("multi_host") is False and "host" not in changes:
        claim_unowned(tx)
    tx.touch("form" if changes.keys() & _FORM else "networks", network_id)
    tx.concerns(hosts_taking_part(tx, network_id))
    if changes.keys() & _SERVED_BY:
        tx.after_commit(tx.fleet.forget_troubles)
    return get(tx, network_id)


def _new_mtu(tx: Tx, before: Network, asked: int) -> int:
    tunnelled = before.is_overlay
    found = overlay.mtu(tx, asked) if tunnelled else _mtu(tx.settings, asked)
    if subnet_ids(tx, [before.id])[before.id]:
        check_mtu(before.id, found)
    return found


def _check_fixed(before: Network, changes: dict[str, Any]) -> None:
    for name in ("id", "network_type", "physical_network", "segmentation_id"):
        if name in changes:
            raise Invalid(
                f"{name} of network {before.id} is {getattr(before, name)!r} and can't be changed"
            )


def _check_type(before: Network, changes: dict[str, Any], *, by_project: bool) -> None:
    if before.is_overlay:
        overlay.check_change(before.id, changes)
    elif by_project:
        _check_shared_wire(f"flat network {before.id}", changes)


def _check_shared_wire(which: str, asked: Mapping[str, Any]) -> None:
    """Refuse a project what it may not choose of a flat network, where others are concerned.

    One DHCP server answers all networks of a bridge, with one set of names and domains: what is in
    a domain of VMs it never asks upstream, whoever asks. Back to dhcp_domain is always allowed.
    """
    if asked.get("port_security_enabled") is False:
        raise project_limits.unguarded(f"new ports of {which}")
    if domain := asked.get("dns_domain"):
        raise Forbidden(
            f"dns_domain {domain!r} of {which}: all VMs of its bridge would be answered names in "
            "it from there alone, whoever's they are; leave it out (dhcp_domain), ask an "
            "administrator to set it, or take a vxlan network"
        )


def _write(tx: Tx, network_id: str, changes: dict[str, Any]) -> None:
    tx.conn.execute(update(networks).where(networks.c.id == network_id).values(**changes))
    if "shared" in changes:
        rbac.share(tx, visible.NETWORK, network_id, shared=changes["shared"])


def _hold_all(tx: Tx, network_id: str, host: str) -> None:
    """Hold every address for the former network host, which may still serve it."""
    used = select(addresses.c.address).where(
        addresses.c.network_id == network_id, addresses.c.port_id.is_not(None)
    )
    for (address,) in tx.conn.execute(used).all():
        hold(tx, network_id, address, host)


def _others(network_id: str) -> Any:
    return ports.c.network_id == network_id, ports.c.device_owner != DHCP_OWNER


def _check_empty(tx: ReadTx, network_id: str, refusal: str) -> None:
    count = tx.conn.execute(select(func.count()).where(*_others(network_id))).scalar_one()
    if count:
        raise InUse(
            f"{refusal} ports, and network {network_id} has {count}; delete them first "
            f"(lessor port list --network {network_id})",
            type_="NetworkInUse",
        )


def delete_one(tx: Tx, network_id: str) -> None:
    """Delete a network with its subnets and DHCP servers' ports.

    Raises:
        NotFound: there is none.
        InUse: it has ports.
    """
    get(tx, network_id)
    count = tx.conn.execute(select(func.count()).where(*_others(network_id))).scalar_one()
    if count:
        raise InUse(
            f"network {network_id} still has {count} port{'s' * (count != 1)}; delete them first "
            f"(lessor port list --network {network_id})",
            type_="NetworkInUse",
        )
    tx.concerns(hosts_taking_part(tx, network_id))
    forget_network(tx, network_id)
    for table in (addresses, ports, holds, tombstones):
        tx.conn.execute(delete(table).where(table.c.network_id == network_id))
    inside = select(subnets.c.id).where(subnets.c.network_id == network_id)
    tx.conn.execute(delete(pools).where(pools.c.subnet_id.in_(inside)))
    tx.conn.execute(delete(subnets).where(subnets.c.network_id == network_id))
    rbac.forget(tx, network_id)
    tx.conn.execute(delete(networks).where(networks.c.id == network_id))


def create_many(tx: Tx, many: Sequence[NetworkValues]) -> list[Network]:
    """Make networks, all or none."""
    return [create(tx, values) for values in many]


def _users(network_id: str) -> Select[Any]:
    """Ask for the projects that have ports of a network."""
    theirs = ports.c.server_of.is_(None), ports.c.device_owner.not_like("network:%")
    return select(ports.c.project_id).where(ports.c.network_id == network_id, *theirs).distinct()


NOUN = Noun(
    name=visible.NETWORK,
    table=networks,
    get=get,
    find=find,
    create=create_many,
    update=update_one,
    delete=delete_one,
    visible=_visible,
    quota=quota(networks, 100),
    shareable=Shareable(networks, "network", "ports", _users),
    shown_on=hosts_taking_part,
)
