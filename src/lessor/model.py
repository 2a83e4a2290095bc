"""The nouns of Lessor, as frozen classes.

Times are seconds since 1970 (float), durations seconds, MTUs bytes, MACs lower case with colons.
An id is a UUID as text. `revision` is the store's counter at the row's last change (see
docs/design/revisions.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any, Literal

from lessor.net.address import Address, Block

FLAT, VXLAN = "flat", "vxlan"  # network_type: on a bridge of a physical network, in tunnels
LATEST = 253402300799.0  # the latest time that is a valid date: the end of the year 9999
METADATA_ADDRESS = IPv4Address("169.254.169.254")
DHCP_OWNER = (
    "network:dhcp"  # device_owner of a port that a DHCP server (or multi-host gateway) uses
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A broadcast domain of VMs."""

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
    availability_zone_hints: tuple[str, ...] = ()  # zones of its DHCP servers; (): any
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0

    @property
    def is_overlay(self) -> bool:
        """Return whether its frames go between hosts in tunnels, not on a physical network."""
        return self.network_type == VXLAN


@dataclass(frozen=True, slots=True, kw_only=True)
class RbacPolicy:
    """Shares an object with a project, or with all ("*")."""

    id: str
    project_id: str = ""
    object_type: str
    object_id: str
    action: str
    target_project: str
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Pool:
    """A range of addresses for automatic allocation, both ends included."""

    first: Address
    last: Address


@dataclass(frozen=True, slots=True)
class HostRoute:
    """A route that a subnet's VMs get by DHCP (options 121 and 249)."""

    destination: Block
    nexthop: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Subnet:
    """A block of addresses on a network."""

    id: str
    network_id: str
    cidr: Block
    name: str = ""
    project_id: str = ""
    description: str = ""
    gateway_ip: Address | None = None
    dhcp_server: Address | None = None  # None: the gateway; another one: gateway is external
    enable_dhcp: bool = True
    pools: tuple[Pool, ...] = ()
    dns_nameservers: tuple[Address, ...] = ()
    host_routes: tuple[HostRoute, ...] = ()
    subnetpool_id: str | None = None  # subnet pool of its block
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressScope:
    """Subnet pools that are routed to each other, so their prefixes must not overlap."""

    id: str
    name: str = ""
    project_id: str = ""
    shared: bool = False
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SubnetPool:
    """Prefixes from which subnets are allocated on demand."""

    id: str
    name: str = ""
    project_id: str = ""
    description: str = ""
    prefixes: tuple[Block, ...] = ()
    min_prefixlen: int = 8
    default_prefixlen: int = 8
    max_prefixlen: int = 32
    default_quota: int | None = None  # maximum addresses in one project's subnets; None: unlimited
    address_scope_id: str | None = None
    shared: bool = False
    is_default: bool = False
    by_project: bool = False  # some prefixes come from a caller that acts for one project only
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class FixedIp:
    """An address of a port."""

    subnet_id: str
    address: Address


@dataclass(frozen=True, slots=True)
class DhcpOption:
    """A DHCP option of one port: a dnsmasq option name or a number, and its value."""

    name: str
    value: str
    ip_version: int = 4


@dataclass(frozen=True, slots=True)
class AddressPair:
    """Source addresses that a port may use besides its own; `mac` None: with the port's MAC."""

    addresses: Block
    mac: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A NIC on a network: of a VM, or of our DHCP servers and gateways (see `device_owner`)."""

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
    binding_profile: dict[str, Any] = field(default_factory=dict)  # JSON, set by the hypervisor
    binding_failed: bool = False  # when bound, the host was down or lacked the physical network
    vnic_type: str = "normal"
    port_security_enabled: bool = True
    allowed_address_pairs: tuple[AddressPair, ...] = ()
    extra_dhcp_opts: tuple[DhcpOption, ...] = ()
    dns_name: str = ""
    # in a host's view: migration targets and sources of its VM; True: the agent there makes the tap
    prepared_for: dict[str, bool] = field(default_factory=dict)
    pending: str = ""  # the reason it is not ACTIVE; "": it is ACTIVE, or administratively down
    revision: int = 0
    created_at: float = 0.0
    updated_at: float = 0.0


class AddressState(StrEnum):
    """State of an address of a network (semantics.md A7.1)."""

    RESERVED = "reserved"  # never allocated
    FREE = "free"
    SERVER = "server"  # of a DHCP server or a multi-host gateway
    ALLOCATED = "allocated"  # of a port without a lease
    LEASED = "leased"  # of a port with a lease
    RELEASING = "releasing"  # the port is deleted; a lease may still be live


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressInfo:
    """An address with its state, for operators. Unused addresses have no row and are FREE."""

    network_id: str
    subnet_id: str
    address: Address
    state: AddressState
    port_id: str | None = None
    mac_address: str | None = None
    host: str | None = None
    leased_until: float | None = None
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A DHCP lease; `ended_at` None: it is live."""

    id: str
    network_id: str
    host: str  # host of the DHCP server
    address: Address
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
    """A lease event of a DHCP server: `add`, `old` (renewed, or still live) or `del`.

    `seq` numbers the events of one spool from 1, without gaps; `LeaseBatch.epoch` names the spool.
    """

    seq: int
    action: str
    network_id: str  # "" until the agent has looked it up
    address: Address
    mac_address: str
    server: str = ""  # name of the DHCP server on its host; not sent to the store
    expires_at: float | None = None  # None: never; meaningless for del
    at: float = 0.0
    hostname: str = ""
    client_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """Metadata of the VM whose ports have this id as their `device_id`."""

    id: str
    name: str = ""
    hostname: str = ""
    project_id: str = ""
    availability_zone: str = "nova"
    public_keys: dict[str, str] = field(default_factory=dict)  # name -> OpenSSH public key
    user_data: str | None = None  # base64, as in the compute API
    metadata: dict[str, str] = field(default_factory=dict)
    launch_index: int = 0
    password: str = ""  # encrypted by the guest, posted once
    created_at: float = 0.0
    updated_at: float = 0.0
    revision: int = 0


