"""Rows of networks and subnets. Columns are read by position: lists are long."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from lessor.model import HostRoute, Network, Pool, Subnet
from lessor.net.address import Address
from lessor.net.keys import block_at
from lessor.store.columns import decoder, listed
from lessor.store.tables import networks, subnets

NETWORK = tuple(
    networks.c[name]
    for name in (
        "id", "name", "project_id", "description", "admin_state_up", "network_type",
        "physical_network", "segmentation_id", "mtu", "shared", "port_security_enabled",
        "dns_domain", "multi_host", "share_address", "host", "availability_zone_hints", "revision",
        "created_at", "updated_at",
    )
)  # fmt: skip
_NETWORK_NAMES = tuple(column.name for column in NETWORK)


def network_of(row: Row[Any]) -> Network:
    """Read a row of `NETWORK`."""
    values: dict[str, Any] = dict(zip(_NETWORK_NAMES, row, strict=False))
    values["availability_zone_hints"] = listed(values["availability_zone_hints"])
    return Network(**values)


_SERVERS = decoder(tuple[Address, ...])
_ROUTES = decoder(tuple[HostRoute, ...])
SUBNET = tuple(
    subnets.c[name]
    for name in (
        "id", "network_id", "first", "prefix", "name", "project_id", "description", "gateway_ip",
        "dhcp_server", "enable_dhcp", "dns_nameservers", "host_routes", "subnetpool_id",
        "revision", "created_at", "updated_at",
    )
)  # fmt: skip


def subnet_of(row: Row[Any], pools: tuple[Pool, ...]) -> Subnet:
    """Read a row of `SUBNET`; its pools are rows of their own."""
    (
        row_id, network_id, first, prefix, name, project_id, description, gateway, server, dhcp,
        dns, routes, subnetpool, revision, created_at, updated_at, *_,
    ) = tuple(row)  # fmt: skip
    return Subnet(
        id=row_id,
        network_id=network_id,
        cidr=block_at(first, prefix),
        name=name,
        project_id=project_id,
        description=description,
        gateway_ip=gateway,
        dhcp_server=server,
        enable_dhcp=dhcp,
        pools=pools,
        dns_nameservers=listed(dns, _SERVERS),
        host_routes=listed(routes, _ROUTES),
        subnetpool_id=subnetpool,
        revision=revision,
        created_at=created_at,
        updated_at=updated_at,
    )
