"""/v2.0/hosts: the machines of the fleet. A host's token is shown once, when it is made."""

from __future__ import annotations

from typing import Any

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct

from lessor.api.auth.access import access
from lessor.api.resources.routes import AnyRequest, Calls, json_body, one, route, routes, typed
from lessor.api.rest import bodies
from lessor.api.rest.fields import Field, Resource, as_text, as_time, flag, iso_time, text
from lessor.model import Host, Problem
from lessor.store.hosts import rules as host_rules
from lessor.store.hosts import tokens
from lessor.store.store import Store


class ProblemBody(Struct):
    """What is wrong or waited for on a host."""

    text: str
    since: str
    seen: str
    networks: list[str]
    ports: list[str]
    waits: bool


def problem_body(problem: Problem) -> dict[str, Any]:
    """Show a problem; times as OpenStack writes them."""
    return {
        "text": problem.text,
        "since": iso_time(problem.since),
        "seen": iso_time(problem.seen),
        "networks": [*problem.networks],
        "ports": [*problem.ports],
        "waits": problem.waits,
    }


def _silent_s(row: Host, _: Any) -> int | None:
    return None if row.silent_s is None else int(row.silent_s)


RESOURCE = Resource(
    "host",
    "hosts",
    (
        Field(name="id", query=text),
        Field(name="name", on="c", required=True, query=text, sort=True),
        Field(name="alive", kind=bool, query=flag),
        Field(name="state"),
        Field(name="silent_s", kind=int | None, show=_silent_s),
        Field(name="in_sync", kind=bool),
        Field(name="admin_state_up", kind=bool, query=flag),
        Field(name="description", query=text),
        Field(name="version"),
        Field(name="physical_networks", kind=list[str], show=lambda r, _: [*r.physical_networks]),
        Field(name="network_host", kind=bool),
        Field(name="local_ip", kind=str | None, show=as_text("local_ip")),
        Field(name="availability_zone"),
        Field(name="server", query=text),
        Field(
            name="problems",
            kind=list[ProblemBody],
            show=lambda row, _: [problem_body(one) for one in row.problems],
        ),
        Field(name="counts", kind=dict[str, int]),
        Field(name="created_at", show=as_time("created_at"), sort=True),
        Field(name="started_at", kind=str | None, show=as_time("started_at")),
        Field(name="heartbeat_at", kind=str | None, show=as_time("heartbeat_at")),
    ),
    doc="A machine of the fleet, as its agent reports it.",
)
MADE = Resource(
    "host",
    "hosts",
    (*RESOURCE.fields, Field(name="token", show=lambda _, token: token)),
    doc="A host just made, with its token.",
    title="HostMade",
)


def _by_name(row: Host) -> str:
    return row.name


def handlers(store: Store) -> list[HTTPRouteHandler]:
    """Return the routes of hosts."""
    calls = Calls(
        rows=store.hosts.find,
        row=store.hosts.get,
        delete=lambda name: store.write(host_rules.remove, name),
        marker=_by_name,
    )

    def create(data: Struct, request: AnyRequest) -> dict[str, Any]:
        values = bodies.values(RESOURCE, getattr(data, RESOURCE.singular))
        row, token = store.write(host_rules.create, values["name"])
        return one(MADE, Calls(rows=store.hosts.find, facts=lambda _: token), row, access(request))

    body = json_body(bodies.single_body(RESOURCE))
    typed(
        "create_host",
        "Make a host; its token is in this answer only.",
        create,
        **{"data": body, "request": AnyRequest, "return": bodies.one_body(MADE)},
    )

    def renew(key: str, request: AnyRequest) -> dict[str, Any]:
        token = store.write(tokens.renew, key)
        made = Calls(rows=store.hosts.find, facts=lambda _: token)
        return one(MADE, made, store.hosts.get(key), access(request))

    typed(
        "renew_host_token",
        "Give a host a new token, which is in this answer only; the former one ends.",
        renew,
        **{"key": FromPath[str], "request": AnyRequest, "return": bodies.one_body(MADE)},
    )
    return [
        *routes(RESOURCE, calls),
        route(post, "/v2.0/hosts", create, RESOURCE, "create_host"),
        route(
            post,
            "/v2.0/hosts/{key:str}/token",
            renew,
            RESOURCE,
            "create_host_token",
            status_code=200,
        ),
    ]
