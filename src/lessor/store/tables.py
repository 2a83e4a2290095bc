"""The tables. Whatever must be unique is a constraint here, not a check in Python.

Addresses are keys of 16 bytes (`address_column`), times seconds since 1970, lists and maps JSON
text (`columns` reads them). `revision` is given at the end of the transaction that writes a row
(`writer`). A change here needs a migration; `tests/store/engine/test_database.py` compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    false,
    text,
    true,
)

from lessor.net.address import Address
from lessor.store.address_column import AddressColumn

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _json(name: str, empty: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=empty)


def _flag(name: str, *, default: bool = False) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=true() if default else false())


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _address(name: str) -> Column[Address]:
    return Column(name, AddressColumn, nullable=False)


def _time(name: str) -> Column[float]:
    return Column(name, Float, nullable=False, server_default=text("0"))


# What is true of the database itself: its epoch, the revision counter, how views were made.
meta = Table(
    "meta", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False)
)
counter = Table(
    "counter",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# The starts of servers in this epoch, by which positions that agents show are checked: see
# `history`.
runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("seq", BigInteger, nullable=False, unique=True),
    Column("began", BigInteger, nullable=False),  # the revision at its start
)

hosts = Table(
    "hosts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("token_hash", Text, nullable=False, unique=True),
    _time("created_at"),
    Column("started_at", Float),
    Column("heartbeat_at", Float),  # written in batches
    _text("version"),
    _json("physical_networks", "[]"),
    _flag("network_host"),
    Column("local_ip", Text),  # its end of tunnels, as ipaddress writes it
    Column("availability_zone", Text, nullable=False, server_default="nova"),
    _text("server"),
    _text("datapath_type"),
    _flag("in_sync"),
    _flag("admin_state_up", default=True),  # false: gets no DHCP servers, hands over those it has
    _text("description"),
    _json("problems", "[]"),
    _json("counts", "{}"),
    _time("report_interval"),  # seconds; 0: not reported
    _text("run_id"),
    _text("spool_epoch"),
    _number("spool_seq"),
    _flag("added", default=True),  # not: a port's binding names it, see `hosts.unknown`
    _flag("awaited"),  # after a restore: it has yet to say which addresses are in use there
    Index("uq_hosts_local_ip", "local_ip", unique=True),
)

networks = Table(
    "networks",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("project_id"),
    _text("description"),
    _flag("admin_state_up", default=True),
    Column("network_type", Text, nullable=False),
    Column("physical_network", Text),
    Column("segmentation_id", Integer),
    Column("mtu", Integer, nullable=False),
    _flag("shared"),
    _flag("port_security_enabled", default=True),
    _text("dns_domain"),
    _flag("multi_host"),
    _flag("share_address"),
    _json("availability_zone_hints", "[]"),
    Column("host", Text, ForeignKey("hosts.name")),
    _number("revision"),
    _number("form_revision"),  # when it last changed which rows which host has to know
    _number("floor_revision"),  # of its last tombstone that was purged
    _time("created_at"),
    _time("updated_at"),
    Index("ix_networks_host", "host"),
    Index("ix_networks_physical_network", "physical_network"),
    Index("uq_networks_segmentation_id", "network_type", "segmentation_id", unique=True),
)

address_scopes = Table(
    "address_scopes",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("project_id"),
    _flag("shared"),
    _number("revision"),
    _time("created_at"),
    _time("updated_at"),
)

subnetpools = Table(
    "subnetpools",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("project_id"),
    _text("description"),
    Column("min_prefixlen", Integer, nullable=False),
    Column("default_prefixlen", Integer, nullable=False),
    Column("max_prefixlen", Integer, nullable=False),
    Column("default_quota", BigInteger),
    Column("address_scope_id", Text, ForeignKey("address_scopes.id")),
    _flag("shared"),
    _flag("is_default"),
    _flag("by_project"),
    _number("revision"),
    _time("created_at"),
    _time("updated_at"),
    Index("ix_subnetpools_address_scope_id", "address_scope_id"),
    Index(
        "uq_subnetpools_is_default",
        "is_default",
        unique=True,
        sqlite_where=text("is_default"),
        postgresql_where=text("is_default"),
    ),
)

prefixes = Table(
    "prefixes",
    metadata,
    Column(
        "subnetpool_id",
        Text,
        ForeignKey("subnetpools.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("first", AddressColumn, primary_key=True),
    Column("prefix", Integer, nullable=False),
    _address("last"),
)

# The network that a project has of its own accord: see `networks.auto_allocated`.
auto_allocated = Table(
    "auto_allocated",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("network_id", Text, ForeignKey("networks.id", ondelete="CASCADE"), nullable=False),
    Index("ix_auto_allocated_network_id", "network_id"),
)

# What is shared with whom. `shared` of a thing is whether a row here shares it with everybody
# ("*").
rbac_policies = Table(
    "rbac_policies",
    metadata,
    Column("id", Text, primary_key=True),
    _text("project_id"),
    Column("object_type", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target_project", Text, nullable=False),
    _time("created_at"),
    Index(
        "uq_rbac_policies_object_id",
        "object_id",
        "object_type",
        "action",
        "target_project",
        unique=True,
    ),
    Index("ix_rbac_policies_target_project", "target_project", "object_type"),
)

subnets = Table(
    "subnets",
    metadata,
    Column("id", Text, primary_key=True),
    Column("network_id", Text, ForeignKey("networks.id"), nullable=False),
    _address("first"),  # the network address
    Column("prefix", Integer, nullable=False),
    _address("last"),  # the broadcast address
    _text("name"),
    _text("project_id"),
    _text("description"),
    Column("gateway_ip", AddressColumn),
    Column("dhcp_server", AddressColumn),  # NULL: the gateway
    _flag("enable_dhcp", default=True),
    _json("dns_nameservers", "[]"),
    _json("host_routes", "[]"),
    Column("subnetpool_id", Text, ForeignKey("subnetpools.id")),
    _number("revision"),
    _time("created_at"),
    _time("updated_at"),
    Index("ix_subnets_network_id", "network_id", "revision"),
    Index("ix_subnets_first", "first"),
    Index("ix_subnets_subnetpool_id", "subnetpool_id", "first"),
)

pools = Table(
    "pools",
    metadata,
    Column("subnet_id", Text, ForeignKey("subnets.id", ondelete="CASCADE"), primary_key=True),
    Column("first", AddressColumn, primary_key=True),
    _address("last"),
    Column("next_fresh", AddressColumn),  # before it, each address has had a row; NULL: all have
    CheckConstraint("first <= last", name="order"),
)

ports = Table(
    "ports",
    metadata,
    Column("id", Text, primary_key=True),
    Column("network_id", Text, ForeignKey("networks.id"), nullable=False),
    Column("segment", Text, nullable=False),  # the broadcast domain, within which MACs are unique
    Column("mac_address", Text, nullable=False),
    _text("name"),
    _text("project_id"),
    _text("description"),
    _flag("admin_state_up", default=True),
    _text("device_id"),
    _text("device_owner"),
    Column("binding_host", Text, ForeignKey("hosts.name")),
    _json("binding_profile", "{}"),
    Column("vnic_type", Text, nullable=False, server_default="normal"),
    _flag("port_security_enabled", default=True),
    _json("allowed_address_pairs", "[]"),
    _json("extra_dhcp_opts", "[]"),
    _text("dns_name"),
    Column("server_of", Text),  # the host whose DHCP server's own this is; "": no host's, parked
    Column("wired", Boolean),  # what the hosts say; no revision
    Column("served", Boolean),
    _text("wired_pending"),
    _text("served_pending"),
    _flag("binding_failed"),  # its host was dead or lacked its network when it was bound to it
    _flag("nova_told"),  # that it is plugged
    _number("revision"),
    _time("created_at"),
    _time("updated_at"),
    Index("uq_ports_mac_address_segment", "mac_address", "segment", unique=True),
    Index("ix_ports_name", "name"),
    Index(
        "uq_ports_server_of",
        "network_id",
        "server_of",
        unique=True,
        sqlite_where=text("server_of IS NOT NULL"),
        postgresql_where=text("server_of IS NOT NULL"),
    ),
    Index(
        "ix_ports_server_of",
        "server_of",
        sqlite_where=text("server_of IS NOT NULL"),
        postgresql_where=text("server_of IS NOT NULL"),
    ),
    Index("ix_ports_network_revision", "network_id", "revision"),
    Index("ix_ports_network_id", "network_id", "id"),  # the order of pages
    Index("ix_ports_project_id", "project_id"),
    Index("ix_ports_binding_host", "binding_host", "network_id", "revision"),
    Index(
        "ix_ports_device_id",
        "device_id",
        sqlite_where=text("device_id <> ''"),
        postgresql_where=text("device_id <> ''"),
    ),
)

# Allowed address pairs that projects gave their ports; those of administrators are not here.
address_pairs = Table(
    "address_pairs",
    metadata,
    Column("port_id", Text, ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True),
    Column("first", AddressColumn, primary_key=True),
    Column("last", AddressColumn, primary_key=True),
    Column("segment", Text, nullable=False),  # the broadcast domain, as in `ports`
    _text("project_id"),
    Index("ix_address_pairs_segment", "segment"),
)

# What each DHCP host of an overlay network says of a port: several may serve it. `ports.served` is
# whether any does.
serving = Table(
    "serving",
    metadata,
    Column("port_id", Text, ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True),
    Column("host", Text, primary_key=True),
    _flag("served"),
    _text("pending"),
)

# Networks that a DHCP host reports it can't serve, since when the server knows it.
unserved = Table(
    "unserved",
    metadata,
    Column("host", Text, ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("network_id", Text, primary_key=True),
    _text("reason"),
    _time("since"),
)

# What hosts have and reach themselves: no flat subnet takes it over.
host_blocks = Table(
    "host_blocks",
    metadata,
    Column("host", Text, ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    _address("first"),
    _address("last"),
    Column("prefix", Integer, nullable=False),
    _text("what"),
    _text("detail"),
    _text("physical_network"),
)

# DHCP servers of overlay networks that moved by themselves: the last move from each host.
dhcp_moves = Table(
    "dhcp_moves",
    metadata,
    Column("network_id", Text, ForeignKey("networks.id", ondelete="CASCADE"), primary_key=True),
    Column("source", Text, primary_key=True),
    _text("target"),
    _text("reason"),
    _flag("unable"),  # the source reported that it can't serve the network
    _time("moved_at"),
)

# Hosts that are asked how a network is there (`lessor network tour`), until they have answered.
tours = Table(
    "tours",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("network_id", Text, nullable=False),
    Column("answer", Text),
    _time("asked_at"),
    Index("ix_tours_host", "host"),
)

_FREE = text("freed_seq IS NOT NULL")
_RELEASING = text("port_id IS NULL AND freed_seq IS NULL AND reserved_as IS NULL")

# Only addresses that were ever used or reserved have a row. Its state (semantics.md A7.1):
#   reserved_as set: reserved; port_id set: a port's; freed_seq set: free again, the smallest
#   first; none of the three: releasing, its last owner's lease may still be alive.
addresses = Table(
    "addresses",
    metadata,
    Column("network_id", Text, ForeignKey("networks.id"), primary_key=True),
    Column("address", AddressColumn, primary_key=True),
    Column("subnet_id", Text, ForeignKey("subnets.id"), nullable=False),
    Column("port_id", Text, ForeignKey("ports.id")),
    Column("position", Integer, nullable=False, server_default=text("0")),
    Column("reserved_as", Text),  # network, broadcast, gateway, dhcp_server, operator
    Column("mac", Text),  # of the last owner, while it is releasing
    Column("freed_seq", BigInteger),
    Column("let_go_at", Float),  # when its port let it go
    Column("not_before", Float),  # a former owner may still use it until then
    _time("updated_at"),
    Index("ix_addresses_subnet_id", "subnet_id"),
    Index("ix_addresses_address", "address"),
    Index(
        "ix_addresses_port_id",
        "port_id",
        sqlite_where=text("port_id IS NOT NULL"),
        postgresql_where=text("port_id IS NOT NULL"),
    ),
    Index(
        "ix_addresses_freed",
        "subnet_id",
        "freed_seq",
        sqlite_where=_FREE,
        postgresql_where=_FREE,
    ),
    Index(
        "ix_addresses_releasing",
        "let_go_at",
        sqlite_where=_RELEASING,
        postgresql_where=_RELEASING,
    ),
)

# A host whose DHCP server may still hand out an address to its former owner, until that host says
# that it has applied `revision`.
holds = Table(
    "holds",
    metadata,
    Column("network_id", Text, primary_key=True),
    Column("address", AddressColumn, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    _time("made_at"),
    Index("ix_holds_host", "host", "network_id", "revision"),
    Index("ix_holds_revision", "revision"),
)

# What was deleted, or (with a host) left the sight of that host.
tombstones = Table(
    "tombstones",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("network_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # subnet, port
    Column("id", Text, nullable=False),
    Column("host", Text),
    _time("made_at"),
    Index("ix_tombstones_network_id", "network_id", "revision"),
    Index("ix_tombstones_made_at", "made_at"),
)

_ALIVE = text("ended_at IS NULL")

leases = Table(
    "leases",
    metadata,
    Column("id", Text, primary_key=True),
    Column("network_id", Text, nullable=False),  # no foreign keys: history outlives what it names
    Column("host", Text, nullable=False),
    _address("address"),
    Column("mac_address", Text, nullable=False),
    Column("port_id", Text),
    _text("hostname"),
    _text("client_id"),
    _time("started_at"),
    Column("expires_at", Float),
    _time("renewed_at"),
    Column("ended_at", Float),
    _text("end_reason"),
    Index(
        "uq_leases_alive",
        "network_id",
        "address",
        "host",
        "mac_address",
        unique=True,
        sqlite_where=_ALIVE,
        postgresql_where=_ALIVE,
    ),
    Index(
        "ix_leases_host_alive",
        "host",
        sqlite_where=_ALIVE,
        postgresql_where=_ALIVE,
    ),
    Index("ix_leases_address", "network_id", "address", "started_at"),
    Index("ix_leases_mac_address", "mac_address"),
    Index("ix_leases_port_id", "port_id"),
    Index("ix_leases_ended_at", "ended_at"),
)

# Hosts that a port is prepared for, besides the one it is bound to: see `ports.bindings`.
bindings = Table(
    "bindings",
    metadata,
    Column("port_id", Text, ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True),
    Column("host", Text, ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True),
    Column("vnic_type", Text, nullable=False, server_default="normal"),
    _json("profile", "{}"),
    _flag("nova_told"),  # that it is plugged there, too
    Index("ix_bindings_host", "host"),
)

# How many of each thing a project may have, where that isn't the default.
quotas = Table(
    "quotas",
    metadata,
    Column("project_id", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    Column("most", Integer, nullable=False),
)

# Words that users hang on rows of any table: see `tags`. No foreign key: a tag has one of many.
tags = Table(
    "tags",
    metadata,
    Column("resource_id", Text, primary_key=True),
    Column("tag", Text, primary_key=True),
    Index("ix_tags_tag", "tag", "resource_id"),
)

# Events for a compute API that are not sent yet, in order.
nova_events = Table(
    "nova_events",
    metadata,
    Column("id", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    Column("name", Text, nullable=False),
    Column("server_uuid", Text, nullable=False),
    Column("port_id", Text, nullable=False),
    _time("made_at"),
)

instances = Table(
    "instances",
    metadata,
    Column("id", Text, primary_key=True),
    _text("name"),
    _text("hostname"),
    _text("project_id"),
    _text("availability_zone"),
    _json("public_keys", "{}"),
    Column("user_data", Text),
    _json("metadata", "{}"),
    Column("launch_index", Integer, nullable=False, server_default=text("0")),
    _text("password"),
    _number("revision"),
    _time("created_at"),
    _time("updated_at"),
)
