"""/v2.0/subnets: what a subnet looks like to clients."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Annotated, Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from lessor.api.resources import tags
from lessor.api.resources.routes import Calls, routes
from lessor.api.rest.bodies import Values
from lessor.api.rest.fields import (
    DESCRIPTION,
    ID,
    NAME,
    PROJECT,
    TAGS,
    TIMES,
    Field,
    Name,
    Resource,
    address,
    address_or_none,
    as_text,
    block,
    constant,
    flag,
    text,
    text_or_none,
    unset,
    uuid,
)
from lessor.errors import Invalid
from lessor.model import HostRoute, Pool, Subnet
from lessor.net.address import Address, Block, place
from lessor.store import tagrows
from lessor.store.store import Store

PrefixLength = Annotated[int, Meta(ge=0, le=32)]
MAX_DNS_NAMESERVERS = 5  # Neutron's max_dns_nameservers and max_subnet_host_routes (B2)
MAX_HOST_ROUTES = 20


class PoolBody(Struct, forbid_unknown_fields=True):
    """A span of addresses, both ends included."""

    start: str
    end: str


class RouteBody(Struct, forbid_unknown_fields=True):
    """A route that the subnet's VMs are told."""

    destination: str
    nexthop: str


def _pools(given: list[PoolBody] | None) -> tuple[Pool, ...]:
    pools = tuple(Pool(address(pool.start), address(pool.end)) for pool in given or ())
    for pool in pools:
        if place(pool.first) > place(pool.last):
            raise Invalid(
                f"pool {pool.first} to {pool.last} ends before it starts",
                type_="InvalidAllocationPool",
            )
    return pools


def _show_pools(row: Subnet, _: Any) -> list[dict[str, str]]:
    return [{"start": str(pool.first), "end": str(pool.last)} for pool in row.pools]


def _routes(given: list[RouteBody] | None) -> tuple[HostRoute, ...]:
    routes = given or []
    if len(routes) > MAX_HOST_ROUTES:
        raise Invalid(
            f"{len(routes)} routes; the most is {MAX_HOST_ROUTES}", type_="HostRoutesExhausted"
        )
    return tuple(HostRoute(IPv4Network(r.destination), address(r.nexthop)) for r in routes)


def _show_routes(row: Subnet, _: Any) -> list[dict[str, str]]:
    return [
        {"destination": str(route.destination), "nexthop": str(route.nexthop)}
        for route in row.host_routes
    ]


def _nameservers(given: list[str] | None) -> tuple[Address, ...]:
    servers = given or []
    if len(servers) > MAX_DNS_NAMESERVERS:
        raise Invalid(
            f"{len(servers)} name servers; the most is {MAX_DNS_NAMESERVERS}",
            type_="DNSNameServersExhausted",
        )
    return tuple(address(server) for server in servers)


def _show_nameservers(row: Subnet, _: Any) -> list[str]:
    return [str(server) for server in row.dns_nameservers]


def version(value: int) -> int:
    """Read an IP version: 4."""
    if value != 4:  # noqa: PLR2004 - IPv4
        raise Invalid(f"IP version {value} is not supported; only 4 is")
    return value


def _optional(value: str | None) -> Address | None:
    return None if value is None else address(value)


def _cidr(value: str) -> Block:
    if ":" in value:
        raise Invalid(f"{value!r} is IPv6, which is not supported; give an IPv4 block")
    return block(value)


RESOURCE = Resource(
    "subnet",
    "subnets",
    (
        ID,
        NAME,
        *PROJECT,
        DESCRIPTION,
        Field(name="network_id", on="c", required=True, accept=uuid, query=text, sort=True),
        Field(name="shared", kind=bool, query=flag, write_only=True),  # a filter: its network's
        Field(name="router:external", kind=bool, show=constant(False), fixed="False"),
        Field(
            name="ip_version",
            kind=int,
            on="c",
            accept=version,
            show=constant(4),
            fixed="4",
            sort=True,
        ),
        Field(
            name="cidr",
            on="c",
            accept=_cidr,
            show=as_text("cidr"),
            query=block,
            sort=True,
        ),
        Field(
            name="subnetpool_id",
            kind=Name | None,
            on="c",
            accept=uuid,
            query=text_or_none,
            sort=True,
        ),
        Field(name="use_default_subnetpool", kind=bool, on="c", write_only=True),
        Field(name="prefixlen", kind=PrefixLength, on="c", write_only=True),
        Field(
            name="gateway_ip",
            kind=str | None,
            on="cu",
            accept=_optional,
            show=as_text("gateway_ip"),
            query=address_or_none,
            sort=True,
        ),
        Field(
            name="allocation_pools",
            attr="pools",
            kind=list[PoolBody] | None,
            on="cu",
            accept=_pools,
            show=_show_pools,
        ),
        Field(
            name="dns_nameservers",
            kind=list[str] | None,
            on="cu",
            accept=_nameservers,
            show=_show_nameservers,
        ),
        Field(
            name="host_routes",
            kind=list[RouteBody] | None,
            on="cu",
            accept=_routes,
            show=_show_routes,
        ),
        Field(name="enable_dhcp", kind=bool, on="cu", query=flag, sort=True),
        unset("ipv6_ra_mode", value=None, kind=str | None, sort=True),
        unset("ipv6_address_mode", value=None, kind=str | None, sort=True),
        unset("service_types", value=[], kind=list[str] | None),
        unset("segment_id", value=None, kind=str | None, sort=True),
        unset("dns_publish_fixed_ip", value=False, kind=bool),
        Field(
            name="lessor:dhcp_server",
            attr="dhcp_server",
            kind=Annotated[str, Meta(max_length=15)] | None,
            on="cu",
            accept=_optional,
            show=as_text("dhcp_server"),
            query=address_or_none,
        ),
        *TAGS,
        *TIMES,
    ),
    doc="A block of addresses on a network.",
    limited=True,
)


def _stored(values: Values) -> Values:
    """Drop what a client may say but the store needn't know: there is one IP version."""
    values.pop("ip_version", None)
    if not values.get("pools", True):
        del values["pools"]  # none given is as if nothing was said: the whole block
    return values


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of subnets."""
    calls = Calls.of(
        store.subnets,
        complete=_stored,
        tags=lambda ids: store.read(tagrows.of, ids),
    )
    return [*routes(RESOURCE, calls), *tags.routes(RESOURCE, calls, store)]
