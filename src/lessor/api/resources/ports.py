"""/v2.0/ports: what a port looks like to clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from litestar.handlers import HTTPRouteHandler

from lessor.api.resources import tags
from lessor.api.resources.port_parts import (
    DhcpOptionBody,
    FixedIpBody,
    PairBody,
    fixed_ips,
    merged,
    options,
    pairs,
    show_fixed_ips,
    show_options,
    show_pairs,
)
from lessor.api.resources.routes import Calls, routes
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
    address,
    constant,
    flag,
    mac,
    text,
    text_or_none,
    unset,
    uuid,
)
from lessor.core.vmport import tap_mac, tap_name
from lessor.errors import Invalid, NotFound
from lessor.model import Network, Port
from lessor.net.guest_name import hostname
from lessor.settings import ServerSettings
from lessor.store import tagrows
from lessor.store.columns import packed
from lessor.store.hosts import no_address
from lessor.store.hosts import rules as host_rules
from lessor.store.hosts.no_address import Troubles
from lessor.store.query import Query
from lessor.store.store import Store
from lessor.store.values import PortValues


@dataclass(frozen=True, slots=True)
class Facts:
    """What ports are shown with: their networks, and the bridges of physical networks."""

    networks: Mapping[str, Network]
    bridges: Mapping[str | None, str]
    domain: str
    integration_bridge: str = "br-int"
    datapath_type: str = "system"
    datapaths: Mapping[str, str] = field(default_factory=dict)  # of hosts that say it
    troubles: Troubles = field(default_factory=Troubles)

    def vif_type(self, port: Port) -> str:
        """Return how Nova plugs the port: its libvirt driver makes a tap, os-vif a port of br-int.

        A "bridge" is what Nova 34 plugs no more; every older one makes a tap as well.
        """
        network = self.networks.get(port.network_id)
        if port.binding_host is None:
            return "unbound"
        if port.binding_failed:
            return "binding_failed"
        return "ovs" if network and network.is_overlay else "tap"

    def vif_details(self, port: Port) -> dict[str, Any]:
        """Return what a hypervisor plugs the port with (Nova's and os-vif's names)."""
        network = self.networks.get(port.network_id)
        if port.binding_host is None or port.binding_failed or network is None:
            return {}
        if network.is_overlay:
            return {
                "bridge_name": self.integration_bridge,
                "datapath_type": self.datapaths.get(port.binding_host, self.datapath_type),
                "ovs_hybrid_plug": False,
                "ovs_create_tap": True,  # os-vif makes it: it is there before QEMU (live migration)
                "port_filter": True,
                "connectivity": "l2",
                "tap_name": tap_name(port.id),
            }
        return {
            "bridge_name": self.bridges.get(network.physical_network),
            "port_filter": True,
            "connectivity": "l2",
            "tap_name": tap_name(port.id),
            "mac_address": tap_mac(port.id),  # of the tap, not the VM's
        }

    def dns_assignment(self, port: Port) -> list[dict[str, str]]:
        """Return the names by which DNS knows the port's addresses (Neutron's dns-integration)."""
        network = self.networks.get(port.network_id)
        domain = (network.dns_domain.rstrip(".") if network else "") or self.domain
        found = []
        for fixed in port.fixed_ips:
            name = hostname(port, fixed.address)
            fqdn = f"{name}.{domain}." if domain else f"{name}."
            found.append({"hostname": name, "ip_address": str(fixed.address), "fqdn": fqdn})
        return found


# What Nova asks of a port besides: Lessor reserves nothing for it anywhere.
NOTHING = ("resource_request", "device_profile", "numa_affinity_policy", "data_plane_status")
MOST_PROFILE = 4095  # characters; Neutron's column


def _pending(port: Port, troubles: Troubles) -> str:
    words = ""
    if port.binding_failed:
        words = (
            f"host {port.binding_host} had no live agent, or lacked the network, "
            "when the port was bound to it"
        )
    network = troubles.of_port(port)
    stray = troubles.ports.get(port.id, "")
    parts = [words, port.pending, stray]
    return "; ".join(filter(None, [*parts, network and f"its network: {network}"]))


def _host(value: str | None) -> str | None:
    return value or None


def normal(value: str) -> str:
    """Read a type of NIC: there is one.

    Raises:
        Invalid: it is another.
    """
    if value != "normal":
        raise Invalid(f"vnic type {value!r} can't be plugged; known types: normal")
    return value


def _no_groups(value: list[str] | None) -> tuple[()]:
    """Take that a port has no security groups, as Ansible and Terraform may say; it never has any.

    Raises:
        Invalid: it is to have some.
    """
    if value:
        raise Invalid(f"there are no security groups, so not {value[0]!r} either; give []")
    return ()


def profile(value: dict[str, Any] | None) -> dict[str, Any]:
    """Read a binding's profile: any JSON object that is short enough."""
    if (length := len(packed(value or {}))) > MOST_PROFILE:
        raise Invalid(f"{length} characters of JSON; the most is {MOST_PROFILE}")
    return value or {}


def _allocation(row: Port, _: Any) -> str:
    """Say how addresses were given: none are deferred until the port's host is known."""
    return "immediate" if row.fixed_ips else "none"


def _fixed_ips_filter(value: str) -> tuple[str, object]:
    """Read `ip_address=10.0.0.2`, `ip_address_substr=10.0` or `subnet_id=...`."""
    name, equals, wanted = value.partition("=")
    if equals and name == "ip_address":
        return name, address(wanted)
    if equals and name in {"subnet_id", "ip_address_substr"}:
        return name, wanted
    raise Invalid("write ip_address=ADDRESS, ip_address_substr=PART or subnet_id=ID")


