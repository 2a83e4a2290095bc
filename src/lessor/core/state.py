"""What a host should have, or has: plain values, one dict a kind.

`desired()` makes a HostState from the view; drivers observe the same values from the host; `diff`
tells what to do. Keys are names that an operator knows from the host.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from lessor.net.address import Address, Block, Interface

Names = tuple[tuple[Address, str], ...]  # that DNS answers, with their domain


@dataclass(frozen=True, slots=True)
class Sysctl:
    """A kernel setting, by its dotted name ("net.ipv4.ip_forward")."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Bridge:
    """A Linux bridge: STP off, forward delay 0, its MAC and MTU pinned to its interface's."""

    name: str
    interface: str | None  # enslaved, its addresses and routes moved to the bridge
    mtu: int | None = None  # None: as it should be
    tx_checksum: bool = True  # False: transmit offload off, so that DHCP replies are whole


@dataclass(frozen=True, slots=True)
class Tap:
    """The host's end of a port."""

    name: str
    port_id: str
    bridge: str  # a Linux bridge; "": none, an OVS bridge gets it as an `OvsPort`
    mtu: int
    managed: bool  # True: a persistent tap that we make; False: a hypervisor makes it, we take it
    up: bool = True  # False: admin_state_up is false


@dataclass(frozen=True, slots=True)
class DeviceAddress:
    """An address of ours on a device. `first`: it must be the device's first (dnsmasq, A6.2)."""

    device: str
    interface: Interface
    first: bool = False

    @property
    def key(self) -> str:
        """Its name in `HostState`: "device address/prefix"."""
        return f"{self.device} {self.interface}"


@dataclass(frozen=True, slots=True)
class Gateway:
    """A network range that this host is gateway of, or DHCP server for."""

    network_id: str
    subnet_id: str
    bridge: str
    interface: str | None  # the bridge's physical interface
    cidr: Block
    address: Address  # dhcp_server: ours on the bridge
    external: bool  # the gateway is another machine: no general SNAT (A11.3)
    isolated: bool  # shared address: no ARP for it and no DHCP across the wire (A12.3)
    vm_sources: tuple[tuple[Address, Address], ...] = ()  # spans that VMs' addresses lie in


