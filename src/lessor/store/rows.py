"""Rows to model values and back. Columns are read by position: lists are long."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Row, case, func, or_, select

from lessor.model import (
    LATEST,
    AddressPair,
    DhcpOption,
    FixedIp,
    Host,
    HostRoute,
    Instance,
    Lease,
    Network,
    Pool,
    Port,
    Problem,
    Subnet,
    TunnelEnd,
)
from lessor.store.tables import addresses, hosts, instances, leases, networks, ports, subnets

T = TypeVar("T")


def _plain(value: Any) -> str:
    return str(value)


def _parsed(kind: type, value: Any) -> Any:
    return kind(value)


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)


def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind, dec_hook=_parsed).decode


_TEXTS = _decoder(tuple[str, ...])
_MAP = _decoder(dict[str, str])
_PROFILE = _decoder(dict[str, Any])
_COUNTS = _decoder(dict[str, int])
_PROBLEMS = _decoder(tuple[Problem, ...])
_SERVERS = _decoder(tuple[IPv4Address, ...])
_ROUTES = _decoder(tuple[HostRoute, ...])
_PAIRS = _decoder(tuple[AddressPair, ...])
_OPTIONS = _decoder(tuple[DhcpOption, ...])


def packed(value: object) -> str:
    """Return the JSON of a column."""
    return _ENCODER.encode(value).decode()


def _listed(text: str, decode: Any) -> Any:
    return () if text == "[]" else decode(text)


def _mapped(text: str, decode: Any) -> Any:
    return {} if text == "{}" else decode(text)


def listed(text: str) -> tuple[str, ...]:
    """Return the value of a column with a list of texts."""
    return tuple(_listed(text, _TEXTS))


def address_of(number: int | None) -> IPv4Address | None:
    """Return an address column's value, None for NULL."""
    return None if number is None else IPv4Address(number)


def number_of(address: IPv4Address | None) -> int | None:
    """Return what an address column has for a value."""
    return None if address is None else int(address)


def end_of(text: str | None) -> TunnelEnd | None:
    """Return the value of a column with the end of a tunnel, None for NULL."""
    return None if text is None else ip_address(text)


# --- networks -------------------------------------------------------------------------------------

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


# --- subnets --------------------------------------------------------------------------------------

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
        cidr=IPv4Network((first, prefix)),
        name=name,
        project_id=project_id,
        description=description,
        gateway_ip=address_of(gateway),
        dhcp_server=address_of(server),
        enable_dhcp=dhcp,
        pools=pools,
        dns_nameservers=_listed(dns, _SERVERS),
        host_routes=_listed(routes, _ROUTES),
        subnetpool_id=subnetpool,
        revision=revision,
        created_at=created_at,
        updated_at=updated_at,
    )


# --- ports ----------------------------------------------------------------------------------------

# ACTIVE is said only when all who have a part in it have said so (semantics.md B12, B23).
# A value, no EXISTS: to answer that for a page of 100 ports PostgreSQL reads all addresses there are.
_BY_DHCP = (
    select(addresses.c.address)
    .select_from(addresses.join(subnets, subnets.c.id == addresses.c.subnet_id))
    .where(addresses.c.port_id == ports.c.id, subnets.c.enable_dhcp)
    .limit(1)
    .correlate(ports)
    .scalar_subquery()
)
_SERVED = (
    func.coalesce(ports.c.served, False)
    | _BY_DHCP.is_(None)
    | func.coalesce(ports.c.server_of > "", False)
)
STATUS = case(
    (or_(ports.c.binding_host.is_(None), ~ports.c.admin_state_up), "DOWN"),
    (ports.c.wired & _SERVED, "ACTIVE"),
    (ports.c.wired.is_not(None) | ports.c.served.is_not(None), "BUILD"),
    else_="DOWN",
).label("status")

PORT = (
    *(
        ports.c[name]
        for name in (
            "id", "network_id", "mac_address", "name", "project_id", "description",
            "admin_state_up", "device_id", "device_owner", "binding_host", "binding_profile",
            "vnic_type", "port_security_enabled", "allowed_address_pairs", "extra_dhcp_opts",
            "dns_name", "wired_pending", "served_pending", "revision", "created_at", "updated_at",
        )
    ),
    STATUS,
    ports.c.binding_failed,
    ports.c.wired,
    _SERVED.label("is_served"),
)  # fmt: skip


