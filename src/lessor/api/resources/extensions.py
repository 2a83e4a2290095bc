"""/v2.0/extensions and the version documents: what clients find out before they ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from lessor.api.rest.openapi import PROBLEMS
from lessor.errors import NotFound

PREFIX = "/v2.0/"
UPDATED = "2026-11-22T00:00:00-00:00"
# Those of no single resource. alias: name, description. Only what works: clients decide by this
# what they may ask for.
GENERAL: Mapping[str, tuple[str, str]] = {
    "allowed-address-pairs": ("Allowed Address Pairs", "Further addresses a port may send with"),
    "auto-allocated-topology": (
        "Auto Allocated Topology Services",
        "A project gets a network and a subnet for the asking",
    ),
    "binding-extended": (
        "Port Bindings Extended",
        "Further bindings of a port, for live migration",
    ),
    "binding": ("Port Binding", "The host of a port, and how it is plugged there"),
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
    "pagination": ("Pagination support", "limit, marker and page_reverse"),
    "port-security": ("Port Security", "Protection of ports can be switched off"),
    "project-id": ("project_id field enabled", "project_id means the same as tenant_id"),
    "provider": ("Provider Network", "The physical network behind a network"),
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
    "tag-creation": ("Tag creation extension", "Several tags can be added at once"),
    "tag-ports-during-bulk-creation": (
        "Tag Ports During Bulk Creation",
        "Tags can be given at creation",
    ),
}
AnyRequest = Request[Any, Any, Any]
ANYBODY = {"rule": None}


def handlers(others: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Return the routes of extensions and versions.

    Args:
        others: the routes of resources, which have their lists and extensions.
    """
    known = {**GENERAL, **_extensions(others)}

    @get("/v2.0/extensions", sync_to_thread=False, opt=ANYBODY)
    def list_extensions() -> dict[str, list[dict[str, Any]]]:
        """List what this server can beyond the bare API."""
        return {"extensions": [_extension(alias, *words) for alias, words in known.items()]}

    @get("/v2.0/extensions/{alias:str}", sync_to_thread=False, opt=ANYBODY, responses=PROBLEMS)
    def show_extension(alias: FromPath[str]) -> dict[str, dict[str, Any]]:
        """Show an extension."""
        if alias not in known:
            raise NotFound(f"there is no extension {alias!r}", type_="ExtensionNotFound")
        return {"extension": _extension(alias, *known[alias])}

    @get("/", sync_to_thread=False, opt=ANYBODY)
    def list_versions(request: AnyRequest) -> dict[str, list[dict[str, Any]]]:
        """List the versions of the API."""
        links = [{"rel": "self", "href": f"{_base(request)}/v2.0/"}]
        return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]}

    lists = {**_lists(others), "extension": "extensions"}

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
                for name, collection in lists.items()
            ]
        }

    return [list_versions, list_resources, list_extensions, show_extension]


def _extension(alias: str, name: str, description: str) -> dict[str, Any]:
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "updated": UPDATED,
        "links": [],
    }


def _extensions(others: Sequence[HTTPRouteHandler]) -> dict[str, tuple[str, str]]:
    """Return the extensions that resources declare, by alias."""
    resources = [handler.opt["resource"] for handler in others if "resource" in handler.opt]
    return {alias: words for one in resources for alias, words in one.extensions.items()}


def _lists(others: Sequence[HTTPRouteHandler]) -> dict[str, str]:
    """Return where lists are, by the singular of what is in them."""
    return {
        handler.opt["resource"].singular: path.removeprefix(PREFIX)
        for handler in others
        for path in handler.paths
        if "resource" in handler.opt and "GET" in handler.http_methods
        if path.startswith(PREFIX) and "{" not in path
    }


def _base(request: AnyRequest) -> str:
    return str(request.base_url).rstrip("/")