@dataclass(frozen=True, slots=True)
class VmRange:
    """A subnet on a VM bridge; `sources` are the spans that its VMs' addresses lie in."""

    bridge: str
    cidr: Block
    sources: tuple[tuple[Address, Address], ...]
    network_id: str = ""
    routers: tuple[Address, ...] = ()  # its gateway and its DHCP server


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Firewall rules of one backend table, whole: replaced in one transaction."""

    name: str  # "nft bridge lessor", "nft inet lessor", "iptables"
    text: str  # what `nft -f -` or `iptables-restore` is given, one for each `name`


@dataclass(frozen=True, slots=True)
class DhcpRange:
    """A subnet as one DHCP server announces it."""

    subnet_id: str
    network_id: str
    cidr: Block
    server: Address
    start: Address
    router: Address | None  # None: announce no router
    mtu: int
    dns: tuple[Address, ...]
    routes: tuple[tuple[Block, Address], ...]  # classless; () is none
    domain: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """MAC and address of a port in a DHCP server, with the options that it gets."""

    port_id: str
    network_id: str
    subnet_id: str
    mac: str
    address: Address
    hostname: str  # one label; made safe by core.naming
    domain: str
    options: tuple[tuple[str, str], ...] = ()
    router: bool = True  # False: use_single_default_gateway, and this is not the first NIC


@dataclass(frozen=True, slots=True)
class DhcpServer:
    """A DHCP server on this host: one for each bridge (flat), or each namespace (vxlan).

    It says what clients get, whichever program serves it. `reservations` is keyed by address as
    text: one address, one MAC.
    """

    name: str  # the bridge's, or the network's id
    interface: str
    ranges: tuple[DhcpRange, ...]
    reservations: dict[str, Reservation]
    names: Names = ()  # that no reservation has
    lease_time: int = 86400  # seconds; negative: leases never expire
    upstream_dns: tuple[str, ...] = ()
    namespace: str = ""  # that it runs in; "": the host's own
    peers: bool = False  # other hosts have servers of the same network (LP 1457900)
    forwarded: tuple[str, ...] = ()  # domains in which unknown names are asked upstream


@dataclass(frozen=True, slots=True)
class MetadataListener:
    """Where the agent answers metadata requests: all addresses of one interface."""

    interface: str
    port: int
    networks: tuple[str, ...]  # network ids that clients there may belong to
    namespace: str = ""  # that the interface is in; "": the host's own


@dataclass(frozen=True, slots=True)
class Namespace:
    """A network namespace, by its name in /run/netns ("qdhcp-<network id>")."""

    name: str


@dataclass(frozen=True, slots=True)
class DhcpDevice:
    """The DHCP port of an overlay network: a veth, its inner end in the namespace.

    The inner end has the port's tap name, its MAC, its addresses and the metadata address; the
    outer end, in the host, is what br-int gets (dataplane.md 2.1: it survives an OVS restart).
    """

    name: str  # tapXXXXXXXX-XX, inside
    outer: str  # otapXXXXXXXX-XX, cut to 15 characters
    namespace: str
    mac: str
    mtu: int
    addresses: tuple[Interface, ...]
    gateway: Address | None = None  # default route of the namespace


@dataclass(frozen=True, slots=True)
class OvsBridge:
    """A bridge of Open vSwitch: fail_mode secure, OpenFlow 1.0 to 1.5."""

    name: str
    datapath_type: str  # "system" or "netdev"


@dataclass(frozen=True, slots=True)
class OvsPort:
    """A port of an OVS bridge, of one of these kinds.

    * "vif": a VM's tap; made by a hypervisor or by us, pending as long as the device isn't there.
    * "dhcp": the outer end of a `DhcpDevice`.
    * "patch": option peer.
    * "vxlan": options local_ip, remote_ip, and others as B16 says; bfd asks whether it carries.
    """

    name: str
    bridge: str
    kind: str
    port_id: str = ""  # external_ids:iface-id of vif and dhcp
    mac: str = ""  # external_ids:attached-mac
    network_id: str = ""  # kept with the local VLAN, so that a restarted agent finds it again
    vlan: int | None = None  # the network's local VLAN (tag)
    options: tuple[tuple[str, str], ...] = ()
    bfd: tuple[tuple[str, str], ...] = ()  # settings of BFD, as ovs-vswitchd.conf.db(5) has them


@dataclass(frozen=True, slots=True)
class Flows:
    """All our flows of one OVS bridge, as ovs-ofctl writes them; replaced as a bundle.

    Ports are given by name.
    """

    bridge: str
    lines: tuple[str, ...]  # sorted; without a cookie, which the driver adds


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """All of it. The order of the fields is the order of creation; deletion goes against it."""

    sysctls: dict[str, Sysctl] = field(default_factory=dict)
    bridges: dict[str, Bridge] = field(default_factory=dict)
    namespaces: dict[str, Namespace] = field(default_factory=dict)
    ovs_bridges: dict[str, OvsBridge] = field(default_factory=dict)
    dhcp_devices: dict[str, DhcpDevice] = field(default_factory=dict)
    rulesets: dict[str, Ruleset] = field(default_factory=dict)  # before taps: from the first packet
    addresses: dict[str, DeviceAddress] = field(default_factory=dict)  # by "device address/prefix"
    dhcp_servers: dict[str, DhcpServer] = field(default_factory=dict)
    metadata: dict[str, MetadataListener] = field(default_factory=dict)  # by interface
    taps: dict[str, Tap] = field(default_factory=dict)
    ovs_ports: dict[str, OvsPort] = field(default_factory=dict)
    flows: dict[str, Flows] = field(default_factory=dict)  # by bridge
