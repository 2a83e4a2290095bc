"""/v2.0/quotas: how many of each thing a project may have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from litestar import delete, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from lessor.api.auth.access import access
from lessor.api.resources.routes import Answer, AnyRequest, json_body, route, typed
from lessor.api.rest.fields import Field, Resource
from lessor.store.sharing import quotas
from lessor.store.store import Store

Switch = bool | Literal[0, 1]  # numbers are read as Neutron reads them
RESOURCES = tuple(noun.name for noun in Store.declared().values() if noun.quota is not None)
Most = Annotated[int, Meta(ge=-1, le=(1 << 31) - 1)]

RESOURCE = Resource(
    "quota",
    "quotas",
    (
        *(Field(name=name, kind=Most, on="u") for name in RESOURCES),
        Field(name="project_id"),
        Field(name="tenant_id"),
    ),
    doc="How many of each thing a project may have; -1: any number.",
    extensions={
        "quotas": ("Quota management support", "How many of each thing a project may have"),
        "quota_details": ("Quota details management support", "How much of a quota is used"),
        "quota-check-limit": (
            "Quota engine limit check",
            "check_limit: a quota of fewer than there are is refused",
        ),
    },
)


class Detail(Struct):
    """How many of a thing a project may have, and how many it has."""

    limit: int
    used: int
    reserved: int


def _detailed() -> type[Struct]:
    inner = msgspec.defstruct("QuotaDetails", [(name, Detail) for name in RESOURCES])
    return msgspec.defstruct("QuotaDetailsOne", [("quota", inner)])


def _body() -> type[Struct]:
    limits = [(name, Most | UnsetType, UNSET) for name in RESOURCES]
    switches = [(name, Switch, False) for name in ("check_limit", "force")]
    inner = msgspec.defstruct("QuotaUpdate", [*limits, *switches], forbid_unknown_fields=True)
    return msgspec.defstruct("QuotaUpdateBody", [("quota", inner)], forbid_unknown_fields=True)


def _shown(project: str, limits: Mapping[str, int]) -> Answer:
    return {**limits, "project_id": project, "tenant_id": project}


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of quotas."""
    many = "/v2.0/quotas"
    one = f"{many}/{{project:str}}"

    def list_all() -> Answer:
        return {
            "quotas": [_shown(name, found) for name, found in store.read(quotas.projects).items()]
        }

    def show(project: str, request: AnyRequest) -> Answer:
        access(request).require("get_quota", {"project_id": project})
        return {"quota": _shown(project, store.read(quotas.limits, project))}

    def default(project: str, request: AnyRequest) -> Answer:
        access(request).require("get_quota", {"project_id": project})
        return {"quota": _shown(project, store.read(quotas.defaults))}

    def details(project: str, request: AnyRequest) -> Answer:
        access(request).require("get_quota", {"project_id": project})
        used, limits = store.read(quotas.usage, project), store.read(quotas.limits, project)
        found = {n: {"limit": limits[n], "used": used[n], "reserved": 0} for n in RESOURCES}
        return {"quota": found}

    def more_details(project: str, request: AnyRequest) -> Answer:
        return details(project, request)

    def update(project: str, data: Struct) -> Answer:
        given: Any = getattr(data, "quota")  # noqa: B009 - the type is made at run time
        values = {n: most for n in RESOURCES if (most := getattr(given, n)) is not UNSET}
        check = given.check_limit and not given.force
        return {
            "quota": _shown(project, store.write(quotas.set_limits, project, values, check=check))
        }

    def reset(project: str) -> None:
        store.write(quotas.reset, project)

    made = msgspec.defstruct("QuotaOne", [("quota", RESOURCE.show_struct)])
    listed: Any = msgspec.defstruct("QuotaMany", [("quotas", list[RESOURCE.show_struct])])  # type: ignore[name-defined]  # as above
    of: dict[str, Any] = {"project": FromPath[str]}
    seen = of | {"request": AnyRequest}
    typed("list_quotas", "List the quotas that were set.", list_all, **{"return": listed})
    typed("show_quota", "Show a project's quotas.", show, **seen | {"return": made})
    typed("show_default_quota", "Show the quotas of others.", default, **seen | {"return": made})
    typed("show_quota_use", "Show a project's use.", details, **seen | {"return": _detailed()})
    typed("show_quota_details", "The same.", more_details, **seen | {"return": _detailed()})
    typed(
        "update_quota",
        "Set quotas of a project.",
        update,
        **of | {"data": json_body(_body()), "return": made},
    )
    typed("reset_quota", "Give a project the default quotas.", reset, **of | {"return": None})
    return [
        route(get, many, list_all, RESOURCE, rule="list_quotas"),
        route(get, one, show, RESOURCE, rule=None),
        route(get, f"{one}/default", default, RESOURCE, rule=None),
        route(get, f"{one}/details", details, RESOURCE, rule=None),
        route(get, f"{one}/details.json", more_details, RESOURCE, rule=None),
        route(put, one, update, RESOURCE, rule="update_quota"),
        route(delete, one, reset, RESOURCE, rule="delete_quota"),
    ]
