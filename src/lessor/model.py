"""The nouns, frozen.

One class a noun; everything else passes these around. Times are seconds since 1970 (float),
durations seconds, MTUs bytes, MACs lower case with colons. An id is a UUID as text. `revision` is
the store's counter at the row's last change (see docs/design/revisions.md).
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    TunnelEnd = IPv4Address | IPv6Address
else:

    class TunnelEnd(ABC):  # noqa: B024 - made for `register`, nothing derives from it
        """Where a host's tunnels end: an address of either version.

        A class, since msgspec reads no union of two types that are not its own.
        """

    TunnelEnd.register(IPv4Address)
    TunnelEnd.register(IPv6Address)

FLAT, VXLAN = "flat", "vxlan"  # network_type: on a bridge of a physical network, in tunnels
LATEST = 253402300799.0  # the last time that is a date: the end of the year 9999
METADATA_ADDRESS = IPv4Address("169.254.169.254")
DHCP_OWNER = (
    "network:dhcp"  # device_owner of a port that a DHCP server (or multi-host gateway) uses
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A broadcast domain that VMs are plugged into."""

    id: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    admin_state_up: bool = True
    network_type: str = FLAT
    physical_network: str | None = None
    segmentation_id: int | None = None
    mtu: int = 1500
    shared: bool = False
    port_security_enabled: bool = True
    dns_domain: str = ""
    multi_host: bool = False  # every host with a port is gateway and DHCP server of its own VMs
    share_address: bool = False  # with multi_host: all hosts carry the same gateway address
    host: str | None = None  # single-host: the network host; None until a host claims it
    availability_zone_hints: tuple[str, ...] = ()  # where its DHCP servers shall be; (): anywhere
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def is_overlay(self) -> bool:
        """Return whether its frames go between hosts in tunnels, not on a physical network."""
        return self.network_type == VXLAN


