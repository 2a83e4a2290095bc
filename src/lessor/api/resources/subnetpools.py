"""/v2.0/subnetpools: what a subnet pool looks like to clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from litestar import put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Meta, Struct

from lessor.api.auth.access import access
from lessor.api.resources import tags
from lessor.api.resources.routes import (
    Answer,
    AnyRequest,
    Calls,
    json_body,
    route,
    routes,
    typed,
    visible,
)
from lessor.api.resources.subnets import PrefixLength
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
    block,
    constant,
    flag,
    number_or_none,
    text_or_none,
    uuid,
)
from lessor.errors import Invalid
from lessor.model import SubnetPool
from lessor.net.address import Block
from lessor.store import tagrows
from lessor.store.pools import rules as subnetpools
from lessor.store.store import Store

Quota = Annotated[int, Meta(ge=0)]


def _prefixes(given: list[str]) -> tuple[Block, ...]:
    if versions := {":" in one for one in given}:
        if len(versions) > 1:
            raise Invalid("IPv4 and IPv6 blocks are mixed", type_="PrefixVersionMismatch")
        if True in versions:
            raise Invalid("IPv6 is not supported; give IPv4 blocks")
    return tuple(map(block, given))


def _show_prefixes(row: SubnetPool, _: Any) -> list[str]:
    return [str(block) for block in row.prefixes]


def _length(name: str) -> Field:
    return Field(name=name, kind=PrefixLength, on="cu", query=int, sort=True)


RESOURCE = Resource(
    "subnetpool",
    "subnetpools",
    (
        ID,
        NAME,
        *PROJECT,
        DESCRIPTION,
        Field(
            name="prefixes",
            kind=list[str],
            on="cu",
            required=True,
            accept=_prefixes,
            show=_show_prefixes,
        ),
        Field(
            name="default_quota",
            kind=Quota | None,
            on="cu",
            query=number_or_none,
            sort=True,
        ),
        _length("min_prefixlen"),
        _length("default_prefixlen"),
        _length("max_prefixlen"),
        Field(name="ip_version", kind=int, show=constant(4), fixed="4", sort=True),
        Field(
            name="address_scope_id",
            kind=Name | None,
            on="cu",
            accept=uuid,
            query=text_or_none,
            sort=True,
        ),
        Field(name="shared", kind=bool, on="c", query=flag, sort=True),
        Field(name="is_default", kind=bool, on="cu", query=flag, sort=True),
        *TAGS,
        *TIMES,
    ),
    doc="Blocks that subnets are cut from on demand.",
    limited=True,
    extensions={
        "subnet_allocation": ("Subnet Allocation", "Subnets are cut from subnet pools"),
        "default-subnetpools": ("Default Subnetpools", "One pool may be the default"),
        "subnetpool-prefix-ops": ("Subnet Pool Prefix Operations", "add_prefixes, remove_prefixes"),
    },
)


class PrefixesBody(Struct, forbid_unknown_fields=True):
    """Blocks to add to a subnet pool, or to take from it."""

    prefixes: list[str]


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of subnet pools."""
    calls = Calls.of(
        store.subnetpools,
        tags=lambda ids: store.read(tagrows.of, ids),
    )
    return [
        *routes(RESOURCE, calls),
        *tags.routes(RESOURCE, calls, store),
        _prefix_route(
            "add_prefixes",
            "Add blocks to a subnet pool.",
            calls,
            store,
            subnetpools.add_prefixes,
        ),
        _prefix_route(
            "remove_prefixes",
            "Take unused blocks from a subnet pool.",
            calls,
            store,
            subnetpools.remove_prefixes,
        ),
    ]


def _prefix_route(
    name: str, doc: str, calls: Calls, store: Store, change: Callable[..., SubnetPool]
) -> HTTPRouteHandler:
    def handler(key: str, data: PrefixesBody, request: AnyRequest) -> Answer:
        try:
            blocks = _prefixes(data.prefixes)
        except ValueError as error:
            raise Invalid(f"invalid input for prefixes: {error}") from error
        may = access(request)
        may.rewriting(RESOURCE, visible(may, RESOURCE, calls, key))
        changed = store.write(change, key, blocks, **may.signature(RESOURCE))
        return {"prefixes": _show_prefixes(changed, None)}

    return route(
        put,
        f"/v2.0/subnetpools/{{key:str}}/{name}",
        typed(
            f"{name}_of_subnetpool",
            doc,
            handler,
            **{
                "key": FromPath[str],
                "data": json_body(PrefixesBody),
                "request": AnyRequest,
                "return": PrefixesBody,
            },
        ),
        RESOURCE,
        rule=None,
    )
