"""Rules of ports."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_address
from typing import Any

from sqlalchemy import (
    ColumnElement,
    bindparam,
    delete,
    false,
    func,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.exc import IntegrityError

from lessor.errors import Conflict, InUse, Invalid
from lessor.model import VXLAN, FixedIp, Port
from lessor.net import parts
from lessor.net.dhcp_rules import check_dns_name, check_options
from lessor.net.keys import FIRST_IPV4, LAST_IPV4, MAPPED, key_of
from lessor.net.macs import parsed_mac
from lessor.store.address_column import block_of, last_of_block, raw
from lessor.store.addresses.allocation import Owner, claim, hold, let_go
from lessor.store.engine.dialect import among, attempt
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import binding
from lessor.store.hosts import unknown as unknownhosts
from lessor.store.listing import Listing, one_of
from lessor.store.networks import overlay
from lessor.store.networks.addressing import NetworkAddressing, network_not_found, read_addressing
from lessor.store.noun import Noun
from lessor.store.ports import compute_events, pairs, project_limits, servers, serving
from lessor.store.ports import names as guestnames
from lessor.store.ports import rows as portrows
from lessor.store.query import Query
from lessor.store.sharing import visible
from lessor.store.sharing.quotas import quota
from lessor.store.tables import addresses, networks, ports
from lessor.store.tagrows import forget as forget_tags
from lessor.store.values import FixedIpRequest, PortValues

ANY = (FixedIpRequest(),)
MOST_ADDRESSES = 16  # of one port; Neutron's max_fixed_ips_per_port was 5, metadata serves all
TICK_S = 1e-6  # between ports made together: their order says which is a VM's first NIC
PART = "ip_address_substr"
MOST_PARTS = 20  # of addresses, in one filter
MOST_PAIRS = 10  # Neutron's max_allowed_address_pair


def _has(condition: Any) -> Any:
    having = select(addresses.c.port_id).where(condition, addresses.c.port_id.is_not(None))
    return ports.c.id.in_(having)


# The blocks of 256 IPv4 addresses in which there are some: a look into the index for each.
_IPV4 = addresses.c.address.between(FIRST_IPV4, LAST_IPV4)
_FIRST_BLOCK = select(
    select(block_of(addresses.c.address))
    .where(_IPV4)
    .order_by(addresses.c.address)
    .limit(1)
    .scalar_subquery()
    .label("block")
).cte("blocks", recursive=True)
_NEXT_BLOCK = (
    select(block_of(addresses.c.address))
    .where(
        addresses.c.address > last_of_block(_FIRST_BLOCK.c.block), addresses.c.address <= LAST_IPV4
    )
    .order_by(addresses.c.address)
    .limit(1)
    .correlate(_FIRST_BLOCK)
    .scalar_subquery()
)
_BLOCKS = select(
    _FIRST_BLOCK.union_all(select(_NEXT_BLOCK).where(_FIRST_BLOCK.c.block.is_not(None))).c.block
)
_IPV6 = select(addresses.c.address).where(
    or_(addresses.c.address < FIRST_IPV4, addresses.c.address > LAST_IPV4)
)


def _with_parts(tx: ReadTx, texts: Sequence[object]) -> parts.Matches:
    """Return the keys of the addresses that have one of these parts.

    Raises:
        Invalid: there are too many.
    """
    if len(texts) > MOST_PARTS:
        raise Invalid(f"{len(texts)} parts of addresses to look for; most is {MOST_PARTS}")
    wanted = [str(text) for text in texts]
    blocks = tx.conn.execute(_BLOCKS).scalars()
    found = parts.having(wanted, (key[len(MAPPED) :] for key in blocks if key is not None))
    others = tx.conn.execute(_IPV6).scalars()
    return parts.Matches(
        [(MAPPED + first, MAPPED + last) for first, last in found.ranges],
        [MAPPED + one for one in found.single]
        + [key_of(one) for one in others if any(part in str(one) for part in wanted)],
    )


def _matching(values: tuple[Any, ...]) -> Any:
    found: parts.Matches = values[0]
    key = raw(addresses.c.address)
    inside = [key.between(first, last) for first, last in found.ranges]
    # Not `_has`: "port_id IS NOT NULL" would have SQLite go through the index of those.
    having = or_(*inside, among(key, "single", found.single))
    return ports.c.id.in_(select(addresses.c.port_id).where(having))


def _of_device(values: tuple[Any, ...]) -> Any:
    """Return the condition with that of the partial index, which is used only then."""
    found = one_of(ports.c.device_id, values)
    return found if "" in values else found & portrows.HAS_DEVICE


def _plugged(vif_type: str) -> Any:
    tunnelled = ports.c.network_id.in_(
        select(networks.c.id).where(networks.c.network_type == VXLAN)
    )
    bound, failed = ports.c.binding_host.is_not(None), ports.c.binding_failed
    known = {
        "unbound": ~bound,
        "binding_failed": bound & failed,
        "ovs": bound & ~failed & tunnelled,
        "tap": bound & ~failed & ~tunnelled,
    }
    return known.get(vif_type, false())


def _given(allocation: str) -> Any:
    known = {"immediate": _has(true()), "none": ~_has(true())}
    return known.get(allocation, false())


def _visible(project_id: str) -> ColumnElement[bool]:
    """Its own, and those on its own networks, whoever has them."""
    theirs = visible.on_own_network(ports.c.network_id, project_id)
    return or_(ports.c.project_id == project_id, theirs)


LISTING = Listing(
    "port",
    portrows.SELECT,
    ports.c.id,
    {column.name: column for column in portrows.PORT},
    {
        "ip_address": lambda values: _has(
            addresses.c.address.in_([ip_address(str(value)) for value in values])
        ),
        "device_id": _of_device,
        "subnet_id": lambda values: _has(one_of(addresses.c.subnet_id, values)),
        PART: _matching,
        "vif_type": lambda values: or_(false(), *(_plugged(str(value)) for value in values)),
        "ip_allocation": lambda values: or_(false(), *(_given(str(value)) for value in values)),
    },
    nullable={"binding_host": ""},
    visible=_visible,
)


def find(tx: ReadTx, query: Query) -> list[Port]:
    """Return the ports that a query asks for."""
    if PART in query.filters:
        known = {PART: (_with_parts(tx, query.filters[PART]),)}
        query = replace(query, filters={**query.filters, **known})
    return portrows.read(tx, LISTING.rows(tx, query))


# --- creation -------------------------------------------------------------------------------------


def create_many(tx: Tx, many: Sequence[PortValues]) -> list[Port]:
    """Make ports, with addresses, all or none."""
    networks_by_id: dict[str, NetworkAddressing] = {}
    bound: dict[str, set[str | None]] = {}
    for values in many:
        if "network_id" not in values:
            raise Invalid("a port needs a network_id")
        key = values["network_id"]
        if key not in networks_by_id:
            networks_by_id[key] = _usable_network(tx, key, values)
        bound.setdefault(key, set()).add(values.get("binding_host") or None)
    failing = {
        key: binding.admit(tx, key, {host for host in hosts if host})
        for key, hosts in bound.items()
    }
    instances = guestnames.read(tx, (values.get("device_id", "") for values in many))
    made = []
    for n, values in enumerate(many):
        key = values["network_id"]
        fails = values.get("binding_host") in failing[key]
        made.append(
            _create(tx, networks_by_id[key], values, tx.now + n * TICK_S, instances, fails=fails)
        )
    for key, hosts in bound.items():
        tx.concerns(portrows.concerned(tx, networks_by_id[key], hosts))
    return made


def _usable_network(tx: Tx, network_id: str, values: PortValues) -> NetworkAddressing:
    """Read a network that the caller may use; it may be shared no more since it was checked."""
    network = read_addressing(tx, network_id)
    acts_for = values.get("acts_for")
    if acts_for != network.project_id and not visible.sees(tx, "network", network_id, acts_for):
        raise network_not_found(network_id)
    return network


def _create(
    tx: Tx,
    network: NetworkAddressing,
    values: PortValues,
    now: float,
    instances: guestnames.Known,
    *,
    fails: bool,
) -> Port:
    wanted = values.get("fixed_ips", ANY if network.subnets else ())
    asked = Port(
        id=values.get("id") or str(uuid.uuid4()),
        network_id=network.id,
        mac_address="",
        project_id=values.get("project_id", ""),
        port_security_enabled=network.port_security_enabled,
        binding_failed=fails,
        created_at=now,
    )
    port = guestnames.named(tx, _changed(asked, values, now), known=instances)
    acts_for = values.get("acts_for")
    _check_pairs(port, values)
    overlay.check_owner(network, port.device_owner)
    project_limits.check(tx, network, None, port, acts_for)
    _check_quota(tx, port.project_id, len(wanted))
    if port.mac_address:
        pairs.check_mac_free(tx, network, port, acts_for)
    mac = portrows.add(tx, network, port, acts_for=acts_for)
    if port.allowed_address_pairs:
        pairs.take(tx, network, None, replace(port, mac_address=mac), acts_for)
    owner = Owner(network.id, port.id, mac, port.binding_host, port.project_id, acts_for)
    fixed = tuple(_claim(tx, network, owner, _checked(wanted)))
    if port.binding_host is not None and network.own_servers:
        servers.ensure_server(tx, network, port.binding_host)
    tx.touch("ports", port.id)
    by_dhcp = any(network.subnet(one.subnet_id).enable_dhcp for one in fixed)
    host = port.binding_host if port.admin_state_up else None
    pending = portrows.awaited(host, "", "" if by_dhcp else None)
    return replace(port, mac_address=mac, fixed_ips=fixed, pending=pending)


def _claim(
    tx: Tx,
    network: NetworkAddressing,
    owner: Owner,
    wanted: Sequence[FixedIpRequest],
    *,
    at: int = 0,
) -> list[FixedIp]:
    """Give a port the addresses it asks for; positions count from `at`."""
    if owner.acts_for is not None:
        project_limits.check_addresses(tx, network, wanted)
    return claim(tx, network, owner, wanted, at=at)


def _changed(port: Port, values: PortValues, now: float) -> Port:
    """Return a port with what is given, its addresses aside."""
    changes: dict[str, Any] = {
        name: value for name, value in values.items() if name not in _NOT_PLAIN
    }
    if values.get("mac_address"):
        changes["mac_address"] = parsed_mac(values["mac_address"])
    if "binding_host" in values:
        changes["binding_host"] = values["binding_host"] or None
    if "binding_profile" in values:
        changes["binding_profile"] = dict(values["binding_profile"])
    if "extra_dhcp_opts" in values:
        check_options(values["extra_dhcp_opts"])
        changes["extra_dhcp_opts"] = tuple(values["extra_dhcp_opts"])
    if "allowed_address_pairs" in values:
        changes["allowed_address_pairs"] = _pairs(values)
    if "dns_name" in values:
        check_dns_name(values["dns_name"])
    return replace(port, **changes, updated_at=now)


_NOT_PLAIN = frozenset(
    {
        "id", "network_id", "mac_address", "fixed_ips", "binding_host", "binding_profile",
        "extra_dhcp_opts", "allowed_address_pairs", "acts_for",
    }
)  # fmt: skip


def _pairs(values: PortValues) -> tuple[Any, ...]:
    given = values["allowed_address_pairs"]
    if len(given) > MOST_PAIRS:
        raise Invalid(
            f"{len(given)} allowed address pairs; most is {MOST_PAIRS}",
            type_="AllowedAddressPairExhausted",
        )
    return tuple(
        pair if pair.mac is None else replace(pair, mac=parsed_mac(pair.mac)) for pair in given
    )


def _check_pairs(after: Port, values: PortValues) -> None:
    """Refuse allowed address pairs of a port without port security, whichever comes first.

    Raises:
        Conflict: it has both now.
    """
    asked = values.keys() & {"allowed_address_pairs", "port_security_enabled"}
    if asked and after.allowed_address_pairs and not after.port_security_enabled:
        raise Conflict(
            f"port {after.id} without port security may send with any address, so it has no "
            "allowed address pairs; give [], or let port security be on",
            type_="AddressPairAndPortSecurityRequired",
        )


def _checked(wanted: Sequence[FixedIpRequest]) -> Sequence[FixedIpRequest]:
    if len(wanted) > MOST_ADDRESSES:
        raise Invalid(f"{len(wanted)} addresses for one port; most is {MOST_ADDRESSES}")
    return wanted


_USED = (
    select(func.count())
    .select_from(addresses.join(ports, ports.c.id == addresses.c.port_id))
    .where(ports.c.server_of.is_(None))
)


def _check_quota(tx: Tx, project_id: str, more: int) -> None:
    quota = tx.settings.fixed_ips_quota
    if quota < 0 or not more:
        return
    used = tx.conn.execute(_USED.where(ports.c.project_id == project_id)).scalar_one()
    if used + more > quota:
        raise Conflict(
            f"{more} more addresses for project {project_id!r}: it has {used} of {quota} "
            "([quota] fixed_ips)",
            type_="OverQuota",
        )


# --- changes --------------------------------------------------------------------------------------


def update_one(tx: Tx, port_id: str, values: PortValues) -> Port:
    """Change a port. What stays of its addresses is not touched.

    Raises:
        NotFound: there is no such port.
        Invalid: a value is malformed, or can't change.
        Conflict: its MAC is to change while it is ACTIVE, or the new MAC or an address is in use.
    """
    before = portrows.get(tx, port_id)
    for name in ("id", "network_id"):
        if name in values and values[name] != getattr(before, name):
            raise Invalid(f"{name} of port {port_id} can't be changed; make another port")
    after = guestnames.named(tx, _changed(before, values, before.updated_at), before)
    _check_pairs(after, values)
    network = read_addressing(tx, before.network_id)
    if "fixed_ips" in values:
        after = replace(after, fixed_ips=_planned(before, _checked(values["fixed_ips"])))
    if after == before and len(after.fixed_ips) == len(values.get("fixed_ips", after.fixed_ips)):
        return _checked_binding(tx, before)
    _check_server(tx, before, after, values)
    acts_for = values.get("acts_for")
    if before.device_owner != after.device_owner:
        overlay.check_owner(network, after.device_owner)
    project_limits.check(tx, network, before, after, acts_for)
    after = replace(after, updated_at=tx.now)
    _write(tx, network, before, after, acts_for)
    pairs.take(tx, network, before, after, acts_for)
    if "fixed_ips" in values:
        fixed = _readdress(tx, network, before, after, values["fixed_ips"], acts_for=acts_for)
        after = replace(after, fixed_ips=fixed)
    if before.binding_host != after.binding_host:
        _move(tx, network, before, after)
    compute_events.changed(tx, before, after)
    tx.touch("ports", port_id)
    hosts = [before.binding_host, after.binding_host, *portrows.prepared_hosts(tx, port_id)]
    tx.concerns(portrows.concerned(tx, network, hosts))
    return _checked_binding(tx, portrows.get(tx, port_id))


def _checked_binding(tx: Tx, port: Port) -> Port:
    return binding.check(tx, port) if port.binding_failed else port


def _check_server(tx: Tx, before: Port, after: Port, values: PortValues) -> None:
    plain = replace(after, name=before.name, description=before.description)
    if "fixed_ips" not in values and plain == before:
        return
    if host := servers.is_server(tx, before.id):
        raise InUse(
            f"port {before.id} is the DHCP server's of host {host} on network {before.network_id}; "
            "only its name and description can be changed",
            type_="PortInUse",
        )


def _write(
    tx: Tx, network: NetworkAddressing, before: Port, after: Port, acts_for: str | None
) -> None:
    columns = portrows.columns_of(after)
    if before.mac_address != after.mac_address and before.status == "ACTIVE":
        raise Conflict(
            f"port {after.id} is ACTIVE, so its MAC can't change; stop its VM and unbind it first",
            type_="PortBound",
        )
    if any(getattr(before, k) != getattr(after, k) for k in ("mac_address", "binding_host")):
        columns |= _UNKNOWN
        serving.forget_port(tx, after.id)
    if before.binding_host != after.binding_host:
        unknownhosts.ensure(tx, {after.binding_host})
    if before.binding_host != after.binding_host:
        columns["binding_failed"] = after.binding_host is not None  # until it is judged
    change = update(ports).where(ports.c.id == after.id).values(**columns)
    if before.mac_address == after.mac_address:
        tx.conn.execute(change)
        return
    pairs.check_mac_free(tx, network, after, acts_for)
    try:
        with attempt(tx.conn):
            tx.conn.execute(change)
    except IntegrityError as error:
        raise portrows.mac_in_use(tx, network.segment, after.mac_address, acts_for) from error


_UNKNOWN = {"wired": None, "served": None, "wired_pending": "", "served_pending": ""}


def _planned(before: Port, wanted: Sequence[FixedIpRequest]) -> tuple[FixedIp, ...]:
    """Return what stays of a port's addresses, in the order wanted."""
    kept = _kept(before.fixed_ips, wanted)
    return tuple(kept[n] for n in sorted(kept))


