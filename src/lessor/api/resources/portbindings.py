"""/v2.0/ports/{id}/bindings: the hosts that a port is prepared for, for live migration."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec
from litestar import delete, get, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from lessor.api.resources import ports as ports_api
from lessor.api.resources.routes import Answer, AnyRequest, json_body, route, typed
from lessor.api.rest import bodies
from lessor.api.rest.fields import Field, Name, Resource, text
from lessor.api.rest.queries import asked
from lessor.settings import ServerSettings
from lessor.store.hosts import binding
from lessor.store.ports import bindings as portbindings
from lessor.store.ports.bindings import Binding
from lessor.store.store import Store

RESOURCE = Resource(
    "binding",
    "bindings",
    (
        Field(name="host", kind=Name, on="c", required=True, query=text),
        Field(
            name="status", show=lambda row, _: "ACTIVE" if row.active else "INACTIVE", query=text
        ),
        Field(
            name="vif_type",
            show=lambda row, facts: facts[row.host]["binding:vif_type"],
            query=text,
        ),
        Field(
            name="vif_details",
            kind=dict[str, Any],
            show=lambda row, facts: facts[row.host]["binding:vif_details"],
        ),
        Field(name="vnic_type", on="cu", accept=ports_api.normal, query=text),
        Field(
            name="profile",
            kind=dict[str, Any] | None,
            on="cu",
            accept=ports_api.profile,
        ),
        Field(name="project_id", show=lambda row, facts: facts[row.host]["project_id"]),
    ),
    doc="A host that a port is bound to, or prepared for.",
)


def _cut(row: Answer, only: Collection[str]) -> Answer:
    return {name: value for name, value in row.items() if not only or name in only}


def handlers(store: Store, settings: ServerSettings) -> list[HTTPRouteHandler]:
    """Return the routes of ports' bindings."""
    calls = ports_api.calls(store, settings)
    many = "/v2.0/ports/{key:str}/bindings"
    one = f"{many}/{{host:str}}"

    def rendered(key: str, rows: Sequence[Binding]) -> list[Answer]:
        """Show bindings as the port's own would be shown, were it bound there."""
        port = store.ports.get(key)
        others = [row.host for row in rows if not row.active]
        failing = store.read(binding.failing, port.network_id, others) if others else set()
        bound = [
            port
            if row.active
            else replace(port, binding_host=row.host, binding_failed=row.host in failing)
            for row in rows
        ]
        shown = bodies.shown(ports_api.RESOURCE, bound, calls.facts(bound))
        hosts = [row.host for row in rows]
        return bodies.shown(RESOURCE, rows, dict(zip(hosts, shown, strict=True)))

    def of_port(key: str, request: AnyRequest) -> Answer:
        wanted = asked(RESOURCE, list(request.query_params.multi_items()))
        filters, only = wanted.query.filters.items(), wanted.only
        found = [
            row
            for row in rendered(key, store.read(portbindings.of_port, key))
            if all(row[name] in values for name, values in filters)
        ]
        return {"bindings": [_cut(row, only) for row in found]}

    def of_host(key: str, host: str) -> Answer:
        return {"binding": rendered(key, [store.read(portbindings.of_host, key, host)])[0]}

    def create(key: str, data: Struct) -> Answer:
        values = bodies.values(RESOURCE, getattr(data, RESOURCE.singular))
        return {"binding": rendered(key, [store.write(portbindings.create, key, values)])[0]}

    def update(key: str, host: str, data: Struct) -> Answer:
        values = bodies.values(RESOURCE, getattr(data, RESOURCE.singular))
        return {"binding": rendered(key, [store.write(portbindings.change, key, host, values)])[0]}

    def activate(key: str, host: str) -> Answer:
        store.write(portbindings.activate, key, host)
        return of_host(key, host)

    def remove(key: str, host: str) -> None:
        store.write(portbindings.remove, key, host)

    this: dict[str, Any] = {"key": FromPath[str]}
    that = this | {"host": FromPath[str]}
    shown = {"return": bodies.one_body(RESOURCE)}
    made = {"data": json_body(bodies.single_body(RESOURCE))}
    changed = {"data": json_body(bodies.update_body(RESOURCE))}
    listed = msgspec.defstruct("BindingList", [("bindings", list[RESOURCE.show_struct])])  # type: ignore[name-defined]  # made at run time
    typed(
        "list_bindings",
        "List the bindings of a port.",
        of_port,
        **this | {"request": AnyRequest, "return": listed},
    )
    typed("show_binding", "Show a port's binding to a host.", of_host, **that | shown)
    typed("create_binding", "Prepare a port for a further host.", create, **this | made | shown)
    typed("update_binding", "Change an inactive binding.", update, **that | changed | shown)
    typed("activate_binding", "Bind a port to a host it is prepared for.", activate, **that | shown)
    typed("delete_binding", "Delete an inactive binding.", remove, **that | {"return": None})
    return [
        route(get, many, of_port, RESOURCE, rule="get_port_binding"),
        route(get, one, of_host, RESOURCE, rule="get_port_binding"),
        route(post, many, create, RESOURCE, rule="create_port_binding"),
        route(put, one, update, RESOURCE, rule="update_port_binding"),
        route(put, f"{one}/activate", activate, RESOURCE, rule="update_port_binding"),
        route(delete, one, remove, RESOURCE, rule="delete_port_binding"),
    ]
