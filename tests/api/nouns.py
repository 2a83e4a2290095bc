"""How each resource of the API is made, read and changed in tables of examples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lessor.api.resources import (
    address_scopes,
    addresses,
    agents,
    hosts,
    instances,
    networks,
    portbindings,
    ports,
    quotas,
    rbac,
    subnetpools,
    subnets,
)
from lessor.api.rest.fields import Resource
from tests.api.world import VXLAN, Json, World


def _nothing(_: World) -> Json:
    return {}


@dataclass(frozen=True)
class Noun:
    """A resource that clients write.

    Args:
        resource: its fields.
        path: where its list is; things that it is under are made for it.
        around: what is needed to make one.
        key: what names one behind that path.
        existing: for what clients change and don't make: finds one's path.
        changes: whether there is a PUT.
    """

    resource: Resource
    path: Callable[[World], str]
    around: Callable[[World], Json] = _nothing
    key: Callable[[Json], str] = lambda row: str(row["id"])
    existing: Callable[[World], str] | None = None
    changes: bool = True

    @property
    def name(self) -> str:
        return self.resource.singular


def _at(path: str) -> Callable[[World], str]:
    return lambda _: path


def _bindings(w: World) -> str:
    return f"ports/{w.port()['id']}/bindings"


def _policy(w: World) -> Json:
    return {
        "object_type": "network",
        "object_id": w.network(),
        "action": "access_as_shared",
        "target_tenant": "p7",
    }


NOUNS: Mapping[str, Noun] = {
    noun.name: noun
    for noun in (
        Noun(networks.RESOURCE, _at("networks"), lambda _: dict(VXLAN)),
        Noun(
            subnets.RESOURCE,
            _at("subnets"),
            lambda w: {"network_id": w.network(), "cidr": "10.0.0.0/24"},
        ),
        Noun(ports.RESOURCE, _at("ports"), lambda w: {"network_id": w.subnet()["network_id"]}),
        Noun(
            subnetpools.RESOURCE,
            _at("subnetpools"),
            lambda _: {"name": "pool", "prefixes": ["10.0.0.0/8"]},
        ),
        Noun(
            address_scopes.RESOURCE,
            _at("address-scopes"),
            lambda _: {"name": "scope", "ip_version": 4},
        ),
        Noun(rbac.RESOURCE, _at("rbac-policies"), _policy),
        Noun(instances.RESOURCE, _at("instances")),
        Noun(
            portbindings.RESOURCE,
            _bindings,
            lambda w: {"host": w.host()[0]},
            lambda row: str(row["host"]),
        ),
        Noun(
            hosts.RESOURCE,
            _at("hosts"),
            lambda w: {"name": w.name()},
            lambda row: str(row["name"]),
            changes=False,
        ),
        Noun(
            addresses.RESOURCE,
            _at("addresses"),
            lambda w: {"network_id": w.subnet()["network_id"], "address": "10.0.0.77"},
            lambda row: f"?network_id={row['network_id']}&address={row['address']}",
            changes=False,
        ),
        Noun(agents.RESOURCE, _at("agents"), existing=lambda w: f"agents/{w.agent(w.host()[0])}"),
        Noun(quotas.RESOURCE, _at("quotas"), existing=lambda w: f"quotas/{w.name()}"),
    )
}


def made(w: World, noun: Noun, **fields: Any) -> tuple[str, Json]:
    """Make one, or find one that is there; return its path and how it is shown."""
    if noun.existing is not None:
        path = noun.existing(w)
        return path, read(w, noun, path)
    many = noun.path(w)
    answer = w.ask("POST", many, {noun.name: noun.around(w) | fields})
    assert answer.status_code == 201, answer.text
    row: Json = answer.json()[noun.name]
    return f"{many}/{noun.key(row)}".replace("/?", "?"), row


def read(w: World, noun: Noun, path: str, **query: str) -> Json:
    """Return how one is shown."""
    more = "&".join(f"{name}={value}" for name, value in query.items())
    answer = w.ask("GET", path + ("&" if "?" in path else "?") + more if more else path)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    row: Json = found[noun.name] if noun.name in found else found[noun.resource.plural][0]
    return row
