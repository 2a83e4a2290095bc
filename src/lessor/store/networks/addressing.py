"""The addressing of a network: its subnets and their pools, as rules of ports need them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    bindparam,
    case,
    exists,
    literal,
    or_,
    select,
)

from lessor.errors import Invalid, NotFound
from lessor.model import DHCP_OWNER, FLAT, VXLAN
from lessor.net.address import Address, Block
from lessor.net.keys import block_at, key_of, number_of
from lessor.net.prefixes import Extent, gaps
from lessor.store.engine.tx import ReadTx
from lessor.store.ports.pair_ranges import PairRange, PairRanges
from lessor.store.tables import (
    address_pairs,
    bindings,
    hosts,
    meta,
    networks,
    pools,
    ports,
    subnets,
)


@dataclass(slots=True)
class PoolRange:
    """An allocation pool, from `first` to `last`.

    Attributes:
        next_fresh: no address from it on was ever used; None: each one was.
        next_for: `next_fresh` of a project that passed pairs of others, within one request.
    """

    first: Address
    last: Address
    next_fresh: Address | None
    next_for: dict[str, Address | None] = field(default_factory=dict)

    def fresh_for(self, project: str) -> Address | None:
        """Return where a project looks for an address that was never used; None: nowhere."""
        if self.next_fresh is None or project not in self.next_for:
            return self.next_fresh
        passed = self.next_for[project]
        return None if passed is None else max(passed, self.next_fresh, key=key_of)

    def after(self, address: Address) -> Address | None:
        """Return the address that follows on one; None: it lies beyond the pool."""
        return address + 1 if key_of(address) < key_of(self.last) else None


@dataclass(slots=True)
class SubnetRange:
    """The block of a subnet; `exhausted_for`: projects for which this request found none free."""

    id: str
    first: Address
    last: Address
    prefix: int
    enable_dhcp: bool
    pools: list[PoolRange] = field(default_factory=list)
    exhausted_for: set[str] = field(default_factory=set)

    def __contains__(self, address: Address) -> bool:
        return key_of(self.first) <= key_of(address) <= key_of(self.last)

    @property
    def cidr(self) -> Block:
        """Its block."""
        return block_at(self.first, self.prefix)


@dataclass(slots=True)
class NetworkAddressing:
    """A network with the ranges of its subnets, oldest first."""

    id: str
    project_id: str
    segment: str
    host: str | None
    multi_host: bool
    share_address: bool
    port_security_enabled: bool
    subnets: list[SubnetRange] = field(default_factory=list)
    overlay: bool = False
    dhcp_hosts: tuple[str, ...] = ()  # of an overlay network: where its DHCP servers are
    recovery: str = ""  # since when hosts are awaited after a restore; "": they are not
    pair_ranges: tuple[PairRange, ...] | None = None  # on its wire; None: not read yet
    others_pairs: dict[str, PairRanges] = field(default_factory=dict)  # by the project kept out
    _pooled: list[Extent] | None = None

    @property
    def own_servers(self) -> bool:
        """Whether each host with ports has a server address of its own."""
        return self.multi_host and not self.share_address

    @property
    def wire(self) -> str | None:
        """The physical network of a flat network; None: it is an overlay network."""
        return None if self.overlay else self.segment.removeprefix(_FLAT)

    def beyond_pools(self, part: Extent) -> list[Extent]:
        """Return the parts of a range that lie in no allocation pool of the network, in order."""
        if self._pooled is None:
            pools = (pool for subnet in self.subnets for pool in subnet.pools)
            self._pooled = sorted((number_of(pool.first), number_of(pool.last)) for pool in pools)
        low = bisect_left(self._pooled, part[0], key=lambda pool: pool[1])
        high = bisect_right(self._pooled, part[1], key=lambda pool: pool[0])
        return list(gaps([part], self._pooled[low:high]))

    def served_by(self, binding_host: str | None) -> tuple[str, ...]:
        """Return the hosts whose DHCP servers serve a port bound to `binding_host`."""
        if self.overlay:
            return self.dhcp_hosts
        host = binding_host if self.multi_host else self.host
        return (host,) if host is not None else ()

    def subnet(self, subnet_id: str) -> SubnetRange:
        """Return a subnet of the network.

        Raises:
            Invalid: it has no such subnet.
        """
        found = next((subnet for subnet in self.subnets if subnet.id == subnet_id), None)
        if found is None:
            raise Invalid(
                f"network {self.id} has no subnet {subnet_id}; it has "
                + (", ".join(subnet.id for subnet in self.subnets) or "none"),
                type_="InvalidIpForNetwork",
            )
        return found

    def subnet_of(self, address: Address) -> SubnetRange:
        """Return the subnet that an address lies in.

        Raises:
            Invalid: it lies in none.
        """
        found = next((subnet for subnet in self.subnets if address in subnet), None)
        if found is None:
            blocks = ", ".join(str(subnet.cidr) for subnet in self.subnets) or "none"
            raise Invalid(
                f"address {address} lies in no subnet of network {self.id}; it has {blocks}",
                type_="InvalidIpForNetwork",
            )
        return found


_FLAT = "flat:"  # how the segment of a flat network begins
_OWN = "network:"  # how that of others does


def segment_of(network_id: str, network_type: str, physical_network: str | None) -> str:
    """Name the broadcast domain of a network; flat ones of one physical network share it."""
    return f"{_FLAT}{physical_network}" if network_type == FLAT else f"{_OWN}{network_id}"


RECOVERY = "recovery"  # noted since when hosts are awaited after a restore: see `recovery`
_SEGMENT = case(
    (networks.c.network_type == FLAT, literal(_FLAT).concat(networks.c.physical_network)),
    else_=literal(_OWN).concat(networks.c.id),
)
_ADDRESSING = (
    select(
        select(meta.c.value).where(meta.c.name == RECOVERY).scalar_subquery(),
        exists(select(1).where(address_pairs.c.segment == _SEGMENT)),
        networks.c.project_id,
        networks.c.network_type,
        networks.c.physical_network,
        networks.c.host,
        networks.c.multi_host,
        networks.c.share_address,
        networks.c.port_security_enabled,
        subnets.c.id,
        subnets.c.first,
        subnets.c.last,
        subnets.c.prefix,
        subnets.c.enable_dhcp,
        pools.c.first,
        pools.c.last,
        pools.c.next_fresh,
    )
    .select_from(
        networks.outerjoin(subnets, subnets.c.network_id == networks.c.id).outerjoin(
            pools, pools.c.subnet_id == subnets.c.id
        )
    )
    .where(networks.c.id == bindparam("network"))
    .order_by(subnets.c.created_at, subnets.c.id, pools.c.first)
)


def read_addressing(tx: ReadTx, network_id: str) -> NetworkAddressing:
    """Read the addressing of a network.

    Raises:
        NotFound: there is no such network.
    """
    rows = tx.conn.execute(_ADDRESSING, {"network": network_id}).all()
    if not rows:
        raise network_not_found(network_id)
    recovery, pairs, project, kind, physical, host, multi, share, security, *_ = rows[0]
    segment = segment_of(network_id, kind, physical)
    found = NetworkAddressing(network_id, project, segment, host, multi, share, security)
    found.recovery = recovery or ""
    found.pair_ranges = None if pairs else ()
    if kind == VXLAN:
        found.overlay = True
        found.dhcp_hosts = dhcp_hosts(tx, network_id)
    for row in rows:
        _add(found, row[9:])
    return found


def _add(found: NetworkAddressing, row: Any) -> None:
    subnet_id, first, last, prefix, enable_dhcp, low, high, fresh = row
    if subnet_id is None:
        return
    if not found.subnets or found.subnets[-1].id != subnet_id:
        found.subnets.append(SubnetRange(subnet_id, first, last, prefix, enable_dhcp))
    if low is not None:
        found.subnets[-1].pools.append(PoolRange(low, high, fresh))


_SERVERS = (
    select(ports.c.server_of)
    .where(ports.c.network_id == bindparam("network"), ports.c.server_of > "")
    .order_by(ports.c.server_of)
)


def dhcp_hosts(tx: ReadTx, network_id: str) -> tuple[str, ...]:
    """Return the hosts that have a DHCP server's port of a network, by name."""
    return tuple(row[0] for row in tx.conn.execute(_SERVERS, {"network": network_id}))


