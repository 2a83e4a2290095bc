"""/v2.0/addresses: the state of each address that was ever used, and reserving one by hand."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import delete, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from lessor.api.auth.access import access
from lessor.api.resources.routes import AnyRequest, Calls, json_body, one, route, routes, typed
from lessor.api.rest import bodies
from lessor.api.rest.fields import (
    Field,
    Resource,
    address,
    as_text,
    as_time,
    mac,
    text,
    text_or_none,
)
from lessor.errors import NotFound
from lessor.model import AddressInfo, AddressState
from lessor.net.address import Address
from lessor.store.addresses import states
from lessor.store.store import Store


def _state(value: str) -> AddressState:
    return AddressState(value.lower())


RESOURCE = Resource(
    "address",
    "addresses",
    (
        Field(name="network_id", on="c", required=True, query=text, sort=True),
        Field(name="subnet_id", query=text),
        Field(
            name="address",
            on="c",
            required=True,
            accept=address,
            show=as_text("address"),
            query=address,
            sort=True,
        ),
        Field(name="state", show=as_text("state"), query=_state, sort=True),
        Field(name="port_id", kind=str | None, query=text_or_none),
        Field(name="mac_address", kind=str | None, query=mac),
        Field(name="host", kind=str | None, query=text_or_none),
        Field(name="leased_until", kind=str | None, show=as_time("leased_until")),
        Field(name="updated_at", show=as_time("updated_at"), sort=True),
    ),
    doc="An address of a network with its state. One that was never used is free and not listed.",
)


def _marker(row: AddressInfo) -> str:
    return f"{row.network_id}/{row.address}"


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of addresses: the list, POST reserves, DELETE unreserves."""
    calls = Calls(rows=partial(store.read, states.find), marker=_marker)
    listed = routes(RESOURCE, calls)

    def reserve(data: Struct, request: AnyRequest) -> dict[str, Any]:
        values = bodies.values(RESOURCE, getattr(data, RESOURCE.singular))
        row = store.write(states.reserve, values["network_id"], values["address"])
        return one(RESOURCE, calls, row, access(request))

    body = json_body(bodies.single_body(RESOURCE))
    typed(
        "reserve_address",
        "Reserve an address: no port gets it.",
        reserve,
        **{"data": body, "request": AnyRequest, "return": bodies.one_body(RESOURCE)},
    )

    def unreserve(network_id: str, key: str) -> None:
        store.write(states.unreserve, network_id, _known(key))

    typed(
        "unreserve_address",
        "Give a reserved address back.",
        unreserve,
        **{"network_id": FromPath[str], "key": FromPath[str], "return": None},
    )
    return [
        *listed,
        route(post, "/v2.0/addresses", reserve, RESOURCE, "create_address"),
        route(
            delete,
            "/v2.0/addresses/{network_id:str}/{key:str}",
            unreserve,
            RESOURCE,
            "delete_address",
        ),
    ]


def _known(text: str) -> Address:
    try:
        return address(text)
    except ValueError:
        raise NotFound(f"there is no address {text!r}") from None
