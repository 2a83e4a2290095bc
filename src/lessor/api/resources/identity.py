"""/v3: projects, the little of an identity service that clients of the network API ask for.

`--project blue` and `openstack quota show blue` look for the project in the identity service before
they ask the network API. Without Keystone they are sent here (`identity_endpoint_override`). There
is no list of projects: a project is its id, and any name is one.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, QueryParameter
from msgspec import Struct

from lessor.api.auth.access import access
from lessor.api.resources.extensions import ANYBODY
from lessor.api.resources.routes import AnyRequest, route, typed
from lessor.api.rest.fields import Field, Resource
from lessor.errors import NotFound
from lessor.store.sharing import projects
from lessor.store.store import Store

VERSION = "v3.0"
DOMAIN = "default"  # Keystone's first one, in which all projects are
OneName = Annotated[str | None, QueryParameter()]
LONGEST = 255  # characters of a project's id

RESOURCE = Resource(
    "project",
    "projects",
    tuple(Field(name=name) for name in ("id", "name", "domain_id", "parent_id", "description")),
    doc="Who owns networks: nothing but an id.",
)


class Project(Struct):
    """A project, as the identity API shows it."""

    id: str
    name: str
    domain_id: str = DOMAIN
    parent_id: str = DOMAIN
    description: str = ""
    enabled: bool = True
    is_domain: bool = False


class ProjectOne(Struct):
    """The answer about one."""

    project: Project


class ProjectMany(Struct):
    """The answer about several."""

    projects: list[Project]


@get("/v3", sync_to_thread=False, opt=ANYBODY)
def identity_version(request: AnyRequest) -> dict[str, dict[str, Any]]:
    """Show the version of the identity API."""
    href = f"{request.base_url}".rstrip("/") + "/v3/"
    links = [{"rel": "self", "href": href}]
    return {"version": {"id": VERSION, "status": "stable", "links": links}}


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes."""

    def show(key: str, request: AnyRequest) -> ProjectOne:
        if len(key) > LONGEST:
            raise NotFound(
                f"there is no project {key}: an id has {LONGEST} characters at most",
                type_="ProjectNotFound",
            )
        access(request).require("get_project", {"project_id": key})
        return ProjectOne(Project(key, key))

    def many(name: str | None = None) -> ProjectMany:
        found = store.read(projects.known) if name is None else [name]
        return ProjectMany([Project(key, key) for key in found])

    typed(
        "show_project",
        "Show a project: every id is one.",
        show,
        **{"key": FromPath[str], "request": AnyRequest, "return": ProjectOne},
    )
    typed(
        "list_projects",
        "List the project of a name, or all that own something or have quotas.",
        many,
        **{"name": OneName, "return": ProjectMany},
    )
    return [
        identity_version,
        route(get, "/v3/projects", many, RESOURCE, rule="list_projects"),
        route(get, "/v3/projects/{key:str}", show, RESOURCE, rule=None),
    ]
