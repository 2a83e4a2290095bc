"""/v2.0/auto-allocated-topology/PROJECT: the network that a project has for the asking."""

from __future__ import annotations

from typing import Any

from litestar import delete, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from lessor.api.auth.access import access
from lessor.api.resources.routes import Answer, AnyRequest, route, typed
from lessor.api.rest import bodies
from lessor.api.rest.fields import Field, Resource
from lessor.errors import Invalid
from lessor.store.networks import auto_allocated
from lessor.store.store import Store

OWN, DRY_RUN = "None", "dry-run"  # a client's words for its own project, and for trying only
RESOURCE = Resource(
    "auto_allocated_topology",
    "auto_allocated_topologies",
    (Field(name="id"), Field(name="project_id"), Field(name="tenant_id")),
    doc="The network that a project was given.",
)


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes: GET gives a project its network if it has none, DELETE takes it away."""
    path = "/v2.0/auto-allocated-topology/{project:str}"

    def show(project: str, request: AnyRequest) -> Answer:
        may, target = access(request), _target(project, request)
        may.require("get_auto_allocated_topology", target)
        fields = request.query_params.getall("fields", [])
        if set(fields) - {DRY_RUN}:
            raise Invalid(f"fields={fields[0]}: only {DRY_RUN} is known here", type_="BadRequest")
        if fields:
            store.read(auto_allocated.check)
            return _shown(target, "dry-run=pass")
        found = store.read(auto_allocated.of, target["project_id"])
        if found is None:
            may.require("create_network", target)
            found = store.write(auto_allocated.ensure, target["project_id"])
        return _shown(target, found)

    def remove(project: str, request: AnyRequest) -> None:
        target = _target(project, request)
        access(request).require("delete_auto_allocated_topology", target)
        store.write(auto_allocated.remove, target["project_id"])

    of: dict[str, Any] = {"project": FromPath[str], "request": AnyRequest}
    typed(
        "show_auto_allocated_topology",
        "Show the network of a project; make it if there is none.",
        show,
        **of | {"return": bodies.one_body(RESOURCE)},
    )
    typed(
        "delete_auto_allocated_topology",
        "Delete the network that a project was given.",
        remove,
        **of | {"return": None},
    )
    return [
        route(get, path, show, RESOURCE, rule=None),
        route(delete, path, remove, RESOURCE, rule=None),
    ]


def _target(project: str, request: AnyRequest) -> dict[str, str]:
    key = request.state.caller.project_id if project == OWN else project
    return {"project_id": key, "tenant_id": key}


def _shown(target: dict[str, str], key: str) -> Answer:
    return {RESOURCE.singular: {"id": key, **target}}