def _kept(have: Sequence[FixedIp], wanted: Sequence[FixedIpRequest]) -> dict[int, FixedIp]:
    """Return which present address meets which wish: the exact wishes choose first."""
    rest = list(have)
    kept: dict[int, FixedIp] = {}
    order = sorted(
        range(len(wanted)), key=lambda n: (not wanted[n].address, not wanted[n].subnet_id)
    )
    for n in order:
        want = wanted[n]
        found = next((fixed for fixed in rest if _meets(fixed, want)), None)
        if found is not None:
            rest.remove(found)
            kept[n] = found
    return kept


def _meets(fixed: FixedIp, want: FixedIpRequest) -> bool:
    return want.address in (None, fixed.address) and want.subnet_id in (None, fixed.subnet_id)


def _readdress(
    tx: Tx,
    network: NetworkAddressing,
    before: Port,
    after: Port,
    wanted: Sequence[FixedIpRequest],
    *,
    acts_for: str | None,
) -> tuple[FixedIp, ...]:
    """Release the addresses that are no longer wanted, claim the new ones."""
    kept = _kept(before.fixed_ips, wanted)
    gone = [fixed for fixed in before.fixed_ips if fixed not in kept.values()]
    _check_quota(tx, after.project_id, max(0, len(wanted) - len(before.fixed_ips)))
    let_go(tx, network, Owner(network.id, before.id, before.mac_address, before.binding_host), gone)
    project, host = after.project_id, after.binding_host
    owner = Owner(network.id, after.id, after.mac_address, host, project, acts_for)
    found = []
    for n, want in enumerate(wanted):
        if n in kept:
            here = addresses.c.address == kept[n].address, addresses.c.network_id == network.id
            tx.conn.execute(update(addresses).where(*here).values(position=n))
        found.append(kept.get(n) or _claim(tx, network, owner, [want], at=n)[0])
    if gone or len(kept) < len(wanted):
        tx.conn.execute(update(ports).where(ports.c.id == after.id).values(**_UNKNOWN))
        serving.forget_port(tx, after.id)
    return tuple(found)


