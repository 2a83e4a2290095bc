"""/v2.0/networks: what a network looks like to clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Meta, Struct

from lessor.api.resources import tags
from lessor.api.resources.routes import Calls, routes
from lessor.api.rest.bodies import Values
from lessor.api.rest.fields import (
    DESCRIPTION,
    ID,
    NAME,
    PROJECT,
    TAGS,
    TIMES,
    Field,
    Name,
    Resource,
    constant,
    flag,
    iso_time,
    number_or_none,
    text,
    text_or_none,
    unset,
)
from lessor.api.rest.names import domain
from lessor.errors import Invalid
from lessor.model import DhcpMove, Network
from lessor.settings import FlatMapping, ServerSettings
from lessor.store import tagrows
from lessor.store.hosts import no_address
from lessor.store.hosts.no_address import Troubles
from lessor.store.networks import rules as network_rules
from lessor.store.networks import zones as zone_rules
from lessor.store.pools import scopes as addressscopes
from lessor.store.store import Store

NO_ROUTERS = (
    "there are no routers, so no network leads out by one: VMs of a flat network reach the outside "
    "by their gateway. Leave it out"
)
Mtu = Annotated[int, Meta(ge=0, le=65535)]


@dataclass(frozen=True, slots=True)
class Facts:
    """Data shown with networks: subnets, address scopes, and bridges of physical networks."""

    subnets: Mapping[str, Sequence[str]]
    scopes: Mapping[str, str]
    zones: Mapping[str, Sequence[str]]
    mappings: Mapping[str | None, FlatMapping]
    troubles: Troubles

    def bridge(self, network: Network) -> str | None:
        """Return the bridge that the network is on every host."""
        mapping = self.mappings.get(network.physical_network)
        return mapping.bridge if mapping else None

    def interface(self, network: Network) -> str | None:
        """Return the interface that joins the network's bridges."""
        mapping = self.mappings.get(network.physical_network)
        return mapping.interface if mapping else None


class MoveBody(Struct):
    """A DHCP server that was moved from a host that could not serve."""

    source: str
    target: str
    reason: str
    moved_at: str


def _move(move: DhcpMove) -> dict[str, str | None]:
    return {
        "source": move.source,
        "target": move.target,
        "reason": move.reason,
        "moved_at": iso_time(move.moved_at),
    }


RESOURCE = Resource(
    "network",
    "networks",
    (
        ID,
        NAME,
        *PROJECT,
        DESCRIPTION,
        Field(name="admin_state_up", kind=bool, on="cu", query=flag, sort=True),
        Field(name="status", show=constant("ACTIVE"), fixed="ACTIVE", sort=True),
        Field(name="shared", kind=bool, on="cu", query=flag, sort=True),
        unset("router:external", value=False, kind=bool, why=NO_ROUTERS),
        unset("is_default", value=False, kind=bool, why=NO_ROUTERS),
        unset("qos_policy_id", value=None, kind=str | None),
        Field(name="l2_adjacency", kind=bool, show=constant(True)),
        Field(name="subnets", kind=list[str], show=lambda row, facts: facts.subnets[row.id]),
        Field(
            name="ipv4_address_scope",
            kind=str | None,
            show=lambda row, facts: facts.scopes.get(row.id),
        ),
        Field(name="ipv6_address_scope", kind=str | None, show=constant(None)),
        Field(name="mtu", kind=Mtu, on="cu", query=int, sort=True),
        Field(name="provider:network_type", attr="network_type", on="c", query=text, sort=True),
        Field(
            name="provider:physical_network",
            attr="physical_network",
            kind=Name | None,
            on="c",
            query=text_or_none,
            sort=True,
        ),
        Field(
            name="provider:segmentation_id",
            attr="segmentation_id",
            kind=int | None,
            on="c",
            query=number_or_none,
            sort=True,
        ),
        Field(name="port_security_enabled", kind=bool, on="cu", query=flag),
        Field(name="dns_domain", on="cu", accept=domain, query=text),
        Field(
            name="availability_zone_hints",
            kind=list[Name],
            on="c",
            accept=lambda names: tuple(dict.fromkeys(names)),
            show=lambda row, _: [*row.availability_zone_hints],
        ),
        Field(
            name="availability_zones",
            kind=list[str],
            show=lambda row, facts: [*facts.zones.get(row.id, ())],
        ),
        Field(name="lessor:multi_host", attr="multi_host", kind=bool, on="cu", query=flag),
        Field(name="lessor:share_address", attr="share_address", kind=bool, on="cu", query=flag),
        Field(name="lessor:host", attr="host", kind=Name | None, on="cu", query=text_or_none),
        Field(
            name="lessor:bridge",
            attr="bridge",
            kind=Name | None,
            on="c",
            show=lambda row, facts: facts.bridge(row),
        ),
        Field(
            name="lessor:pending",
            show=lambda row, facts: facts.troubles.of_network(row.id),
        ),
        Field(
            name="lessor:dhcp_moves",
            kind=list[MoveBody],
            show=lambda row, facts: [_move(m) for m in facts.troubles.moves.get(row.id, ())],
        ),
        Field(
            name="lessor:bridge_interface",
            kind=str | None,
            show=lambda row, facts: facts.interface(row),
        ),
        *TAGS,
        *TIMES,
    ),
    doc="A broadcast domain that virtual machines are plugged into.",
    limited=True,
)


def facts(store: Store, settings: ServerSettings, rows: Sequence[Network]) -> Facts:
    """Return what these networks are shown with."""
    found = store.read(network_rules.subnet_ids, [row.id for row in rows])
    return Facts(
        {row.id: found.get(row.id, []) for row in rows},
        store.read(addressscopes.of_networks, [row.id for row in rows]),
        store.read(zone_rules.of_networks, [row.id for row in rows]),
        {mapping.physical_network: mapping for mapping in settings.flat_mappings},
        no_address.recent(store),
    )


def calls(store: Store, settings: ServerSettings) -> Calls:
    """Return what the routes of networks call."""
    return Calls.of(
        store.networks,
        facts=partial(facts, store, settings),
        complete=partial(_on_bridge, mappings=settings.flat_mappings),
        tags=lambda ids: store.read(tagrows.of, ids),
    )


def handlers(store: Store, settings: ServerSettings) -> list[HTTPRouteHandler]:
    """Return the routes of networks."""
    called = calls(store, settings)
    return [*routes(RESOURCE, called), *tags.routes(RESOURCE, called, store)]


def _on_bridge(values: Values, *, mappings: Sequence[FlatMapping]) -> Values:
    """Say a bridge by its physical network, which is what the store knows.

    Raises:
        Invalid: no mapping has the bridge, or it contradicts the physical network given.
    """
    bridge = values.pop("bridge", None)
    if bridge is None:
        return values
    known = {mapping.bridge: mapping.physical_network for mapping in mappings}
    if not known:
        return values  # the store says what is missing
    if bridge not in known:
        raise Invalid(
            f"no physical network has bridge {bridge!r}; known bridges: {', '.join(sorted(known))}"
        )
    asked: Any = values.setdefault("physical_network", known[bridge])
    if asked != known[bridge]:
        raise Invalid(
            f"bridge {bridge!r} is of physical network {known[bridge]!r}, not {asked!r}: give one"
        )
    return values