MISSED_REPORTS = 3  # consecutive, after which a host is "silent"
DEFAULT_REPORT_INTERVAL_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A failure or a wait on a host, reported by its agent. Times: seconds since 1970."""

    text: str
    key: str = ""  # unchanged while only numbers in the text change
    since: float = 0.0  # first seen, in this run of the agent
    seen: float = 0.0  # last seen
    networks: tuple[str, ...] = ()  # ids; without networks and ports it concerns the whole host
    ports: tuple[str, ...] = ()
    waits: bool = False  # for something external: a hypervisor, a cable


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpMove:
    """The move of an overlay network's DHCP server from a host that can't serve it."""

    network_id: str
    source: str
    target: str
    reason: str = ""  # "silent", "taken down", or what the source reported
    unable: bool = False  # the source reported that it can't serve the network
    moved_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host of the fleet."""

    name: str
    id: str = ""
    created_at: float = 0.0
    started_at: float | None = None  # start of its agent
    heartbeat_at: float | None = None  # None: no heartbeat yet
    alive: bool = False
    version: str = ""
    physical_networks: tuple[str, ...] = ()  # those with a bridge on it
    network_host: bool = False  # may own single-host networks, and serve DHCP on overlays
    local_ip: Address | None = None  # VTEP; None: no overlay networks on it
    availability_zone: str = "nova"
    server: str = ""  # the server its agent uses, of several; "": it has only one
    datapath_type: str = ""  # of its Open vSwitch bridges: system or netdev; "": unknown
    in_sync: bool = False
    admin_state_up: bool = True  # False: gets no DHCP servers of overlay networks
    description: str = ""
    problems: tuple[Problem, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)  # networks, ports, leases, dhcp_servers
    report_interval: float = 0.0  # seconds between its heartbeats; 0: unknown
    silent_s: float | None = None  # seconds since its last report; None: no report yet

    @property
    def role(self) -> str:
        """Role of its agent: "dhcp" (may serve DHCP), "switch" (overlays) or "bridge"."""
        if self.network_host:
            return "dhcp"
        return "bridge" if self.local_ip is None else "switch"

    @property
    def state(self) -> str:
        """Heartbeat state: "new" (no heartbeat yet), "up", "silent" or "down"."""
        if self.silent_s is None:
            return "new"
        if not self.alive:
            return "down"
        limit_s = MISSED_REPORTS * (self.report_interval or DEFAULT_REPORT_INTERVAL_S)
        return "silent" if self.silent_s >= limit_s else "up"


# --- messages between agents and server (agent listener, JSON) ------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRequest:
    """A poll of an agent: the epoch and the cursor of each network scope that it holds."""

    epoch: str = ""
    cursors: dict[str, int] = field(default_factory=dict)
    wait_s: float = 0.0  # long poll: maximum seconds until an empty answer
    tours: tuple[str, ...] = ()  # ids of the tours that it has started
    position: str = ""  # of the last answer; a store restored from an older back-up lacks it


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeChange:
    """Changes of one network scope. Rows are complete; `whole` replaces the scope."""

    whole: bool
    network: Network | None = None  # never None when whole
    subnets: tuple[Subnet, ...] = ()
    ports: tuple[Port, ...] = ()
    gone_subnets: tuple[str, ...] = ()
    gone_ports: tuple[str, ...] = ()
    peers: dict[str, Address] | None = None  # overlay: see Scope; None: unchanged


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewAnswer:
    """All rows of a host that are newer than its cursors, as of `revision`."""

    epoch: str
    revision: int
    scopes: dict[str, ScopeChange] = field(default_factory=dict)  # by network id
    left: tuple[str, ...] = ()  # ids of networks that no longer concern the host
    tours: dict[str, str] = field(default_factory=dict)  # requested tours: id -> network's id
    position: str = ""  # in the store's history, signed; the next request returns it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """One network with its rows, in an agent's view; `revision` is the scope's cursor.

    `peers` has the VTEPs of all hosts that have a port of an overlay network, including this host,
    by host name. Hosts without a VTEP are omitted.
    """

    revision: int
    network: Network
    subnets: dict[str, Subnet] = field(default_factory=dict)
    ports: dict[str, Port] = field(default_factory=dict)
    peers: dict[str, Address] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The rows that an agent holds, by network."""

    epoch: str = ""
    scopes: dict[str, Scope] = field(default_factory=dict)
    position: str = ""  # of the last answer, in the store's history


