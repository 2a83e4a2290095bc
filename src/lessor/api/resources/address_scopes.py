"""/v2.0/address-scopes: what an address scope looks like to clients."""

from __future__ import annotations

from litestar.handlers import HTTPRouteHandler

from lessor.api.resources.routes import Calls, routes
from lessor.api.resources.subnets import version
from lessor.api.rest.bodies import Values
from lessor.api.rest.fields import ID, NAME, PROJECT, Field, Resource, constant, flag
from lessor.store.store import Store

RESOURCE = Resource(
    "address_scope",
    "address_scopes",
    (
        ID,
        NAME,
        *PROJECT,
        Field(
            name="ip_version",
            kind=int,
            on="c",
            required=True,
            accept=version,
            show=constant(4),
            fixed="4",
            sort=True,
        ),
        Field(name="shared", kind=bool, on="cu", query=flag, sort=True),
    ),
    doc="Subnet pools whose addresses don't overlap.",
    extensions={
        "address-scope": ("Address scope", "Subnet pools that don't overlap"),
    },
)


def _stored(values: Values) -> Values:
    values.pop("ip_version", None)
    return values


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of address scopes."""
    calls = Calls.of(
        store.address_scopes,
        complete=_stored,
    )
    return routes(RESOURCE, calls, path="address-scopes")
