"""Settings of all processes: frozen, validated, passed in as arguments.

`lessor.config` creates these from oslo.config; no other code reads configuration. Names are those
of nova.conf where nova-network has the flag (semantics.md A2), otherwise our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, ip_network
from pathlib import Path

from lessor.net.address import Address, Block

# RFC 1918
PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatMapping:
    """Bridge and interface of a physical network on a host."""

    physical_network: str
    bridge: str
    interface: str | None  # None: the bridge has no uplink


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Certificates of a listener, and the authority of its clients' certificates."""

    cert_file: Path
    key_file: Path
    ca_file: Path | None = None  # authority of client certificates; None: clients need none


@dataclass(frozen=True, slots=True, kw_only=True)
class NovaSettings:
    """Endpoint and credentials of the compute API that is notified about VMs' ports."""

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
    """Settings of `lessor server`."""

    state_dir: Path
    listen: tuple[str, int] = ("127.0.0.1", 9696)
    agent_listen: tuple[str, int] = ("127.0.0.1", 9697)
    insecure_listen: bool = False
    server_names: tuple[str, ...] = ()  # host names that clients may call; see api.browsers
    max_connections_per_address: int = 1000  # to each listener; 0: unlimited
    workers: int = 1  # processes; more than one needs PostgreSQL
    connection: str = ""  # SQLAlchemy URL; "" is SQLite in state_dir
    debug: bool = False
    # authentication and authorization
    auth_strategy: str = "noauth"  # or "http_basic", "keystone"
    http_basic_auth_user_file: Path | None = None
    http_basic_auth_roles_file: Path | None = None  # None: every user is an administrator
    auth_cache_time: int = 300  # seconds for which a verified credential is cached
    policy_file: Path | None = None
    keystone_authtoken: Mapping[str, str] = field(default_factory=dict, repr=False)
    tls: Tls | None = None  # of the API
    agent_tls: Tls | None = None
    # defaults of new networks
    flat_mappings: tuple[FlatMapping, ...] = ()  # physnet1 is flat_network_bridge
    multi_host: bool = False
    share_dhcp_address: bool = False
    network_host: str | None = None
    reserved_cidrs: tuple[Block, ...] = ()  # no subnet may overlap them
    allowed_host_cidrs: tuple[Block, ...] = ()  # flat subnets may overlap hosts' networks here
    min_subnet_prefixlen: int = 8
    min_pair_prefixlen: int = 24  # of projects' allowed address pairs on flat networks
    project_cidrs: tuple[Block, ...] = PRIVATE  # contain all flat subnets of projects
    fixed_range: Block | None = None
    num_networks: int = 1
    network_size: int = 256
    flat_network_dns: Address = IPv4Address("8.8.4.4")
    global_physnet_mtu: int = 1500
    dhcp_domain: str = "novalocal"
    use_network_dns_servers: bool = False  # hosts' DHCP servers forward to subnets' name servers
    base_mac: str = "fa:16:3e:00:00:00"
    create_unique_mac_address_attempts: int = 5
    # leases
    dhcp_lease_time: int = 86400
    force_dhcp_release: bool = True
    fixed_ip_disassociate_timeout: int = 600
    lease_history_days: int = 90
    update_dns_entries: bool = False  # multi_host: every host resolves every port's name
    agent_down_time: int = 75
    bind_unknown_hosts: bool = True  # ports may be bound to hosts that do not exist yet
    # overlay
    vni_ranges: tuple[tuple[int, int], ...] = ((1, 16777215),)
    project_physical_networks: tuple[str, ...] = ()  # for flat networks of projects
    project_network_types: tuple[str, ...] = ()  # (): see store.overlay.type_of
    dhcp_agents_per_network: int = 1
    dhcp_down_time: int = 10  # seconds without a heartbeat until a DHCP host is replaced
    integration_bridge: str = "br-int"  # reported to hypervisors; agents have their own setting
    datapath_type: str = ""
    fixed_ips_quota: int = -1  # [quota] fixed_ips, per project; -1 is unlimited
    network_quota: int | None = None  # [quota] network; None: as the noun declares
    subnet_quota: int | None = None
    port_quota: int | None = None
    subnetpool_quota: int | None = -1
    rbac_policy_quota: int | None = None
    max_body_bytes: int = 1 << 20
    nova: NovaSettings | None = None  # None: no compute API is notified
    notify_nova_on_port_status_changes: bool = True
    notify_nova_on_port_data_changes: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """Settings of `lessor agent`."""

    state_dir: Path
    host: str
    my_ip: Address
    server_url: tuple[str, ...] = ("http://127.0.0.1:9697",)  # servers of one store, tried in order
    token_file: Path = Path("/var/lib/lessor/agent-token")
    server_cafile: Path | None = None  # None: the system's authorities
    server_certfile: Path | None = None  # client certificate, if the server requires one
    server_keyfile: Path | None = None
    server_insecure: bool = False
    debug: bool = False
    network_host: bool = True  # may own single-host networks: network_host is unset or names us
    report_interval: float = 4.0
    availability_zone: str = "nova"
    resync_interval: float = 30.0  # seconds between full resyncs
    # flat
    flat_mappings: tuple[FlatMapping, ...] = ()
    flat_bridge_ports: tuple[str, ...] = ()  # bridge ports of the operator
    base_mac: str = "fa:16:3e:00:00:00"
    reserved_cidrs: tuple[Block, ...] = ()
    allowed_host_cidrs: tuple[Block, ...] = ()
    min_subnet_prefixlen: int = 8
    send_arp_for_ha: bool = False
    send_arp_for_ha_count: int = 3
    # dhcp
    dhcp_driver: str = "dnsmasq"  # or "native"
    networks_path: Path = Path("/var/lib/lessor/networks")
    dhcp_lease_time: int = 86400
    dhcp_domain: str = "novalocal"
    forward_domains: tuple[str, ...] = ()  # VMs' domains that upstream name servers serve too
    dnsmasq_config_file: str = ""
    dns_server: tuple[str, ...] = ()
    use_network_dns_servers: bool = False
    use_single_default_gateway: bool = False
    dhcpbridge: str = ""  # "": Lessor's own
    force_dhcp_release: bool = True
    # overlay
    local_ip: Address | None = None  # VTEP; None: no overlay networks on this host
    integration_bridge: str = "br-int"
    tunnel_bridge: str = "br-tun"
    datapath_type: str = ""  # "": system where the kernel has the module, else netdev
    ovsdb_connection: str = "unix:/run/openvswitch/db.sock"
    vxlan_udp_port: int = 4789
    # gateway
    gateway_firewall: str = "nftables"  # or "iptables"
    public_interface: str = "eth0"
    routing_source_ip: Address | None = None  # None: my_ip
    dmz_cidr: tuple[Block, ...] = ()
    force_snat_range: tuple[Block, ...] = ()
    forward_bridge_interface: tuple[str, ...] = ("all",)
    host_access_cidr: tuple[Block, ...] = ()
    no_forward_cidr: tuple[Block, ...] = ()
    no_forward_connected: bool = True  # no forwarding to networks of this host's other interfaces
    joined_cidr: tuple[Block, ...] = ()
    iptables_drop_action: str = "DROP"
    iptables_top_regex: str = ""
    iptables_bottom_regex: str = ""
    # metadata
    metadata_mode: str = "local"  # or "proxy"
    metadata_host: Address | None = None  # None: this agent answers; else the DNAT target
    metadata_port: int = 8775
    metadata_workers: int = 1
    use_forwarded_for: bool = False
    metadata_cache_expiration: int = 15
    metadata_proxy_shared_secret: str = ""
    nova_metadata_url: str = "http://127.0.0.1:8775"