def network_not_found(network_id: str) -> NotFound:
    """Return the error that there is no such network."""
    return NotFound(f"there is no network {network_id}", type_="NetworkNotFound")


def check_host(tx: ReadTx, name: str) -> None:
    """Raise Invalid unless a host of this name was added."""
    if not tx.conn.execute(select(hosts.c.name).where(hosts.c.name == name, hosts.c.added)).first():
        raise no_host(name)


def no_host(name: str) -> Invalid:
    """Return the error that a request names an unknown host."""
    return Invalid(
        f"there is no host {name!r}; add it first (lessor host add {name})", type_="HostNotFound"
    )


def takes_part(host: ColumnElement[str], network: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a host has a port of a network, or is prepared for one.

    Ask it of each host, not of each port: a network has few hosts and may have 65,000 ports.
    """
    bound = select(1).where(ports.c.binding_host == host, ports.c.network_id == network)
    with_ports = bindings.join(ports, ports.c.id == bindings.c.port_id)
    prepared = select(1).select_from(with_ports).where(bindings.c.host == host)
    return or_(exists(bound), exists(prepared.where(ports.c.network_id == network)))


_BOUND = select(hosts.c.name).where(takes_part(hosts.c.name, bindparam("network")))
_HOST = select(networks.c.host).where(networks.c.id == bindparam("network"))
_OTHERS = select(1).where(
    ports.c.network_id == bindparam("network"),
    ports.c.binding_host == bindparam("host"),
    ports.c.device_owner != DHCP_OWNER,
).limit(1)  # fmt: skip


def hosts_taking_part(tx: ReadTx, network_id: str) -> set[str]:
    """Return the hosts whose view has the network."""
    found = {host for (host,) in tx.conn.execute(_BOUND, {"network": network_id})}
    owner = tx.conn.execute(_HOST, {"network": network_id}).scalar()
    return found | ({owner} if owner else set())


def has_ports(tx: ReadTx, network_id: str, host: str) -> bool:
    """Tell whether a host has ports of a network, other than DHCP servers' own."""
    found = tx.conn.execute(_OTHERS, {"network": network_id, "host": host})
    return found.first() is not None
