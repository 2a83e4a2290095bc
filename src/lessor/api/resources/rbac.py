"""/v2.0/rbac-policies: what is shared with whom."""

from __future__ import annotations

from typing import Annotated

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta

from lessor.api.resources.routes import Calls, routes
from lessor.api.rest.fields import ID, PROJECT, Field, Resource, text, uuid
from lessor.store.store import Store

Target = Annotated[str, Meta(min_length=1, max_length=255)]
RESOURCE = Resource(
    "rbac_policy",
    "rbac_policies",
    (
        ID,
        *PROJECT,
        Field(name="object_type", on="c", required=True, query=text, sort=True),
        Field(name="object_id", on="c", required=True, accept=uuid, query=text, sort=True),
        Field(name="action", on="c", required=True, query=text, sort=True),
        Field(
            name="target_tenant",
            attr="target_project",
            kind=Target,
            on="cu",
            required=True,
            query=text,
            sort=True,
        ),
    ),
    doc='Something is shared with a project, or with all of them ("*").',
    extensions={
        "rbac-policies": ("RBAC Policies", "Networks shared with single projects"),
        "rbac-address-scope": (
            "Add address_scope type to RBAC",
            "Address scopes shared with single projects",
        ),
        "rbac-subnetpool": (
            "Add subnetpool type to RBAC",
            "Subnet pools shared with single projects",
        ),
    },
)


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of RBAC policies."""
    calls = Calls.of(
        store.rbac_policies,
    )
    return routes(RESOURCE, calls, path="rbac-policies")
