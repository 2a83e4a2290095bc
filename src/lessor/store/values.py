"""The values to make or change a row. An absent key is unset: default, or unchanged.

`tags` are given at creation only; later they change by calls of their own.

All values are parsed already (addresses are `Address`, lists are tuples); the rules between
them are checked here in the store, inside the transaction that needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from lessor.model import AddressPair, DhcpOption, HostRoute, Pool
from lessor.net.address import Address, Block


@dataclass(frozen=True, slots=True)
class FixedIpRequest:
    """An address wanted for a port: from a subnet, this very one, or both; neither is any."""

    subnet_id: str | None = None
    address: Address | None = None


class NetworkValues(TypedDict, total=False):
    """Fields of a network. network_type, physical_network and id can't change later."""

    id: str  # a UUID of the caller's own choice (nova-manage's --uuid)
    name: str
    project_id: str
    description: str
    admin_state_up: bool
    network_type: str
    physical_network: str | None
    segmentation_id: int | None
    mtu: int
    shared: bool
    port_security_enabled: bool
    dns_domain: str
    multi_host: bool
    share_address: bool
    host: str | None
    tags: Sequence[str]
    availability_zone_hints: Sequence[str]  # can't change later
    acts_for: str  # the one project that the caller acts for; absent: any


class AddressScopeValues(TypedDict, total=False):
    """Fields of an address scope."""

    id: str
    name: str
    project_id: str
    shared: bool


class SubnetPoolValues(TypedDict, total=False):
    """Fields of a subnet pool. `prefixes` is required at creation; later it may only grow."""

    id: str
    name: str
    project_id: str
    description: str
    prefixes: Sequence[Block]
    min_prefixlen: int
    default_prefixlen: int
    max_prefixlen: int
    default_quota: int | None
    address_scope_id: str | None
    shared: bool
    is_default: bool
    tags: Sequence[str]
    acts_for: str  # the one project that the caller acts for; absent: any


class RbacValues(TypedDict, total=False):
    """Fields of an RBAC policy. Only `target_project` can change later."""

    project_id: str
    object_type: str
    object_id: str
    action: str
    target_project: str


class HostValues(TypedDict, total=False):
    """Fields of a host that an administrator sets; its agent reports the others."""

    admin_state_up: bool
    description: str


class SubnetValues(TypedDict, total=False):
    """Fields of a subnet. `network_id` is required; it and `cidr` can't change later.

    Without a `cidr` a block is cut from a pool: the one of `subnetpool_id`, or the default one if
    `use_default_subnetpool`; as long as `prefixlen`, or as the pool has it.
    """

    id: str
    network_id: str
    cidr: Block
    subnetpool_id: str | None
    use_default_subnetpool: bool
    prefixlen: int
    name: str
    project_id: str
    description: str
    gateway_ip: Address | None  # absent: the first host address; None: no gateway
    dhcp_server: Address | None  # absent or None: the gateway
    enable_dhcp: bool
    pools: Sequence[Pool]
    dns_nameservers: Sequence[Address]
    host_routes: Sequence[HostRoute]
    tags: Sequence[str]
    acts_for: str  # the one project that the caller acts for; absent: any


class PortValues(TypedDict, total=False):
    """Fields of a port. `network_id` is required at creation and can't change later.

    `extra_dhcp_opts` and `allowed_address_pairs` are whole: what is given replaces what was.
    """

    id: str
    network_id: str
    mac_address: str
    name: str
    project_id: str
    description: str
    admin_state_up: bool
    fixed_ips: Sequence[FixedIpRequest]
    device_id: str
    device_owner: str
    binding_host: str | None
    binding_profile: Mapping[str, Any]
    vnic_type: str
    port_security_enabled: bool
    allowed_address_pairs: Sequence[AddressPair]
    extra_dhcp_opts: Sequence[DhcpOption]
    dns_name: str
    tags: Sequence[str]
    acts_for: str  # the one project that the caller acts for; absent: any


class InstanceValues(TypedDict, total=False):
    """Fields of an instance. `id` is what its ports carry as `device_id`; absent: a new UUID."""

    id: str
    name: str
    hostname: str
    project_id: str
    availability_zone: str
    public_keys: Mapping[str, str]
    user_data: str | None
    metadata: Mapping[str, str]
    launch_index: int