@dataclass(frozen=True, slots=True, kw_only=True)
class PortReport:
    """State of a port on the reporting host. None: another host is responsible.

    `revision` is that of the row which the host applied. The server ignores a report about an older
    row than its own.
    """

    revision: int = 0
    wired: bool | None = None  # from the binding host: its tap is on the bridge, up and guarded
    served: bool | None = None  # from a DHCP host: the DHCP server has its reservation
    pending: str = ""  # what the port waits for


@dataclass(frozen=True, slots=True, kw_only=True)
class HostBlock:
    """Addresses that a host has or reaches outside of Lessor: no flat subnet may overlap them."""

    cidr: Block
    what: Literal["network", "route", "gateway", "name server", "server"]
    detail: str = ""  # device and address
    physical_network: str = ""  # on which they are; "": on none of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An agent's heartbeat, with all changes since the last one.

    `applied` has a revision for a network: all changes up to it are applied here, and removed ports
    are no longer served (the DHCP server has no reservation, and the lease has ended or is reported
    as live). It is sent after the lease events before it. `settled` is the same for the whole host:
    nothing remains here of networks that the host has left up to that revision.
    """

    run_id: str  # new at every start of the agent
    previous_run_id: str = ""  # the last run that the server confirmed; from the state folder
    unconfirmed_run_ids: tuple[str, ...] = ()  # runs since then; the server may know any of them
    started_at: float = 0.0
    version: str = ""
    physical_networks: tuple[str, ...] = ()
    network_host: bool = False
    local_ip: Address | None = None
    availability_zone: str = "nova"
    server: str = ""  # the receiver, if the agent has several servers
    datapath_type: str = ""
    in_sync: bool = False
    epoch: str = ""  # of the store, for the revisions
    ports: dict[str, PortReport] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    settled: int = 0  # 0: unchanged
    problems: tuple[Problem, ...] | None = None  # None: unchanged
    counts: dict[str, int] = field(default_factory=dict)
    report_interval: float = 0.0  # seconds between heartbeats
    unserved: dict[str, str] | None = None  # network id -> reason for no DHCP; None: unchanged
    blocks: tuple[HostBlock, ...] | None = None  # of this host; None: unchanged

    @property
    def has_news(self) -> bool:
        """Whether the report is more than a heartbeat."""
        optional = (self.problems, self.unserved, self.blocks)
        news = self.ports or self.applied or self.settled
        return bool(news) or any(one is not None for one in optional)

    @property
    def bare(self) -> Report:
        """The report without its changes: a heartbeat only."""
        none: dict[str, Any] = {"problems": None, "unserved": None, "blocks": None}
        return replace(self, ports={}, applied={}, settled=0, **none)


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One object that a network needs on a host: its desired and its actual state."""

    what: str  # "namespace", "tap", "dnsmasq", "flow" …
    name: str
    should: str
    found: str  # actual state as text; "nothing": missing
    ok: bool
    command: str  # shell command that shows it on the host


@dataclass(frozen=True, slots=True, kw_only=True)
class HostTour:
    """State of a network on one host; `silent` is the reason if the host did not answer."""

    host: str
    pieces: tuple[Piece, ...] = ()
    silent: str = ""

    @property
    def ok(self) -> bool:
        """Whether the host answered and nothing is missing."""
        return not self.silent and all(piece.ok for piece in self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseBatch:
    """Lease events in order. The server applies each (epoch, seq) once, also if sent twice."""

    epoch: str
    events: tuple[LeaseEvent, ...] = ()
    snapshot: bool = False  # events are all live leases of this host: the server ends all others


@dataclass(frozen=True, slots=True)
class Holding:
    """An address in use on a host, by a port or a live lease."""

    network_id: str
    address: Address
    mac_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Addresses in use on a host, reported before it takes the view of a new epoch."""

    epoch: str
    ports: tuple[Holding, ...] = ()  # of its old view: bound to it, or served by it
    leases: tuple[LeaseEvent, ...] = ()  # the live leases of its DHCP servers


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataFacts:
    """Rows of the VM behind an address: its instance, if it has one, and all its ports."""

    port: Port
    instance: Instance | None = None
    ports: tuple[Port, ...] = ()
    networks: dict[str, Network] = field(default_factory=dict)
    subnets: dict[str, Subnet] = field(default_factory=dict)
