"""The store: everything that the server remembers. Thread-safe; calls block until it is on disk."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Self, TypeVar, cast

import structlog
from sqlalchemy import Connection, Engine, Table

from lessor.errors import Unavailable
from lessor.model import (
    AddressInfo,
    AddressScope,
    DhcpMove,
    Holdings,
    Host,
    HostTour,
    Instance,
    Lease,
    LeaseBatch,
    MetadataFacts,
    Network,
    Piece,
    Port,
    RbacPolicy,
    Report,
    Subnet,
    SubnetPool,
    ViewAnswer,
    ViewRequest,
)
from lessor.settings import ServerSettings
from lessor.store import census, instances, tables, tagrows, tags, tours, views
from lessor.store.addresses import availability, holdings, housekeeping, leases
from lessor.store.addresses import states as addresses
from lessor.store.addresses.availability import Room
from lessor.store.census import Census
from lessor.store.engine import database, history, notes, place, recovery, revisions
from lessor.store.engine.fellows import EVERYONE
from lessor.store.engine.writer import Tx, Written
from lessor.store.hosts import binding, dhcphosts, fleet, troubles
from lessor.store.hosts import rules as hosts
from lessor.store.hosts.troubles import Troubles
from lessor.store.networks import autoallocated, firstnetworks, subnets, zones
from lessor.store.networks import rules as networks
from lessor.store.pools import addressscopes, subnetpools
from lessor.store.ports import bindings as portbindings
from lessor.store.ports import novaevents
from lessor.store.ports import rows as portrows
from lessor.store.ports import rules as ports
from lessor.store.ports.bindings import Binding
from lessor.store.ports.novaevents import NovaEvent
from lessor.store.query import Query
from lessor.store.sharing import projects, quotas, rbac
from lessor.store.values import (
    AddressScopeValues,
    HostValues,
    InstanceValues,
    NetworkValues,
    PortValues,
    RbacValues,
    SubnetPoolValues,
    SubnetValues,
)

T = TypeVar("T")
ALL = Query()
TOKEN_CACHE_S = 30.0  # a deleted host's token may be believed by another server for so long
TROUBLES_S = 1.0
# What of a network says who serves it, and what it is called there.
_SERVED_BY = frozenset({"name", "host", "multi_host"})
PURGE_S = 600.0
TIDY_S = 60.0

log = structlog.get_logger("lessor.store")


R = TypeVar("R", Network, Subnet, Port, Instance, SubnetPool, AddressScope, RbacPolicy)
Expected = tuple[Table, int | None]  # which revision the row to be changed is to have; None: any


class Store:
    """Networks, subnets, ports, leases, hosts, on one database.

    Errors are those of `lessor.errors`, their `type` the name that Neutron has for them. Lists
    given to `create_…` are made whole or not at all. `expected` of a change is the revision that the
    row must have; another one raises Outdated.
    """

    def __init__(
        self, engine: Engine, settings: ServerSettings, clock: Callable[[], float]
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._subscribers: list[Callable[[frozenset[str]], None]] = []
        self._tokens: dict[str, tuple[str, float]] = {}
        self._beats = hosts.Beats(settings.agent_down_time)
        self._judge = binding.Judge(self._beats, clock(), settings.agent_down_time)
        self._watch = fleet.Watch(settings.dhcp_down_time)
        self._able: frozenset[str] = frozenset()
        self._said: dict[str, Report] = {}
        self._troubles: tuple[float, Troubles] | None = None
        self._purged_at = 0.0
        self._tidied_at = clock()
        self.id = uuid.uuid4().hex[:12]  # as other servers know this one
        self._writer = database.writer_of(engine, clock, settings, self._tell, self.id)
        self._peers = database.peers_of(engine, self.id, self._tell)
        with self._reading() as conn:
            self.epoch = history.now(conn).epoch

    @classmethod
    def open(cls, settings: ServerSettings, clock: Callable[[], float] = time.time) -> Self:
        """Open the database, making it or bringing its tables up to date first.

        Raises:
            ConfigError: a setting can't be met.
            Unavailable: the file can't be opened or written.
        """
        engine = database.open_engine(settings)
        database.begin_run(engine, clock())
        store = cls(engine, settings, clock)
        try:
            store._writer.run(firstnetworks.make)
            store._writer.run(_note_form)
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Write what is left, and close the database."""
        with suppress(Unavailable):  # heartbeats are worth no error
            self._write_beats()
        self._peers.close()
        self._writer.close()
        place.close(self._engine)

    def subscribe(self, callback: Callable[[frozenset[str]], None]) -> None:
        """Call `callback` after each commit with the hosts whose view changed.

        It is called in the writer's thread, or in the one that hears other servers, so it must be
        quick. `peers.EVERYONE` means that what changed is not known.
        """
        self._subscribers.append(callback)

    def _tell(self, names: frozenset[str]) -> None:
        for name in names:
            if name.startswith(hosts.DELETED):
                self._forget_host(name.removeprefix(hosts.DELETED))
        for callback in self._subscribers:
            callback(names)

    def _reading(self) -> AbstractContextManager[Connection]:
        return database.reading(self._engine)

    def _read(self, function: Callable[..., T], *args: Any) -> T:
        with self._reading() as conn:
            return function(conn, *args)

    def _write(
        self, function: Callable[..., T], *args: Any, only_if: Expected | None = None
    ) -> Written[T]:
        def job(tx: Tx) -> T:
            if only_if is not None:
                revisions.expect(tx, only_if[0], args[0], only_if[1])
            return function(tx, *args)

        return self._writer.run(job)

    def _one(self, function: Callable[..., R], *args: Any, only_if: Expected | None = None) -> R:
        written = self._write(function, *args, only_if=only_if)
        return _stamped(written, written.value)

    def _many(
        self, resource: str, make: Callable[[Tx, list[Any]], list[R]], many: Sequence[Any]
    ) -> list[R]:
        plain, words = tagrows.parted(many)

        def job(tx: Tx) -> list[R]:
            quotas.check(tx, resource, plain)
            made = make(tx, plain)
            for row, given in zip(made, words, strict=True):
                tags.write_new(tx, row.id, given)
            return made

        written = self._writer.run(job)
        return [_stamped(written, row) for row in written.value]

    # --- networks ---------------------------------------------------------------------------------

    def create_networks(self, many: Sequence[NetworkValues]) -> list[Network]:
        """Make networks; see `networks.create`."""

        def job(tx: Tx, plain: list[NetworkValues]) -> list[Network]:
            return networks.create_many(tx, plain, hosts.eligible(tx.conn, self._beats, tx.now))

        return self._many("network", job, many)

    def update_network(
        self, row_id: str, values: NetworkValues, expected: int | None = None
    ) -> Network:
        """Change a network; see `networks.update_one`."""
        after = self._one(networks.update_one, row_id, values, only_if=(tables.networks, expected))
        if values.keys() & _SERVED_BY:
            self._troubles = None
        return after

    def delete_network(self, row_id: str, expected: int | None = None) -> None:
        """Delete a network without ports; see `networks.delete_one`."""
        self._write(networks.delete_one, row_id, only_if=(tables.networks, expected))

    def network(self, row_id: str) -> Network:
        """Return a network, or raise NotFound."""
        return self._read(networks.get, row_id)

    def networks(self, query: Query = ALL) -> list[Network]:
        """Return the networks that a query asks for."""
        return self._read(networks.find, query)

    def subnet_ids(self, network_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the subnets of each of these networks, oldest first."""
        return self._read(networks.subnet_ids, network_ids)

    # --- the network that a project has of its own accord ------------------------------------------

    def auto_allocated(self, project_id: str) -> str | None:
        """Return the id of the network that a project was given, if it was."""
        return self._read(autoallocated.of, project_id)

    def check_auto_allocation(self) -> None:
        """Raise Conflict if no network could be given to a project."""
        self._read(autoallocated.check)

    def auto_allocate(self, project_id: str) -> str:
        """Return the network that a project was given; give it one first. See `autoallocated`."""

        def job(tx: Tx) -> str:
            alive = hosts.eligible(tx.conn, self._beats, tx.now)
            found = autoallocated.of(tx.conn, project_id)
            if found is not None:
                return found
            for resource in ("network", "subnet"):
                quotas.check(tx, resource, [{"project_id": project_id}])
            network, subnet = autoallocated.make(tx, project_id, alive)
            self._settle(tx, [subnet])
            return network.id

        return self._writer.run(job).value

    def delete_auto_allocated(self, project_id: str) -> None:
        """Delete the network that a project was given, if it was; see `networks.delete_one`."""
        self._write(autoallocated.remove, project_id)

    # --- sharing ----------------------------------------------------------------------------------

    def create_rbac_policies(self, many: Sequence[RbacValues]) -> list[RbacPolicy]:
        """Share things; see `rbac`."""
        return self._many("rbac_policy", rbac.create_many, many)

    def update_rbac_policy(self, row_id: str, values: RbacValues) -> RbacPolicy:
        """Share something with another project instead; see `rbac.update_one`."""
        return self._write(rbac.update_one, row_id, values).value

    def delete_rbac_policy(self, row_id: str) -> None:
        """Share something no more; see `rbac.delete_one`."""
        self._write(rbac.delete_one, row_id)

    def rbac_policy(self, row_id: str) -> RbacPolicy:
        """Return an RBAC policy, or raise NotFound."""
        return self._read(rbac.get, row_id)

    def rbac_policies(self, query: Query = ALL) -> list[RbacPolicy]:
        """Return the RBAC policies that a query asks for."""
        return self._read(rbac.find, query)

    def zones(self) -> list[str]:
        """Return the availability zones that hosts are in; see `zones`."""
        return self._read(zones.known)

    def zones_of(self, network_ids: Collection[str]) -> dict[str, list[str]]:
        """Return the availability zones in which networks are served; see `zones`."""
        return self._read(zones.of_networks, network_ids)

    # --- subnets ----------------------------------------------------------------------------------

    def create_subnets(self, many: Sequence[SubnetValues]) -> list[Subnet]:
        """Make subnets; see `subnets.create`. Overlay networks get their DHCP servers with them."""

        def job(tx: Tx, plain: list[SubnetValues]) -> list[Subnet]:
            made = subnets.create_many(tx, plain)
            self._settle(tx, made)
            return made

        return self._many("subnet", job, many)

    def update_subnet(
        self, row_id: str, values: SubnetValues, expected: int | None = None
    ) -> Subnet:
        """Change a subnet; see `subnets.update_one`."""

        def job(tx: Tx, row_id: str) -> Subnet:
            after = subnets.update_one(tx, row_id, values)
            self._settle(tx, [after])
            return after

        return self._one(job, row_id, only_if=(tables.subnets, expected))

    def _settle(self, tx: Tx, changed: Sequence[Subnet]) -> None:
        dhcphosts.settle(tx, [subnet.network_id for subnet in changed], self._fleet(tx))

    def delete_subnet(self, row_id: str, expected: int | None = None) -> None:
        """Delete a subnet whose addresses no port has; see `subnets.delete_one`."""
        self._write(subnets.delete_one, row_id, only_if=(tables.subnets, expected))

    def subnet(self, row_id: str) -> Subnet:
        """Return a subnet, or raise NotFound."""
        return self._read(subnets.get, row_id)

    def subnets(self, query: Query = ALL) -> list[Subnet]:
        """Return the subnets that a query asks for."""
        return self._read(subnets.find, query)

    # --- subnet pools and address scopes ----------------------------------------------------------

    def create_subnetpools(self, many: Sequence[SubnetPoolValues]) -> list[SubnetPool]:
        """Make subnet pools; see `subnetpools`."""
        return self._many("subnetpool", subnetpools.create_many, many)

    def update_subnetpool(
        self, row_id: str, values: SubnetPoolValues, expected: int | None = None
    ) -> SubnetPool:
        """Change a subnet pool; see `subnetpools.update_one`."""
        return self._one(
            subnetpools.update_one, row_id, values, only_if=(tables.subnetpools, expected)
        )

    def add_prefixes(
        self, row_id: str, blocks: Sequence[IPv4Network], acts_for: str | None = None
    ) -> SubnetPool:
        """Add blocks to a subnet pool; see `subnetpools.add_prefixes`."""
        return self._one(subnetpools.add_prefixes, row_id, blocks, acts_for)

    def remove_prefixes(
        self, row_id: str, blocks: Sequence[IPv4Network], acts_for: str | None = None
    ) -> SubnetPool:
        """Take unused blocks from a subnet pool; see `subnetpools.remove_prefixes`."""
        return self._one(subnetpools.remove_prefixes, row_id, blocks, acts_for)

    def delete_subnetpool(self, row_id: str, expected: int | None = None) -> None:
        """Delete a subnet pool that no subnet was cut from."""
        self._write(subnetpools.delete_one, row_id, only_if=(tables.subnetpools, expected))

    def subnetpool(self, row_id: str) -> SubnetPool:
        """Return a subnet pool, or raise NotFound."""
        return self._read(subnetpools.get, row_id)

    def subnetpools(self, query: Query = ALL) -> list[SubnetPool]:
        """Return the subnet pools that a query asks for."""
        return self._read(subnetpools.find, query)

    def create_address_scopes(self, many: Sequence[AddressScopeValues]) -> list[AddressScope]:
        """Make address scopes."""
        return self._many("address_scope", addressscopes.create_many, many)

    def update_address_scope(
        self, row_id: str, values: AddressScopeValues, expected: int | None = None
    ) -> AddressScope:
        """Change an address scope; see `addressscopes.update_one`."""
        return self._one(
            addressscopes.update_one, row_id, values, only_if=(tables.address_scopes, expected)
        )

    def delete_address_scope(self, row_id: str, expected: int | None = None) -> None:
        """Delete an address scope that no subnet pool is in."""
        self._write(addressscopes.delete_one, row_id, only_if=(tables.address_scopes, expected))

    def address_scope(self, row_id: str) -> AddressScope:
        """Return an address scope, or raise NotFound."""
        return self._read(addressscopes.get, row_id)

    def address_scopes(self, query: Query = ALL) -> list[AddressScope]:
        """Return the address scopes that a query asks for."""
        return self._read(addressscopes.find, query)

    def scopes_of_networks(self, network_ids: Collection[str]) -> dict[str, str]:
        """Return the address scopes of those of these networks that are in one."""
        return self._read(addressscopes.of_networks, network_ids)

    # --- ports ------------------------------------------------------------------------------------

    def create_ports(self, many: Sequence[PortValues]) -> list[Port]:
        """Make ports, with addresses; see `ports`."""

        def job(tx: Tx, plain: list[PortValues]) -> list[Port]:
            return ports.create_many(tx, plain, self._judge)

        return self._many("port", job, many)

    def update_port(self, row_id: str, values: PortValues, expected: int | None = None) -> Port:
        """Change a port; see `ports.update_one`."""

        def job(tx: Tx, key: str) -> Port:
            after = ports.update_one(tx, key, values)
            return self._judge.judged(tx, after) if after.binding_failed else after

        return self._one(job, row_id, only_if=(tables.ports, expected))

    def delete_port(self, row_id: str, expected: int | None = None) -> None:
        """Delete a port; its addresses are freed once no lease of them can be alive."""
        self._write(ports.delete_one, row_id, only_if=(tables.ports, expected))

    def port(self, row_id: str) -> Port:
        """Return a port, or raise NotFound."""
        return self._read(portrows.get, row_id)

    def ports(self, query: Query = ALL) -> list[Port]:
        """Return the ports that a query asks for."""
        return self._read(ports.find, query)

    # --- what a compute API is told ---------------------------------------------------------------

    def nova_events(self) -> list[NovaEvent]:
        """Return what a compute API is to be told next; nothing if another server tells it."""
        return self._read(novaevents.first) if self._peers.keeps else []

    def drop_nova_events(self, ids: Sequence[int]) -> None:
        """Forget what was told."""
        self._write(novaevents.drop, ids)

    # --- addresses and leases ---------------------------------------------------------------------

    def addresses(self, query: Query = ALL) -> list[AddressInfo]:
        """Return addresses that have a state; those never used have none. See `addresses.find`."""
        return self._read(addresses.find, query)

    def reserve_address(self, network_id: str, address: IPv4Address) -> AddressInfo:
        """Keep an address from being handed out; see `addresses.reserve`."""
        return self._write(addresses.reserve, network_id, address).value

    def unreserve_address(self, network_id: str, address: IPv4Address) -> AddressInfo:
        """Let a reserved address be handed out again; see `addresses.unreserve`."""
        return self._write(addresses.unreserve, network_id, address).value

    def apply_leases(self, host: str, batch: LeaseBatch) -> int:
        """Write what a host's DHCP servers said; return the last seq written. Idempotent."""
        return self._write(leases.apply, host, batch).value

    def release_lease(self, lease_id: str) -> None:
        """End a lease by an operator's word; see `leases.release`."""
        self._write(leases.release, lease_id)

    def lease(self, row_id: str) -> Lease:
        """Return a lease, or raise NotFound."""
        return self._read(leases.get, row_id)

    def leases(self, query: Query = ALL) -> list[Lease]:
        """Return the leases that a query asks for, ended ones as well."""
        return self._read(leases.find, query, self._clock())

    # --- bindings of ports beside the active one --------------------------------------------------

    def port_bindings(self, port_id: str) -> list[Binding]:
        """Return a port's bindings, the active one first; or raise NotFound."""
        return self._read(portbindings.of_port, port_id)

    def port_binding(self, port_id: str, host: str) -> Binding:
        """Return a port's binding to a host, or raise NotFound."""
        return self._read(portbindings.of_host, port_id, host)

    def failing_hosts(self, network_id: str, names: Collection[str]) -> set[str]:
        """Return on which of these hosts a port of a network could not be plugged now."""
        return self._read(self._judge.failing, self._clock(), network_id, names)

    def create_port_binding(self, port_id: str, values: Mapping[str, Any]) -> Binding:
        """Prepare a port for a further host; see `portbindings.create`."""
        return self._write(portbindings.create, port_id, values).value

    def update_port_binding(self, port_id: str, host: str, values: Mapping[str, Any]) -> Binding:
        """Change an inactive binding; see `portbindings.change`."""
        return self._write(portbindings.change, port_id, host, values).value

    def delete_port_binding(self, port_id: str, host: str) -> None:
        """Take an inactive binding away; see `portbindings.remove`."""
        self._write(portbindings.remove, port_id, host)

    def activate_port_binding(self, port_id: str, host: str) -> Port:
        """Bind a port to a host that it was prepared for; see `portbindings.swap`."""

        def job(tx: Tx, row_id: str) -> Port:
            after = ports.update_one(tx, row_id, portbindings.swap(tx, row_id, host))
            return self._judge.judged(tx, after) if after.binding_failed else after

        return self._one(job, port_id)

    # --- quotas and room --------------------------------------------------------------------------

    def quotas(self, project_id: str) -> dict[str, int]:
        """Return how many of each thing a project may have; -1: any number."""
        return self._read(quotas.limits, self._settings, project_id)

    def default_quotas(self) -> dict[str, int]:
        """Return the quotas of a project that nobody set some for."""
        return quotas.defaults(self._settings)

    def all_quotas(self) -> dict[str, dict[str, int]]:
        """Return the quotas of the projects that somebody set some for."""
        return self._read(quotas.projects, self._settings)

    def quota_usage(self, project_id: str) -> dict[str, int]:
        """Return how many of each thing a project has."""
        return self._read(quotas.usage, project_id)

    def set_quotas(
        self, project_id: str, values: Mapping[str, int], *, check: bool = False
    ) -> dict[str, int]:
        """Set some quotas of a project; return all. See `quotas.set_limits`."""
        set_limits = partial(quotas.set_limits, check=check)
        return self._write(set_limits, project_id, values).value

    def reset_quotas(self, project_id: str) -> None:
        """Give a project the default quotas again."""
        self._write(quotas.reset, project_id)

    def projects(self) -> list[str]:
        """Return the projects that own something, or that somebody set quotas for."""
        return self._read(projects.known)

    def ip_availability(self, network_ids: Sequence[str]) -> dict[str, list[Room]]:
        """Return how many addresses the subnets of these networks have, and have given."""
        return self._read(availability.of_networks, network_ids)

    # --- tags -------------------------------------------------------------------------------------

    def tags(self, row_ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the tags of rows, sorted; a row without any is left out."""
        return self._read(tagrows.of, row_ids)

    def set_tags(self, kind: str, row_id: str, words: Collection[str]) -> None:
        """Give a row of a kind ("ports") these tags and no others."""
        self._write(tags.replace_all, kind, row_id, words)

    def add_tags(self, kind: str, row_id: str, words: Collection[str]) -> None:
        """Give a row further tags."""
        self._write(tags.add, kind, row_id, words)

    def remove_tag(self, kind: str, row_id: str, word: str) -> None:
        """Take a tag from a row, or raise NotFound."""
        self._write(tags.remove, kind, row_id, word)

    # --- instances --------------------------------------------------------------------------------

    def create_instances(self, many: Sequence[InstanceValues]) -> list[Instance]:
        """Make instances."""
        return self._many("instance", instances.create_many, many)

    def update_instance(
        self, row_id: str, values: InstanceValues, expected: int | None = None
    ) -> Instance:
        """Change an instance."""
        return self._one(instances.update_one, row_id, values, only_if=(tables.instances, expected))

    def delete_instance(self, row_id: str, expected: int | None = None) -> None:
        """Delete an instance; its ports stay."""
        self._write(instances.delete_one, row_id, only_if=(tables.instances, expected))

    def instance(self, row_id: str) -> Instance:
        """Return an instance, or raise NotFound."""
        return self._read(instances.get, row_id)

    def instances(self, query: Query = ALL) -> list[Instance]:
        """Return the instances that a query asks for."""
        return self._read(instances.find, query)

    def set_password(self, host: str, instance_id: str, password: str) -> bool:
        """Keep the password that a guest of `host` posted; False: there is one already."""
        return self._write(instances.set_password, host, instance_id, password).value

    def metadata_facts(
        self, host: str, network_ids: Sequence[str], address: IPv4Address
    ) -> MetadataFacts | None:
        """Return what is known of the VM behind an address, if `host` may know it."""
        return self._read(instances.metadata_facts, host, network_ids, address, self._settings)

    # --- hosts and agents -------------------------------------------------------------------------

    def create_host(self, name: str) -> tuple[Host, str]:
        """Make a host; return it with its token, which is shown only now."""
        return self._write(hosts.create, name).value

    def update_host(self, name: str, values: HostValues) -> Host:
        """Change what an administrator says of a host; down, it hands its DHCP servers to others."""
        self._write(hosts.change, name, values)
        if values.get("admin_state_up") is False:
            self._move_servers(lambda found: found.only(name))
        return self.host(name)

    def delete_host(self, name: str) -> None:
        """Delete a host that owns no network and has no port; its token ends."""
        self._write(hosts.remove, name)
        self._forget_host(name)

    def renew_token(self, name: str) -> str:
        """Give a host a new token, which is shown only now; the former one ends."""
        token = self._write(hosts.renew_token, name).value
        self._forget_tokens(name)
        return token

    def _forget_tokens(self, name: str) -> None:
        self._tokens = {key: known for key, known in self._tokens.items() if known[0] != name}

    def _forget_host(self, name: str) -> None:
        self._forget_tokens(name)
        self._beats.forget(name)
        self._said.pop(name, None)

    def host(self, name: str) -> Host:
        """Return a host, or raise NotFound."""
        return self._read(hosts.get, name, self._beats, self._clock())

    def hosts(self, query: Query = ALL) -> list[Host]:
        """Return the hosts that a query asks for."""
        return self._read(hosts.find, query, self._beats, self._clock())

    def census(self) -> Census:
        """Return how much of everything there is: see `census.take`."""
        now = self._clock()
        known, since = self._beats.known(), self._beats.alive_since(now)
        return self._read(census.take, known, since, now)

    def datapath_types(self, names: Collection[str]) -> dict[str, str]:
        """Return what forwards the packets of Open vSwitch on those hosts that say so."""
        return self._read(hosts.datapath_types, names) if names else {}

    def authenticate(self, token: str) -> str | None:
        """Return the host that a token is of, or None."""
        digest = hosts.token_hash(token)
        known = self._tokens.get(digest)
        if known is not None and time.monotonic() < known[1]:
            return known[0]
        name = self._read(hosts.named_by, digest)
        if name is not None:
            self._tokens[digest] = (name, time.monotonic() + TOKEN_CACHE_S)
        return name

    def view(self, host: str, request: ViewRequest) -> ViewAnswer:
        """Return at once what concerns a host and is newer than what it has.

        A host that has seen what this database lost gets a new epoch: see `history`.
        """
        with self._reading() as conn:
            at = history.now(conn)
            if request.epoch != at.epoch or not history.is_lost(conn, at, request.position):
                return self._view(conn, host, request, at)
        self._went_back(host, at.epoch)
        with self._reading() as conn:
            return self._view(conn, host, request, history.now(conn))

    def _view(
        self, conn: Connection, host: str, request: ViewRequest, at: history.Now
    ) -> ViewAnswer:
        self.epoch = at.epoch
        names = self._settings.update_dns_entries
        return views.view(conn, host, request, at, all_names=names)

    def _went_back(self, host: str, epoch: str) -> None:
        """Give the database a new epoch, unless another server has done so meanwhile."""

        def job(tx: Tx) -> bool:
            if history.now(tx.conn).epoch != epoch:
                return False
            database.new_epoch(tx.conn)
            tx.concerns(EVERYONE)
            return True

        if self._writer.run(job).value:
            log.error(
                "the database went back: an older copy was put in its place",
                host=host,
                was=epoch,
                then="hosts take whole views, and no address is given out before they reported",
            )

    def hold(self, host: str, said: Holdings) -> bool:
        """Keep from others what a host says is in use there; see `holdings.report`."""
        return self._write(holdings.report, host, said).value

    def report(self, host: str, report: Report) -> None:
        """Take an agent's report. A bare heartbeat costs no write.

        Raises:
            NotFound: there is no such host.
            Conflict: another agent of this name is alive.
        """
        news = report.has_news
        said = report.bare
        if news or not self._is_known(host, said):
            self._write(hosts.report, host, report, self._beats)
            if report.unserved is not None:
                self._troubles = None
            self._said[host] = said
        self._beats.hear(host, self._clock())
        if report.network_host and self._read(networks.unowned):
            self._writer.run(self._claim)

        if report.network_host and report.local_ip is not None and host not in self._able:
            self.place_servers()

    def _is_known(self, host: str, said: Report) -> bool:
        """Tell whether the database has what a host says; where others write too, it is asked."""
        if self._peers.several:
            return self._read(hosts.is_known, host, said)
        return self._said.get(host) == said

    def _write_beats(self) -> None:
        if self._beats.fresh:
            self._beats.wrote(self._writer.run(self._beats.write).value)

    def _claim(self, tx: Tx) -> None:
        networks.claim_unowned(tx, hosts.eligible(tx.conn, self._beats, tx.now))

    # --- DHCP servers of overlay networks ---------------------------------------------------------

    def _fleet(self, tx: Tx) -> fleet.Fleet:
        return fleet.read(tx.conn, self._beats, tx.now, self._watch.down_s)

    def place_servers(self) -> None:
        """Give DHCP servers to networks that have too few, if there are hosts that had no chance yet."""
        with self._reading() as conn:
            if recovery.is_on(conn):  # a server needs an address
                return
            found = fleet.read(conn, self._beats, self._clock(), self._watch.down_s)
        if found.able - self._able:
            while self._writer.run(lambda tx: dhcphosts.fill(tx, self._fleet(tx))).value:
                pass
        self._able = found.able

    def watch_hosts(self) -> None:
        """Move DHCP servers away from dead hosts; called about every second.

        Every server looks, so that each is ready to take over; the one that keeps house moves.
        """
        if self._peers.several:
            self._write_beats()
        self.place_servers()
        now = self._clock()
        if not self._watch.look(now, disturbed=self._peers.departed()) or not self._peers.keeps:
            return
        with self._reading() as conn:
            found = fleet.read(conn, self._beats, now, self._watch.down_s)
            if not dhcphosts.stranded(conn, found):
                return
        self._move_servers(lambda found: found)

    def _move_servers(self, which: Callable[[fleet.Fleet], fleet.Fleet]) -> None:
        """Move DHCP servers away from the hosts that are `lost` in what `which` makes of the fleet."""

        def job(tx: Tx) -> list[DhcpMove]:
            return dhcphosts.fail_over(tx, which(self._fleet(tx)))

        while moves := self._writer.run(job).value:
            counts = Counter((m.source, m.target, m.reason) for m in moves)
            for (source, target, reason), count in counts.items():
                log.warning(
                    "dhcp servers moved",
                    source=source,
                    target=target,
                    networks=count,
                    reason=reason,
                )

    def troubles(self) -> Troubles:
        """Return which networks no DHCP server serves, as of at most `TROUBLES_S` ago."""
        now = self._clock()
        known = self._troubles
        if known is None or not 0 <= now - known[0] < TROUBLES_S:
            beats, since = self._beats.known(), self._beats.alive_since(now)
            known = now, self._read(troubles.find, beats, since, now, self._watch.down_s)
            self._troubles = known
        return known[1]

    def dhcp_hosts(self, network_id: str) -> list[Host]:
        """Return the hosts that serve DHCP on a network, by name; see `dhcphosts.serving`."""
        with self._reading() as conn:
            names = dhcphosts.serving_hosts(conn, network_id)
            query = Query(filters={"name": names}, sort=(("name", False),))
            return hosts.find(conn, query, self._beats, self._clock()) if names else []

    def dhcp_networks(self, host: str) -> list[Network]:
        """Return the networks that a host serves DHCP on."""
        with self._reading() as conn:
            ids = dhcphosts.served_networks(conn, host)
            return networks.find(conn, Query(filters={"id": ids})) if ids else []

    def add_dhcp_host(self, network_id: str, host: str) -> None:
        """Put a DHCP server of an overlay network on a host; see `dhcphosts.add`."""
        self._write(dhcphosts.add, network_id, host)

    def remove_dhcp_host(self, network_id: str, host: str) -> None:
        """Take a DHCP server of an overlay network from a host; see `dhcphosts.remove`."""
        self._write(dhcphosts.remove, network_id, host)

    def live_leases(self, host: str, network_id: str) -> list[Lease]:
        """Return the live leases of a network that a host takes part in, one for each address.

        Raises:
            NotFound: there is no such network, or the host takes no part in it.
        """
        return self._read(leases.live, host, network_id, self._clock())

    # --- tours ------------------------------------------------------------------------------------

    def ask_tour(self, network_id: str) -> tours.Asked:
        """Ask the hosts of a network how it is there; see `tours.ask`."""
        alive = [host.name for host in self.hosts(Query(filters={"alive": (True,)}))]
        return self._write(tours.ask, network_id, alive).value

    def answer_tour(self, host: str, tour_id: str, pieces: Collection[Piece]) -> None:
        """Keep what a host says; see `tours.answer`."""
        self._write(tours.answer, host, tour_id, pieces)

    def tour_answers(self, tour_id: str) -> dict[str, HostTour]:
        """Return what hosts have said so far, by name."""
        return self._read(tours.answers, tour_id)

    def end_tour(self, tour_id: str) -> None:
        """Forget a tour."""
        self._write(tours.end, tour_id)

    # --- time -------------------------------------------------------------------------------------

    def housekeep(self) -> None:
        """Do what time asks for; called about every 10 s."""
        self._write_beats()
        if not self._peers.keeps:
            return
        self._end_recovery()
        while self._writer.run(housekeeping.time_out).value == housekeeping.AT_ONCE:
            pass
        if self._clock() - self._purged_at >= PURGE_S:
            self._writer.run(housekeeping.purge)
            self._purged_at = self._clock()
        if self._clock() - self._tidied_at >= TIDY_S:
            here = self._writer.run(lambda tx: database.tidy(tx.conn)).value
            place.settle(self._engine, here)
            self._tidied_at = self._clock()

    def _end_recovery(self) -> None:
        with self._reading() as conn:
            waiting = recovery.is_on(conn)
        if waiting:
            self._writer.run(recovery.end_in_time)


def _stamped(written: Written[Any], row: R) -> R:
    """Return a row with the revision that its transaction was given."""
    if row.id not in written.touched:
        return row
    return cast(R, replace(cast(Any, row), revision=written.revision))


def _note_form(tx: Tx) -> None:
    """When update_dns_entries was switched, multi-host scopes have other ports than before."""
    form = str(tx.settings.update_dns_entries)
    if notes.remembered(tx.conn, "update_dns_entries") == form:
        return
    notes.remember(tx.conn, "update_dns_entries", form)
    for network in networks.find(tx.conn, Query(filters={"multi_host": (True,)})):
        tx.touch("form", network.id)