def awaited(host: str | None, wiring: str | None, serving: str | None) -> str:
    """Say what a port waits for.

    Args:
        host: where it is to be; None: nowhere, so it waits for nothing.
        wiring: what its host says of it, "" if it said nothing; None: it is wired.
        serving: what DHCP hosts say of it, "" if they said nothing; None: it is served.
    """
    if host is None:
        return ""
    words = []
    if wiring is not None:
        words.append(wiring or f"not wired on host {host} yet")
    if serving is not None:
        words.append(serving or "no DHCP server has its reservation yet")
    return "; ".join(dict.fromkeys(words))


def port_of(row: Row[Any], fixed_ips: tuple[FixedIp, ...]) -> Port:
    """Read a row of `PORT`; its addresses are rows of their own."""
    (
        row_id, network_id, mac, name, project_id, description, admin_up, device_id, owner, host,
        profile, vnic_type, security, pairs, options, dns_name, wired_pending, served_pending,
        revision, created_at, updated_at, status, failed, wired, served, *_,
    ) = tuple(row)  # fmt: skip
    pending = awaited(
        host if admin_up else None,
        None if wired else wired_pending,
        None if served else served_pending,
    )
    return Port(
        id=row_id,
        network_id=network_id,
        mac_address=mac,
        name=name,
        project_id=project_id,
        description=description,
        admin_state_up=admin_up,
        status=status,
        fixed_ips=fixed_ips,
        device_id=device_id,
        device_owner=owner,
        binding_host=host,
        binding_profile=_mapped(profile, _PROFILE),
        binding_failed=failed,
        vnic_type=vnic_type,
        port_security_enabled=security,
        allowed_address_pairs=_listed(pairs, _PAIRS),
        extra_dhcp_opts=_listed(options, _OPTIONS),
        dns_name=dns_name,
        pending=pending,
        revision=revision,
        created_at=created_at,
        updated_at=updated_at,
    )


# --- leases, instances, hosts ---------------------------------------------------------------------

LEASE = tuple(
    leases.c[name]
    for name in (
        "id", "network_id", "host", "address", "mac_address", "port_id", "hostname", "client_id",
        "started_at", "expires_at", "renewed_at", "ended_at", "end_reason",
    )
)  # fmt: skip


def lease_of(row: Row[Any]) -> Lease:
    """Read a row of `LEASE`; a DHCP server that begins with it takes no end beyond `LATEST`."""
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    end = values["expires_at"]
    known = {
        "address": IPv4Address(values["address"]),
        "expires_at": None if end is None else min(end, LATEST),
    }
    return Lease(**values | known)


INSTANCE = tuple(instances.c)


def instance_of(row: Row[Any]) -> Instance:
    """Read a row of `INSTANCE`."""
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - as above
    maps = {name: _MAP(values[name]) for name in ("public_keys", "metadata")}
    return Instance(**values | maps)


HOST = tuple(
    hosts.c[name]
    for name in (
        "name", "id", "created_at", "started_at", "heartbeat_at", "version", "physical_networks",
        "network_host", "local_ip", "availability_zone", "server", "datapath_type", "in_sync",
        "admin_state_up", "description", "problems", "counts", "report_interval",
    )
)  # fmt: skip


def host_of(row: Row[Any], beats: Mapping[str, float], alive_since: float, now: float) -> Host:
    """Read a row of `HOST`.

    Args:
        row: the row.
        beats: heartbeats that are not written yet, by host name.
        alive_since: whose last heartbeat is older is not alive.
        now: when it is.
    """
    values: dict[str, Any] = dict(row._mapping)  # noqa: SLF001 - as above
    beat = max(values["heartbeat_at"] or 0.0, beats.get(values["name"], 0.0))
    values |= {
        "heartbeat_at": beat or None,
        "alive": beat > alive_since,
        "local_ip": end_of(values["local_ip"]),
        "physical_networks": _TEXTS(values["physical_networks"]),
        "problems": _PROBLEMS(values["problems"]),
        "silent_s": max(0.0, now - beat) if beat else None,
        "counts": _COUNTS(values["counts"]),
    }
    return Host(**values)
