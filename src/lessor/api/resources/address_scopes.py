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
)


def _stored(values: Values) -> Values:
    values.pop("ip_version", None)
    return values


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of address scopes."""
    calls = Calls(
        rows=store.address_scopes,
        row=store.address_scope,
        create=store.create_address_scopes,
        update=store.update_address_scope,
        delete=store.delete_address_scope,
        complete=_stored,
    )
    return routes(RESOURCE, calls, path="address-scopes")
