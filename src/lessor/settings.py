"""What the settings files and options come to: frozen, checked, passed in.

`lessor.config` makes these from oslo.config; nothing else reads configuration. Names are
nova.conf's where nova-network has the flag (semantics.md A2), ours where it has not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lessor.model import TunnelEnd

# RFC 1918
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatMapping:
    """Which bridge, over which interface, a physical network is on a host."""

    physical_network: str
    bridge: str
    interface: str | None  # None: the bridge stays on its host


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """How a listener proves who it is, and how its clients do."""

    cert_file: Path
    key_file: Path
    ca_file: Path | None = (
        None  # clients have a certificate of this authority; None: they need none
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaSettings:
    """Where the compute API is that is told of VMs' ports, and who we are there."""

    auth_type: str = "password"  # a plug-in of keystoneauth1
    auth_url: str = ""
    endpoint_override: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    user_domain_name: str = ""
    user_domain_id: str = ""
    project_name: str = ""
    project_domain_name: str = ""
    project_domain_id: str = ""
    application_credential_id: str = ""
    application_credential_secret: str = field(default="", repr=False)
    region_name: str = ""
    endpoint_type: str = "public"
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""
    insecure: bool = False
    timeout: int = 10  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Of `lessor server`."""

    state_dir: Path
    listen: tuple[str, int] = ("127.0.0.1", 9696)
    agent_listen: tuple[str, int] = ("127.0.0.1", 9697)
    insecure_listen: bool = False
    server_names: tuple[str, ...] = ()  # by which clients may call the API; see api.browsers
    max_connections_per_address: int = 1000  # to each listener; 0: any number
    workers: int = 1  # processes; more than one needs PostgreSQL
    connection: str = ""  # SQLAlchemy URL; "" is SQLite in state_dir
    debug: bool = False
    # who may do what
    auth_strategy: str = "noauth"  # or "http_basic", "keystone"
    http_basic_auth_user_file: Path | None = None
    http_basic_auth_roles_file: Path | None = None  # None: every user is an administrator
    auth_cache_time: int = 300  # seconds for which a credential, once verified, is believed
    policy_file: Path | None = None
    keystone_authtoken: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls | None = None  # of the API
    agent_tls: Tls | None = None
    # defaults of new networks
    flat_mappings: tuple[FlatMapping, ...] = ()  # physnet1 is flat_network_bridge
    multi_host: bool = False
    share_dhcp_address: bool = False
    network_host: str | None = None
    reserved_cidrs: tuple[IPv4Network, ...] = ()  # of which no subnet may have any part
    allowed_host_cidrs: tuple[IPv4Network, ...] = ()  # in which flat subnets may overlap hosts' own
    min_subnet_prefixlen: int = 8
    min_pair_prefixlen: int = 24  # of allowed address pairs that projects give on flat networks
    project_cidrs: tuple[IPv4Network, ...] = PRIVATE  # that flat subnets of projects lie in
    fixed_range: IPv4Network | None = None
    num_networks: int = 1
    network_size: int = 256
    flat_network_dns: IPv4Address = IPv4Address("8.8.4.4")
    global_physnet_mtu: int = 1500
    dhcp_domain: str = "novalocal"
    use_network_dns_servers: bool = False  # whether hosts' DHCP servers ask those of subnets
    base_mac: str = "fa:16:3e:00:00:00"
    create_unique_mac_address_attempts: int = 5
    # leases
    dhcp_lease_time: int = 86400
    force_dhcp_release: bool = True
    fixed_ip_disassociate_timeout: int = 600
    lease_history_days: int = 90
    update_dns_entries: bool = False  # multi_host: every host learns every port's name
    agent_down_time: int = 75
    bind_unknown_hosts: bool = True  # ports may be bound to hosts that were not added yet
    # overlay
    vni_ranges: tuple[tuple[int, int], ...] = ((1, 16777215),)
    project_physical_networks: tuple[str, ...] = ()  # that projects may make flat networks on
    project_network_types: tuple[str, ...] = ()  # (): see store.overlay.type_of
    dhcp_agents_per_network: int = 1
    dhcp_down_time: int = 10  # seconds without a heartbeat until a DHCP host is replaced
    integration_bridge: str = "br-int"  # as hypervisors are told it; the agents' own setting
    datapath_type: str = ""
    fixed_ips_quota: int = -1  # [quota] fixed_ips, per project; -1 is unlimited
    network_quota: int | None = None  # [quota] network; None: as the noun declares
    subnet_quota: int | None = None
    port_quota: int | None = None
    subnetpool_quota: int | None = -1
    rbac_policy_quota: int | None = None
    max_body_bytes: int = 1 << 20
    nova: NovaSettings | None = None  # None: nobody is told of VMs' ports
    notify_nova_on_port_status_changes: bool = True
    notify_nova_on_port_data_changes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Of `lessor agent`."""

    state_dir: Path
    host: str
    my_ip: IPv4Address
    server_url: tuple[str, ...] = ("http://127.0.0.1:9697",)  # of one store, tried in order
    token_file: Path = Path("/var/lib/lessor/agent-token")
    server_cafile: Path | None = None  # None: the system's authorities
    server_certfile: Path | None = None  # our own certificate, if the server asks for one
    server_keyfile: Path | None = None
    server_insecure: bool = False
    debug: bool = False
    network_host: bool = True  # may own single-host networks: network_host is unset or names us
    report_interval: float = 4.0
    availability_zone: str = "nova"
    resync_interval: float = 30.0  # a full look at the host although nothing happened
    # flat
    flat_mappings: tuple[FlatMapping, ...] = ()
    flat_bridge_ports: tuple[str, ...] = ()  # an operator's own
    base_mac: str = "fa:16:3e:00:00:00"
    reserved_cidrs: tuple[IPv4Network, ...] = ()
    allowed_host_cidrs: tuple[IPv4Network, ...] = ()
    min_subnet_prefixlen: int = 8
    send_arp_for_ha: bool = False
    send_arp_for_ha_count: int = 3
    # dhcp
    networks_path: Path = Path("/var/lib/lessor/networks")
    dhcp_lease_time: int = 86400
    dhcp_domain: str = "novalocal"
    forward_domains: tuple[str, ...] = ()  # of VMs, in which other name servers have names too
    dnsmasq_config_file: str = ""
    dns_server: tuple[str, ...] = ()
    use_network_dns_servers: bool = False
    use_single_default_gateway: bool = False
    dhcpbridge: str = ""  # "": the one that comes with Lessor
    force_dhcp_release: bool = True
    # overlay
    local_ip: TunnelEnd | None = None  # None: no part in overlay networks
    integration_bridge: str = "br-int"
    tunnel_bridge: str = "br-tun"
    datapath_type: str = ""  # "": system where the kernel has the module, else netdev
    ovsdb_connection: str = "unix:/run/openvswitch/db.sock"
    vxlan_udp_port: int = 4789
    # gateway
    gateway_firewall: str = "nftables"  # or "iptables"
    public_interface: str = "eth0"
    routing_source_ip: IPv4Address | None = None  # None: my_ip
    dmz_cidr: tuple[IPv4Network, ...] = ()
    force_snat_range: tuple[IPv4Network, ...] = ()
    forward_bridge_interface: tuple[str, ...] = ("all",)
    host_access_cidr: tuple[IPv4Network, ...] = ()
    no_forward_cidr: tuple[IPv4Network, ...] = ()
    no_forward_connected: bool = True  # and the networks of this host's other interfaces
    joined_cidr: tuple[IPv4Network, ...] = ()
    iptables_drop_action: str = "DROP"
    iptables_top_regex: str = ""
    iptables_bottom_regex: str = ""
    # metadata
    metadata_mode: str = "local"  # or "proxy"
    metadata_host: IPv4Address | None = None  # None: this agent answers; else packets go there
    metadata_port: int = 8775
    metadata_workers: int = 1
    use_forwarded_for: bool = False
    metadata_cache_expiration: int = 15
    metadata_proxy_shared_secret: str = ""
    nova_metadata_url: str = "http://127.0.0.1:8775"