def _move(tx: Tx, network: NetworkAddressing, before: Port, after: Port) -> None:
    """Take a port from one host to another; the former may serve its addresses for a while."""
    if network.overlay:  # every host that takes part knows every port
        return
    old = before.binding_host
    if old is not None:
        tx.gone("port", before.id, network.id, host=old)
        if network.multi_host:
            for fixed in after.fixed_ips:
                hold(tx, network.id, fixed.address, old)
        if network.own_servers:
            servers.drop_unused_server(tx, network, old)
    if after.binding_host is not None and network.own_servers:
        servers.ensure_server(tx, network, after.binding_host)


# --- deletion -------------------------------------------------------------------------------------


def delete_one(tx: Tx, port_id: str) -> None:
    """Delete a port; its addresses are freed once no lease of them can be alive.

    Raises:
        NotFound: there is none.
        InUse: it is a DHCP server's own.
    """
    port = portrows.get(tx, port_id)
    if host := servers.is_server(tx, port_id):
        raise InUse(
            f"port {port_id} is the DHCP server's of host {host} on network {port.network_id}; it "
            "goes with the last port of that host",
            type_="PortInUse",
        )
    network = read_addressing(tx, port.network_id)
    hosts = [port.binding_host, *portrows.prepared_hosts(tx, port_id)]
    tx.concerns(portrows.concerned(tx, network, hosts))
    let_go(
        tx, network, Owner(network.id, port_id, port.mac_address, port.binding_host), port.fixed_ips
    )
    tx.conn.execute(delete(ports).where(ports.c.id == port_id))
    compute_events.deleted(tx, port)
    forget_tags(tx, port_id)
    tx.gone("port", port_id, network.id)
    if port.binding_host is not None and network.own_servers:
        servers.drop_unused_server(tx, network, port.binding_host)


_PLACE = select(ports.c.network_id, ports.c.binding_host).where(ports.c.id == bindparam("key"))


def _shown_on(tx: Tx, port_id: str) -> set[str | None]:
    network_id, host = tx.conn.execute(_PLACE, {"key": port_id}).one()
    return portrows.concerned(tx, read_addressing(tx, network_id), [host])


NOUN = Noun(
    name="port",
    table=ports,
    get=portrows.get,
    find=find,
    create=create_many,
    update=update_one,
    delete=delete_one,
    visible=_visible,
    quota=quota(ports, 500, ports.c.server_of.is_(None)),  # DHCP servers' own are ours
    shown_on=_shown_on,
)