@dataclass(frozen=True, slots=True, kw_only=True)
class RbacPolicy:
    """Something is shared with a project, or with all ("*")."""

    id: str
    project_id: str = ""
    object_type: str
    object_id: str
    action: str
    target_project: str
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A span of addresses that automatic choice may take from, both ends included."""

    first: IPv4Address
    last: IPv4Address


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route told to the VMs of a subnet (DHCP options 121 and 249)."""

    destination: IPv4Network
    nexthop: IPv4Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A block of addresses on a network."""

    id: str
    network_id: str
    cidr: IPv4Network
    name: str = ""
    project_id: str = ""
    description: str = ""
    gateway_ip: IPv4Address | None = None
    dhcp_server: IPv4Address | None = None  # None: the gateway; another one: gateway is external
    enable_dhcp: bool = True
    pools: tuple[Pool, ...] = ()
    dns_nameservers: tuple[IPv4Address, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    subnetpool_id: str | None = None  # that its block was delegated from
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressScope:
    """Subnet pools whose addresses can be routed to each other, so none may overlap."""

    id: str
    name: str = ""
    project_id: str = ""
    shared: bool = False
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetPool:
    """Blocks that subnets are cut from on demand."""

    id: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    prefixes: tuple[IPv4Network, ...] = ()
    min_prefixlen: int = 8
    default_prefixlen: int = 8
    max_prefixlen: int = 32
    default_quota: int | None = None  # addresses that one project's subnets may have; None: any
    address_scope_id: str | None = None
    shared: bool = False
    is_default: bool = False
    by_project: bool = False  # some prefixes were given by whoever acts for one project only
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class FixedIp:
    """An address of a port."""

    subnet_id: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class DhcpOption:
    """A DHCP option of one port: a dnsmasq option name or a number, and its value."""

    name: str
    value: str
    ip_version: int = 4


@dataclass(frozen=True, slots=True)
class AddressPair:
    """Something else that a port may send with: an address or block, and a MAC (None: the port's)."""

    addresses: IPv4Network
    mac: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A NIC of a VM (or of ours, by `device_owner`) on a network."""

    id: str
    network_id: str
    mac_address: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    admin_state_up: bool = True
    status: str = "DOWN"
    fixed_ips: tuple[FixedIp, ...] = ()
    device_id: str = ""
    device_owner: str = ""
    binding_host: str | None = None
    binding_profile: dict[str, Any] = field(default_factory=dict)  # JSON, for who binds
    binding_failed: bool = False  # at its binding the host was dead or lacked the network
    vnic_type: str = "normal"
    port_security_enabled: bool = True
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    extra_dhcp_opts: tuple[DhcpOption, ...] = ()
    dns_name: str = ""
    # in a host's view: the other hosts its VM is to come to, or came from; True: that host makes the tap
    prepared_for: dict[str, bool] = field(default_factory=dict)
    pending: str = ""  # why it is not ACTIVE, in words; "" when it is, or is meant not to be
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


class AddressState(StrEnum):
    """What an address of a network is at the moment (semantics.md A7.1)."""

    RESERVED = "reserved"  # never handed out
    FREE = "free"
    SERVER = "server"  # a DHCP server's or multi-host gateway's own
    ALLOCATED = "allocated"  # a port has it, no lease seen
    LEASED = "leased"  # a port has it and its VM took it
    RELEASING = "releasing"  # the port is gone; a lease may still be alive


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressInfo:
    """An address with its state, for operators. Addresses never used have no row and are FREE."""

    network_id: str
    subnet_id: str
    address: IPv4Address
    state: AddressState
    port_id: str | None = None
    mac_address: str | None = None
    host: str | None = None
    leased_until: float | None = None
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """What a VM was given, since when, until when. `ended_at` None: it is alive."""

    id: str
    network_id: str
    host: str  # the host whose DHCP server gave it
    address: IPv4Address
    mac_address: str
    port_id: str | None = None
    hostname: str = ""
    client_id: str = ""
    started_at: float = 0.0
    expires_at: float | None = None  # None: never
    renewed_at: float = 0.0
    ended_at: float | None = None
    end_reason: str = ""  # released, expired, superseded, operator


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseEvent:
    """A DHCP server's report of a lease: `add`, `old` (renewed, or still alive) or `del`.

    `seq` counts the events of one spool (its `epoch` names it), without gaps, from 1.
    """

    seq: int
    action: str
    network_id: str  # "" until the agent has looked it up
    address: IPv4Address
    mac_address: str
    server: str = ""  # name of the DHCP server on its host; not sent to the store
    expires_at: float | None = None  # None: never; meaningless for del
    at: float = 0.0
    hostname: str = ""
    client_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What the metadata service tells the VM whose ports carry this id as `device_id`."""

    id: str
    name: str = ""
    hostname: str = ""
    project_id: str = ""
    availability_zone: str = "nova"
    public_keys: dict[str, str] = field(default_factory=dict)  # name -> OpenSSH public key
    user_data: str | None = None  # base64, as the compute API has it
    metadata: dict[str, str] = field(default_factory=dict)
    launch_index: int = 0
    password: str = ""  # encrypted by the guest, posted once
    created_at: float = 0.0
    updated_at: float = 0.0
    revision: int = 0


MISSED_REPORTS = 3  # in a row, and a host is called silent
DEFAULT_REPORT_INTERVAL_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong or waited for on a host, as its agent reports it. Times: seconds since 1970."""

    text: str
    key: str = ""  # the same while only numbers in the text change
    since: float = 0.0  # first seen, in this run of the agent
    seen: float = 0.0  # last seen
    networks: tuple[str, ...] = ()  # ids of those it concerns; none, and no ports: the whole host
    ports: tuple[str, ...] = ()
    waits: bool = False  # for somebody else: a hypervisor, a cable


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpMove:
    """A DHCP server of an overlay network that was moved from a host that can't serve it."""

    network_id: str
    source: str
    target: str
    reason: str = ""  # "silent", "taken down", or what the source reported
    unable: bool = False  # the source reported that it can't serve the network
    moved_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A machine of the fleet, as the store knows it."""

    name: str
    id: str = ""
    created_at: float = 0.0
    started_at: float | None = None  # of its agent
    heartbeat_at: float | None = None  # None: its agent was never seen
    alive: bool = False
    version: str = ""
    physical_networks: tuple[str, ...] = ()  # that the agent has a bridge for
    network_host: bool = False  # may own single-host networks, and serve DHCP on overlays
    local_ip: TunnelEnd | None = None  # its end of tunnels (VTEP); None: it takes no part in them
    availability_zone: str = "nova"
    server: str = ""  # that its agent speaks to, of several; "" where it knows only one
    datapath_type: str = ""  # of its Open vSwitch bridges: system or netdev; "": not said
    in_sync: bool = False
    admin_state_up: bool = True  # False: it is to have no DHCP servers of overlay networks
    description: str = ""
    problems: tuple[Problem, ...] = ()  # what is pending or failing there
    counts: dict[str, int] = field(default_factory=dict)  # networks, ports, leases, dhcp_servers
    report_interval: float = 0.0  # seconds between its heartbeats; 0: not said
    silent_s: float | None = None  # seconds since its last report; None: there was none

    @property
    def role(self) -> str:
        """What its agent does for networks: "dhcp" (also) serves them; else "switch" or "bridge"."""
        if self.network_host:
            return "dhcp"
        return "bridge" if self.local_ip is None else "switch"

    @property
    def state(self) -> str:
        """How its agent reports: "new" (never yet), "up", "silent" or "down"."""
        if self.silent_s is None:
            return "new"
        if not self.alive:
            return "down"
        limit_s = MISSED_REPORTS * (self.report_interval or DEFAULT_REPORT_INTERVAL_S)
        return "silent" if self.silent_s >= limit_s else "up"


# --- what the agents are told and what they say (agent listener, JSON) ----------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRequest:
    """What an agent has: the store's epoch and a cursor for each network scope it holds."""

    epoch: str = ""
    cursors: dict[str, int] = field(default_factory=dict)
    wait_s: float = 0.0  # long poll: answer at a change, or empty after so long
    tours: tuple[str, ...] = ()  # ids of those it has taken up
    position: str = ""  # that of the last answer: a store that was restored since doesn't have it


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeChange:
    """What changed in one network scope. Rows are whole; `whole` replaces all that was known."""

    whole: bool
    network: Network | None = None  # always there when whole
    subnets: tuple[Subnet, ...] = ()
    ports: tuple[Port, ...] = ()
    gone_subnets: tuple[str, ...] = ()
    gone_ports: tuple[str, ...] = ()
    peers: dict[str, TunnelEnd] | None = None  # overlay: see Scope; None: as before


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewAnswer:
    """All that concerns a host and is newer than its cursors, true at `revision`."""

    epoch: str
    revision: int
    scopes: dict[str, ScopeChange] = field(default_factory=dict)  # by network id
    left: tuple[str, ...] = ()  # networks that no longer concern the host
    tours: dict[str, str] = field(default_factory=dict)  # asked of the host: id, network's id
    position: str = ""  # in the store's history, signed; to be shown with the next question


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One network with its rows as an agent holds them; `revision` is the scope's cursor.

    `peers` has, for an overlay network, the tunnel ends of all hosts that have a port of it (this
    one too), by host name. Hosts without one are left out.
    """

    revision: int
    network: Network
    subnets: dict[str, Subnet] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    peers: dict[str, TunnelEnd] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All that an agent knows of the cloud."""

    epoch: str = ""
    scopes: dict[str, Scope] = field(default_factory=dict)
    position: str = ""  # of the last answer, in the store's history


@dataclass(frozen=True, slots=True, kw_only=True)
class PortReport:
    """How far a port is on the reporting host. None: not this host's part.

    `revision` is that of the row which the host acted upon: the server ignores a report about an
    older row than it has, since it says nothing about the present one.
    """

    revision: int = 0
    wired: bool | None = None  # its tap is on the bridge, up and guarded (the binding host says)
    served: bool | None = None  # a DHCP server has its reservation (the DHCP host says)
    pending: str = ""  # what is waited for, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBlock:
    """Addresses that a host has or reaches, not by Lessor: no flat subnet may take them over."""

    cidr: IPv4Network
    what: Literal["network", "route", "gateway", "name server", "server"]
    detail: str = ""  # device and address
    physical_network: str = ""  # of the wire that it is on, if that is one of flat networks


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An agent's heartbeat, with all that changed since its last one.

    `applied` says for a network: everything up to this revision is done here, and what was removed
    no longer serves anybody (its reservation is gone from the DHCP server, its lease was ended or
    reported as alive). It is sent after the lease events of the time before. `settled` says the
    same of the whole host: up to this revision all is done, so nothing is left here of networks
    that it took part in before.
    """

    run_id: str  # new at every start of the agent
    previous_run_id: str = ""  # the last run that the server confirmed, from the state folder
    unconfirmed_run_ids: tuple[str, ...] = ()  # runs since: the server may have heard of any
    started_at: float = 0.0
    version: str = ""
    physical_networks: tuple[str, ...] = ()
    network_host: bool = False
    local_ip: TunnelEnd | None = None
    availability_zone: str = "nova"
    server: str = ""  # that this is said to, of several that the agent knows
    datapath_type: str = ""
    in_sync: bool = False
    epoch: str = ""  # of the store that the revisions are of
    ports: dict[str, PortReport] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    settled: int = 0  # 0: as before
    problems: tuple[Problem, ...] | None = None  # None: as before
    counts: dict[str, int] = field(default_factory=dict)
    report_interval: float = 0.0  # seconds between heartbeats
    unserved: dict[str, str] | None = None  # network id -> why no DHCP; None: as before
    blocks: tuple[HostBlock, ...] | None = None  # what is this host's own; None: as before

    @property
    def has_news(self) -> bool:
        """Whether it is more than a heartbeat."""
        optional = (self.problems, self.unserved, self.blocks)
        news = self.ports or self.applied or self.settled
        return bool(news) or any(one is not None for one in optional)

    @property
    def bare(self) -> Report:
        """The heartbeat in it."""
        none: dict[str, Any] = {"problems": None, "unserved": None, "blocks": None}
        return replace(self, ports={}, applied={}, settled=0, **none)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One thing that a network needs on a host: what should be there, and what is."""

    what: str  # "namespace", "tap", "dnsmasq", "flow" …
    name: str
    should: str
    found: str  # in words; "nothing" if it isn't there
    ok: bool
    command: str  # what shows it on the host


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTour:
    """What a host says of a network; `silent` says why it says nothing."""

    host: str
    pieces: tuple[Piece, ...] = ()
    silent: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing is missing there, as far as is known."""
        return not self.silent and all(piece.ok for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseBatch:
    """Lease events in order. The server applies each (epoch, seq) once, whatever is sent again."""

    epoch: str
    events: tuple[LeaseEvent, ...] = ()
    snapshot: bool = False  # these are all live leases of this host: end the ones not named


@dataclass(frozen=True, slots=True)
class Holding:
    """An address that a host has a port for, or a live lease of."""

    network_id: str
    address: IPv4Address
    mac_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What is in use on a host that meets a new epoch: told before it takes the new view."""

    epoch: str
    ports: tuple[Holding, ...] = ()  # of its view so far: bound to it, or served by it
    leases: tuple[LeaseEvent, ...] = ()  # all that are live in its DHCP servers


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataFacts:
    """What is known of the VM behind an address: its instance row, if any, and all its ports."""

    port: Port
    instance: Instance | None = None
    ports: tuple[Port, ...] = ()
    networks: dict[str, Network] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)
