"""Each route of the users' API, called once correctly: the OpenAPI page names them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.api.nouns import NOUNS, Noun, made
from tests.api.world import Json, World

# What is asked: a path (behind /v2.0, or with a slash at its start), and a body.
Asked = tuple[str, Any]
Example = tuple[int, Callable[[World], Asked]]
TAGGED = ("network", "subnet", "port", "subnetpool")


def _resource(noun: Noun) -> Mapping[str, Example]:
    """Return the examples of a resource that is made, shown, listed and deleted."""
    many = noun.path if noun.name != "binding" else None
    assert many is not None
    at = f"/v2.0/{noun.path(None)}"  # type: ignore[arg-type]  # these are the same in all worlds
    one = f"{at}/{{key}}"
    found: dict[str, Example] = {
        f"GET {at}": (200, lambda w: (noun.path(w), None)),
        f"POST {at}": (201, lambda w: (noun.path(w), {noun.name: noun.around(w)})),
        f"GET {one}": (200, lambda w: (made(w, noun)[0], None)),
        f"DELETE {one}": (204, lambda w: (made(w, noun)[0], None)),
    }
    if noun.changes:
        field, value = ("target_tenant", "p5") if noun.name == "rbac_policy" else ("name", "new")
        found[f"PUT {one}"] = (200, lambda w: (made(w, noun)[0], {noun.name: {field: value}}))
    return found


def _tags(noun: Noun) -> Mapping[str, Example]:
    at = f"/v2.0/{noun.resource.plural}/{{key}}/tags"

    def tagged(rest: str = "", body: Any = None) -> Callable[[World], Asked]:
        return lambda w: (f"{made(w, noun, tags=['red'])[0]}/tags{rest}", body)

    return {
        f"GET {at}": (200, tagged()),
        f"PUT {at}": (200, tagged(body={"tags": ["blue"]})),
        f"POST {at}": (201, tagged(body={"tags": ["blue"]})),
        f"DELETE {at}": (204, tagged()),
        f"GET {at}/{{tag}}": (204, tagged("/red")),
        f"HEAD {at}/{{tag}}": (204, tagged("/red")),
        f"PUT {at}/{{tag}}": (201, tagged("/blue")),
        f"DELETE {at}/{{tag}}": (204, tagged("/red")),
    }


def _reserved(w: World) -> str:
    made = w.make("address", network_id=w.subnet()["network_id"], address="10.0.0.77")
    return f"addresses/{made['network_id']}/10.0.0.77"


def _agent(w: World, rest: str = "", body: Any = None) -> Asked:
    return f"agents/{w.agent(w.dhcp_host()[0])}{rest}", body


def _served(w: World) -> Asked:
    path, _ = _agent(w, "/dhcp-networks")
    network = w.subnet()["network_id"]
    w.ask("POST", path, {"network_id": network})  # refused if it is placed there already
    return f"{path}/{network}", None


def _serve(w: World) -> Asked:
    w.dhcp_host()  # serves it, and so the next one isn't given it
    network = w.subnet()["network_id"]
    return _agent(w, "/dhcp-networks", {"network_id": network})


def _binding(w: World, rest: str = "", body: Any = None) -> Asked:
    """Return the path of an inactive binding."""
    path, host = f"ports/{w.port()['id']}/bindings", w.host()[0]
    assert w.ask("POST", path, {"binding": {"host": host}}).status_code == 201
    return f"{path}/{host}{rest}", body


def _bindings(w: World) -> str:
    return f"ports/{w.port()['id']}/bindings"


def _project(w: World) -> str:
    """Return a project that has a network of its own accord."""
    name, pool = w.name(), w.pool(is_default=True)
    assert w.ask("GET", f"auto-allocated-topology/{name}").status_code == 200
    w.change("subnetpool", pool, is_default=False)
    return f"auto-allocated-topology/{name}"


def _prefixes(what: str) -> Callable[[World], Asked]:
    body = {"prefixes": ["10.1.0.0/16"]}
    return lambda w: (f"subnetpools/{w.pool(prefixes=['10.0.0.0/15'])}/{what}", body)


def _as_it_is(path: str) -> Callable[[World], Asked]:
    return lambda _: (path, None)


POOL = "/v2.0/subnetpools/{key}"
PORT = "/v2.0/ports/{key}/bindings"
QUOTA = "/v2.0/quotas/{project}"
ROOM = "/v2.0/network-ip-availabilities"
AUTO = "/v2.0/auto-allocated-topology/{project}"
MADE = (
    "network",
    "subnet",
    "port",
    "subnetpool",
    "address_scope",
    "rbac_policy",
    "instance",
    "host",
)
EXAMPLES: dict[str, Example] = {
    **{name: it for noun in MADE for name, it in _resource(NOUNS[noun]).items()},
    **{name: it for noun in TAGGED for name, it in _tags(NOUNS[noun]).items()},
    "GET /": (200, _as_it_is("/")),
    "GET /healthz": (200, _as_it_is("/healthz")),
    "GET /metrics": (200, _as_it_is("/metrics")),
    "GET /v3": (200, _as_it_is("/v3")),
    "GET /v3/projects": (200, _as_it_is("/v3/projects")),
    "GET /v3/projects/{key}": (200, _as_it_is("/v3/projects/p1")),
    "GET /v2.0": (200, _as_it_is("/v2.0")),
    "GET /v2.0/extensions": (200, _as_it_is("extensions")),
    "GET /v2.0/extensions/{alias}": (200, _as_it_is("extensions/agent")),
    "GET /v2.0/availability_zones": (200, _as_it_is("availability_zones")),
    f"GET {ROOM}": (200, _as_it_is("network-ip-availabilities")),
    f"GET {ROOM}/{{key}}": (200, lambda w: (f"network-ip-availabilities/{w.network()}", None)),
    "GET /v2.0/leases": (200, _as_it_is("leases")),
    "GET /v2.0/leases/{key}": (200, lambda w: (f"leases/{w.lease()}", None)),
    "DELETE /v2.0/leases/{key}": (204, lambda w: (f"leases/{w.lease()}", None)),
    "GET /v2.0/addresses": (200, _as_it_is("addresses")),
    "POST /v2.0/addresses": (
        201,
        lambda w: ("addresses", {"address": NOUNS["address"].around(w)}),
    ),
    "DELETE /v2.0/addresses/{network_id}/{key}": (204, lambda w: (_reserved(w), None)),
    "GET /v2.0/agents": (200, _as_it_is("agents")),
    "GET /v2.0/agents/{key}": (200, _agent),
    "PUT /v2.0/agents/{key}": (200, lambda w: _agent(w, body={"agent": {"description": "x"}})),
    "POST /v2.0/hosts/{key}/token": (200, lambda w: (f"hosts/{w.host()[0]}/token", None)),
    "DELETE /v2.0/agents/{key}": (204, lambda w: (f"agents/{w.agent(w.host()[0])}", None)),
    "GET /v2.0/agents/{key}/dhcp-networks": (200, lambda w: _agent(w, "/dhcp-networks")),
    "POST /v2.0/agents/{key}/dhcp-networks": (
        201,
        _serve,
    ),
    "DELETE /v2.0/agents/{key}/dhcp-networks/{network}": (204, _served),
    "GET /v2.0/networks/{key}/dhcp-agents": (
        200,
        lambda w: (f"networks/{w.network()}/dhcp-agents", None),
    ),
    "GET /v2.0/networks/{key}/tour": (200, lambda w: (f"networks/{w.network()}/tour", None)),
    f"PUT {POOL}/add_prefixes": (200, _prefixes("add_prefixes")),
    f"PUT {POOL}/remove_prefixes": (200, _prefixes("remove_prefixes")),
    f"GET {PORT}": (200, lambda w: (_bindings(w), None)),
    f"POST {PORT}": (201, lambda w: (_bindings(w), {"binding": {"host": w.host()[0]}})),
    f"GET {PORT}/{{host}}": (200, _binding),
    f"PUT {PORT}/{{host}}": (200, lambda w: _binding(w, body={"binding": {"profile": {}}})),
    f"PUT {PORT}/{{host}}/activate": (200, lambda w: _binding(w, "/activate")),
    f"DELETE {PORT}/{{host}}": (204, _binding),
    "GET /v2.0/quotas": (200, _as_it_is("quotas")),
    f"GET {QUOTA}": (200, _as_it_is("quotas/p1")),
    f"GET {QUOTA}/default": (200, _as_it_is("quotas/p1/default")),
    f"GET {QUOTA}/details": (200, _as_it_is("quotas/p1/details")),
    f"GET {QUOTA}/details.json": (200, _as_it_is("quotas/p1/details.json")),
    f"PUT {QUOTA}": (200, lambda _: ("quotas/p1", {"quota": {"port": 5}})),
    f"DELETE {QUOTA}": (204, _as_it_is("quotas/p1")),
    f"GET {AUTO}": (200, lambda w: (_project(w), None)),
    f"DELETE {AUTO}": (204, lambda w: (_project(w), None)),
}


@pytest.fixture(scope="module")
def world(shared: Any) -> World:
    return World(shared)


def test_each_route_has_an_example(world: World) -> None:
    page: Json = world.ask("GET", "/schema/openapi.json").json()
    methods = {"get", "put", "post", "delete", "patch", "head"}
    routes = {
        f"{method.upper()} {path}"
        for path, item in page["paths"].items()
        for method in item.keys() & methods
    }
    assert routes == set(EXAMPLES)


@pytest.mark.parametrize("route", EXAMPLES)
def test_it_answers_as_it_is_meant_to(world: World, route: str) -> None:
    status, example = EXAMPLES[route]
    path, body = example(world)
    answer = world.ask(route.partition(" ")[0], path, body)
    assert answer.status_code == status, answer.text
    assert bool(answer.content) == (status != 204)
