"""/v2.0/extensions and the version documents: what clients find out before they ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from lessor.api.rest.openapi import PROBLEMS
from lessor.errors import NotFound

UPDATED = "2026-11-22T00:00:00-00:00"
# alias: name, description. Only what works; clients decide by this what they may ask for.
KNOWN: Mapping[str, tuple[str, str]] = {
    "address-scope": ("Address scope", "Subnet pools that don't overlap"),
    "agent": ("agent", "The agents that serve networks"),
    "agent-resources-synced": (
        "Agent's Resource View Synced to Placement",
        "Here: whether an agent has all that the server says",
    ),
    "allowed-address-pairs": ("Allowed Address Pairs", "Further addresses a port may send with"),
    "auto-allocated-topology": (
        "Auto Allocated Topology Services",
        "A project gets a network and a subnet for the asking",
    ),
    "availability_zone": ("Availability Zone", "Which zones hosts are in"),
    "binding-extended": (
        "Port Bindings Extended",
        "Further bindings of a port, for live migration",
    ),
    "binding": ("Port Binding", "The host of a port, and how it is plugged there"),
    "default-subnetpools": ("Default Subnetpools", "One pool may be the default"),
    "dhcp_agent_scheduler": ("DHCP Agent Scheduler", "Which agents serve DHCP on a network"),
    "dns-integration": ("DNS Integration", "Names of ports, known to DNS"),
    "empty-string-filtering": (
        "Empty String Filtering Extension",
        "An empty filter finds what is empty",
    ),
    "extra_dhcp_opt": ("Port's extra DHCP options", "DHCP options of one port"),
    "filter-validation": ("Filter parameters validation", "An unknown filter is an error"),
    "ip_allocation": ("IP Allocation", "Whether a port has addresses"),
    "ip-substring-filtering": ("IP address substring filtering", "fixed_ips=ip_address_substr="),
    "l2_adjacency": ("L2 Adjacency", "A network is one broadcast domain"),
    "lessor": ("Lessor", "Leases, addresses, instances and hosts; lessor: attributes"),
    "net-mtu": ("Network MTU", "The MTU of a network"),
    "net-mtu-writable": ("Network MTU (writable)", "A network's MTU can be set"),
    "network_availability_zone": (
        "Network Availability Zone",
        "Zones that a network's DHCP servers shall be in, and are in",
    ),
    "network-ip-availability": ("Network IP Availability", "How many addresses are left"),
    "pagination": ("Pagination support", "limit, marker and page_reverse"),
    "port-security": ("Port Security", "Protection of ports can be switched off"),
    "project-id": ("project_id field enabled", "project_id means the same as tenant_id"),
    "provider": ("Provider Network", "The physical network behind a network"),
    "rbac-address-scope": (
        "Add address_scope type to RBAC",
        "Address scopes shared with single projects",
    ),
    "rbac-policies": ("RBAC Policies", "Networks shared with single projects"),
    "quota-check-limit": (
        "Quota engine limit check",
        "check_limit: a quota of fewer than there are is refused",
    ),
    "rbac-subnetpool": (
        "Add subnetpool type to RBAC",
        "Subnet pools shared with single projects",
    ),
    "quota_details": ("Quota details management support", "How much of a quota is used"),
    "quotas": ("Quota management support", "How many of each thing a project may have"),
    "revision-if-match": (
        "If-Match constraints based on revision_number",
        "A change that is refused if the row has changed meanwhile",
    ),
    "sort-key-validation": ("Sort keys validation", "An unknown sort key is an error"),
    "sorting": ("Sorting support", "sort_key and sort_dir"),
    "standard-attr-description": ("standard-attr-description", "Descriptions"),
    "standard-attr-revisions": ("Resource revision numbers", "revision_number"),
    "standard-attr-tag": ("Tag support for resources with standard attribute", "Tags"),
    "standard-attr-timestamp": ("Resource timestamps", "created_at and updated_at"),
    "subnet_allocation": ("Subnet Allocation", "Subnets are cut from subnet pools"),
    "subnetpool-prefix-ops": ("Subnet Pool Prefix Operations", "add_prefixes, remove_prefixes"),
    "tag-creation": ("Tag creation extension", "Several tags can be added at once"),
    "tag-ports-during-bulk-creation": (
        "Tag Ports During Bulk Creation",
        "Tags can be given at creation",
    ),
}
# Where lists are, by the name of what is in them.
COLLECTIONS: Mapping[str, str] = {
    "network": "networks",
    "subnet": "subnets",
    "subnetpool": "subnetpools",
    "address_scope": "address-scopes",
    "port": "ports",
    "agent": "agents",
    "rbac_policy": "rbac-policies",
    "quota": "quotas",
    "availability_zone": "availability_zones",
    "network_ip_availability": "network-ip-availabilities",
    "extension": "extensions",
    "lease": "leases",
    "address": "addresses",
    "instance": "instances",
    "host": "hosts",
}

AnyRequest = Request[Any, Any, Any]
ANYBODY = {"rule": None}


def _extension(alias: str) -> dict[str, Any]:
    name, description = KNOWN[alias]
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "updated": UPDATED,
        "links": [],
    }


@get("/v2.0/extensions", sync_to_thread=False, opt=ANYBODY)
def list_extensions() -> dict[str, list[dict[str, Any]]]:
    """List what this server can beyond the bare API."""
    return {"extensions": [_extension(alias) for alias in KNOWN]}


@get("/v2.0/extensions/{alias:str}", sync_to_thread=False, opt=ANYBODY, responses=PROBLEMS)
def show_extension(alias: FromPath[str]) -> dict[str, dict[str, Any]]:
    """Show an extension."""
    if alias not in KNOWN:
        raise NotFound(f"there is no extension {alias!r}", type_="ExtensionNotFound")
    return {"extension": _extension(alias)}


@get("/", sync_to_thread=False, opt=ANYBODY)
def list_versions(request: AnyRequest) -> dict[str, list[dict[str, Any]]]:
    """List the versions of the API."""
    links = [{"rel": "self", "href": f"{_base(request)}/v2.0/"}]
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}


@get("/v2.0", sync_to_thread=False, opt=ANYBODY)
def list_resources(request: AnyRequest) -> dict[str, list[dict[str, Any]]]:
    """List the resources of the API."""
    base = f"{_base(request)}/v2.0"
    return {
        "resources": [
            {
                "name": name,
                "collection": collection,
                "links": [{"rel": "self", "href": f"{base}/{collection}"}],
            }
            for name, collection in COLLECTIONS.items()
        ]
    }


def _base(request: AnyRequest) -> str:
    return str(request.base_url).rstrip("/")


HANDLERS: list[HTTPRouteHandler] = [
    list_versions,
    list_resources,
    list_extensions,
    show_extension,
]