RESOURCE = Resource(
    "port",
    "ports",
    (
        ID,
        NAME,
        *PROJECT,
        DESCRIPTION,
        Field(name="network_id", on="c", required=True, accept=uuid, query=text, sort=True),
        Field(name="admin_state_up", kind=bool, on="cu", query=flag, sort=True),
        Field(name="status", query=text, sort=True),
        Field(
            name="lessor:pending",
            attr="pending",
            show=lambda row, facts: _pending(row, facts.troubles),
        ),
        Field(name="mac_address", on="cu", accept=mac, query=mac, sort=True),
        Field(
            name="fixed_ips",
            kind=list[FixedIpBody],
            on="cu",
            accept=fixed_ips,
            show=show_fixed_ips,
            query=_fixed_ips_filter,
        ),
        Field(name="device_id", kind=Name, on="cu", query=text, sort=True),
        Field(name="device_owner", kind=Name, on="cu", query=text, sort=True),
        Field(
            name="binding:host_id",
            attr="binding_host",
            kind=Name | None,
            on="cu",
            accept=_host,
            show=lambda row, _: row.binding_host or "",
            query=text_or_none,
            sort=True,
        ),
        Field(
            name="binding:vif_type",
            attr="vif_type",
            show=lambda row, facts: facts.vif_type(row),
            query=text,
        ),
        Field(
            name="binding:vif_details",
            kind=dict[str, Any],
            show=lambda row, facts: facts.vif_details(row),
        ),
        Field(name="binding:vnic_type", attr="vnic_type", on="cu", accept=normal, query=text),
        Field(
            name="binding:profile",
            attr="binding_profile",
            kind=dict[str, Any] | None,
            on="cu",
            accept=profile,
        ),
        Field(name="port_security_enabled", kind=bool, on="cu", query=flag),
        Field(
            name="security_groups",
            kind=list[str] | None,
            on="cu",
            accept=_no_groups,
            show=constant([]),  # Ansible reads it
            fixed="",
            said_only=True,
        ),
        Field(
            name="allowed_address_pairs",
            kind=list[PairBody] | None,
            on="cu",
            accept=pairs,
            show=show_pairs,
        ),
        Field(
            name="extra_dhcp_opts",
            kind=list[DhcpOptionBody] | None,
            on="cu",
            accept=options,
            show=show_options,
        ),
        Field(name="dns_name", on="cu", query=text),
        Field(
            name="dns_assignment",
            kind=list[dict[str, str]],
            show=lambda row, facts: facts.dns_assignment(row),
        ),
        unset("dns_domain", value="", kind=str | None),
        Field(name="ip_allocation", show=_allocation, query=text),
        unset("qos_policy_id", value=None, kind=str | None),
        unset("propagate_uplink_status", value=False, kind=bool),
        *(Field(name=name, kind=str | None, show=constant(None)) for name in NOTHING),
        *TAGS,
        *TIMES,
    ),
    doc="A NIC of a virtual machine on a network.",
    limited=True,
)


def _networks(store: Store, ids: set[str]) -> list[Network]:
    """Return networks by id; one that was deleted meanwhile is left out."""
    if len(ids) > 1:
        return store.networks.find(Query(filters={"id": tuple(ids)}))
    found: list[Network] = []
    with suppress(NotFound):  # one by its id costs a third of a list
        found += [store.networks.get(id_) for id_ in ids]
    return found


def _switched(rows: Sequence[Port], networks: Sequence[Network]) -> set[str]:
    """Return the hosts that ports are plugged into Open vSwitch on."""
    overlays = {network.id for network in networks if network.is_overlay}
    return {row.binding_host for row in rows if row.binding_host and row.network_id in overlays}


def handlers(store: Store, settings: ServerSettings) -> list[HTTPRouteHandler]:
    """Return the routes of ports."""
    called = calls(store, settings)
    return [*routes(RESOURCE, called), *tags.routes(RESOURCE, called, store)]


def calls(store: Store, settings: ServerSettings) -> Calls:
    """Return what the routes of ports call."""
    bridges: dict[str | None, str] = {
        mapping.physical_network: mapping.bridge for mapping in settings.flat_mappings
    }

    def facts(rows: Sequence[Port]) -> Facts:
        networks = _networks(store, {row.network_id for row in rows})
        return Facts(
            {network.id: network for network in networks},
            bridges,
            settings.dhcp_domain,
            settings.integration_bridge,
            settings.datapath_type or "system",
            store.read(host_rules.datapath_types, _switched(rows, networks)),
            no_address.recent(store),
        )

    def create(many: Sequence[PortValues]) -> list[Port]:
        for values in many:
            if "extra_dhcp_opts" in values:
                values["extra_dhcp_opts"] = merged((), values["extra_dhcp_opts"])
        return store.ports.create(many)

    def update(key: str, values: PortValues, expected: int | None = None) -> Port:
        if "extra_dhcp_opts" in values:
            present = store.ports.get(key).extra_dhcp_opts
            values["extra_dhcp_opts"] = merged(present, values["extra_dhcp_opts"])
        return store.ports.update(key, values, expected)

    return Calls.of(
        store.ports,
        create=create,
        update=update,
        facts=facts,
        tags=lambda ids: store.read(tagrows.of, ids),
    )
