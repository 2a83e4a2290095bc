"""Each extension that is announced, by a request that works only with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.world import NO_ID, World

Works = Callable[[World], object]


def _shows(noun: str, names: frozenset[str]) -> Works:
    """Return what tells that a new one has these attributes."""

    def works(w: World) -> bool:
        make = {"network": w.network, "subnet": lambda: w.subnet()["id"]}
        make |= {"port": lambda: w.port()["id"], "subnetpool": w.pool}
        row = w.ask("GET", f"{noun}s/{make[noun]()}").json()[noun]
        return names <= set(row)

    return works


def _status(w: World, method: str, path: str, body: Any = None, **more: Any) -> int:
    return w.ask(method, path, body, **more).status_code


def _allocated(w: World, **fields: Any) -> bool:
    subnet = w.make("subnet", network_id=w.network(), subnetpool_id=w.pool(), **fields)
    return bool(subnet["cidr"] == "10.0.0.0/24")


def _address_scopes(w: World) -> bool:
    scope = w.scope()
    network = w.network()
    w.make("subnet", network_id=network, subnetpool_id=w.pool(address_scope_id=scope))
    shown = w.ask("GET", f"networks/{network}").json()["network"]
    return bool(shown["ipv4_address_scope"] == scope)


def _pair(w: World) -> bool:
    pair = {"ip_address": "10.0.0.99", "mac_address": "fa:16:3e:00:00:02"}
    return bool(w.port(allowed_address_pairs=[pair])["allowed_address_pairs"] == [pair])


def _zone(w: World) -> bool:
    name = w.name()
    w.host(availability_zone=name)
    zones = w.ask("GET", f"availability_zones?name={name}").json()["availability_zones"]
    return bool(zones == [{"name": name, "state": "available", "resource": "network"}])


def _zone_hints(w: World) -> bool:
    name = w.name()
    w.host(availability_zone=name)
    ownerless = {"lessor:multi_host": True}  # other tests leave network hosts, which would own it
    made = w.make("network", availability_zone_hints=[name], **ownerless)
    return bool(made["availability_zone_hints"] == [name] and made["availability_zones"] == [])


def _bound(w: World) -> dict[str, Any]:
    host, _ = w.dhcp_host()
    return w.port(**{"binding:host_id": host})


def _two_bindings(w: World) -> bool:
    path = f"ports/{_bound(w)['id']}/bindings"
    w.ask("POST", path, {"binding": {"host": w.host()[0]}})
    rows = w.ask("GET", path).json()["bindings"]
    return sorted(row["status"] for row in rows) == ["ACTIVE", "INACTIVE"]


def _default_pool(w: World) -> bool:
    pool = w.pool(is_default=True)
    made = w.make("subnet", network_id=w.network(), use_default_subnetpool=True)
    w.change("subnetpool", pool, is_default=False)
    return bool(made["subnetpool_id"] == pool)


def _scheduled(w: World) -> bool:
    host, _ = w.dhcp_host()
    network = w.subnet()["network_id"]
    path = f"agents/{w.agent(host)}/dhcp-networks"
    w.ask("POST", path, {"network_id": network})
    served = w.ask("GET", f"{path}?fields=id").json()["networks"]
    hosts = w.ask("GET", f"networks/{network}/dhcp-agents").json()["agents"]
    return network in {row["id"] for row in served} and host in {row["host"] for row in hosts}


def _named(w: World) -> bool:
    port = w.port(dns_name="web")
    return bool(port["dns_assignment"][0]["fqdn"] == "web.novalocal.")


def _empty(w: World) -> bool:
    name = w.name()
    port = w.port(device_id=name)
    found = w.ask("GET", f"ports?device_id={name}&name=").json()["ports"]
    return [row["id"] for row in found] == [port["id"]]


def _options(w: World) -> bool:
    option = {"opt_name": "ntp-server", "opt_value": "10.0.0.9", "ip_version": 4}
    return bool(w.port(extra_dhcp_opts=[option])["extra_dhcp_opts"] == [option])


def _substring(w: World) -> bool:
    name = w.name()
    w.port(device_id=name)
    wanted = f"device_id={name}&fixed_ips=ip_address_substr="
    sizes = [len(w.ask("GET", f"ports?{wanted}{part}").json()["ports"]) for part in (".0.0.", "77")]
    return sizes == [1, 0]


def _mtu(w: World) -> bool:
    network = w.network(mtu=1400)
    changed = w.change("network", network, mtu=1300).json()["network"]["mtu"]
    return bool(changed == 1300)


def _room(w: World) -> bool:
    network = w.port()["network_id"]
    row = w.ask("GET", f"network-ip-availabilities/{network}").json()["network_ip_availability"]
    return bool(row["used_ips"] >= 1)  # a DHCP server may have one, too


def _page(w: World) -> bool:
    network = w.port()["network_id"]
    w.port(network)
    page = w.ask("GET", f"ports?network_id={network}&limit=1").json()
    return {link["rel"] for link in page["ports_links"]} == {"next", "previous"}


def _unprotected(w: World) -> bool:
    network = w.network(port_security_enabled=False)
    return w.port(network)["port_security_enabled"] is False


def _shared(kind: str) -> Works:
    def works(w: World) -> bool:
        key = {"network": w.network, "subnetpool": w.pool, "address_scope": w.scope}[kind]()
        made = w.share(kind, key, "p1")
        return made.status_code == 201 and made.json()["rbac_policy"]["object_id"] == key

    return works


def _quota(w: World, rest: str = "") -> Any:
    project = w.name()
    w.ask("PUT", f"quotas/{project}", {"quota": {"port": 7}})
    return w.ask("GET", f"quotas/{project}{rest}").json()["quota"]["port"]


def _too_few(w: World) -> bool:
    w.network(project_id=(project := w.name()))
    body = {"quota": {"network": 0, "check_limit": True}}
    return _status(w, "PUT", f"quotas/{project}", body) in {400, 409}


def _old_revision(w: World) -> bool:
    header = {"If-Match": "revision_number=0"}
    return _status(w, "PUT", f"networks/{w.network()}", {"network": {}}, headers=header) == 412


def _sorted(w: World) -> bool:
    network = w.network()
    for name in ("b", "a"):
        w.port(network, name=name)
    rows = w.ask("GET", f"ports?network_id={network}&sort_key=name&sort_dir=asc").json()["ports"]
    return [row["name"] for row in rows] == ["a", "b"]


def _prefixes(w: World) -> bool:
    path = f"subnetpools/{w.pool(prefixes=['10.0.0.0/16'])}/add_prefixes"
    said = w.ask("PUT", path, {"prefixes": ["10.1.0.0/16"]})
    return bool(said.json() == {"prefixes": ["10.0.0.0/15"]})


def _tags(w: World) -> bool:
    path = f"networks/{w.network()}/tags"
    w.ask("PUT", path, {"tags": ["red"]})
    return bool(w.ask("GET", path).json() == {"tags": ["red"]})


def _more_tags(w: World) -> bool:
    path = f"networks/{w.network(tags=['red'])}/tags"
    return _status(w, "POST", path, {"tags": ["blue"]}) == 201


def _bulk_tags(w: World) -> bool:
    wanted = {"network_id": w.network(), "tags": ["red"]}
    made = w.ask("POST", "ports", {"ports": [wanted, wanted]}).json()["ports"]
    return [port["tags"] for port in made] == [["red"], ["red"]]


def _auto(w: World) -> bool:
    pool = w.pool(is_default=True)
    path = f"auto-allocated-topology/{w.name()}"
    made = w.ask("GET", path).json()["auto_allocated_topology"]
    w.change("subnetpool", pool, is_default=False)
    return bool(w.ask("GET", f"networks/{made['id']}").status_code == 200)


EXAMPLES: dict[str, Works] = {
    "address-scope": _address_scopes,
    "agent": lambda w: w.ask("GET", f"agents/{w.agent(w.host()[0])}").is_success,
    "agent-resources-synced": lambda w: w.ask(
        "GET", f"agents?host={w.host(in_sync=True)[0]}"
    ).json()["agents"][0]["resources_synced"],
    "allowed-address-pairs": _pair,
    "auto-allocated-topology": _auto,
    "availability_zone": _zone,
    "binding": lambda w: _bound(w)["binding:vif_type"] == "ovs",
    "binding-extended": _two_bindings,
    "default-subnetpools": _default_pool,
    "dhcp_agent_scheduler": _scheduled,
    "dns-integration": _named,
    "empty-string-filtering": _empty,
    "extra_dhcp_opt": _options,
    "filter-validation": lambda w: _status(w, "GET", "networks?colour=red") == 400,
    "ip-substring-filtering": _substring,
    "ip_allocation": lambda w: w.port()["ip_allocation"] == "immediate",
    "l2_adjacency": _shows("network", frozenset({"l2_adjacency"})),
    "lessor": lambda w: _status(w, "GET", f"leases/{w.lease()}") == 200,
    "net-mtu": lambda w: w.make("network", mtu=1400)["mtu"] == 1400,
    "net-mtu-writable": _mtu,
    "network-ip-availability": _room,
    "network_availability_zone": _zone_hints,
    "pagination": _page,
    "port-security": _unprotected,
    "project-id": lambda w: w.make("network", project_id="p1")["tenant_id"] == "p1",
    "provider": _shows(
        "network", frozenset({"provider:network_type", "provider:physical_network"})
    ),
    "quota-check-limit": _too_few,
    "quota_details": lambda w: _quota(w, "/details") == {"limit": 7, "used": 0, "reserved": 0},
    "quotas": lambda w: _quota(w) == 7,
    "rbac-address-scope": _shared("address_scope"),
    "rbac-policies": _shared("network"),
    "rbac-subnetpool": _shared("subnetpool"),
    "revision-if-match": _old_revision,
    "sort-key-validation": lambda w: _status(w, "GET", "networks?sort_key=colour") == 400,
    "sorting": _sorted,
    "standard-attr-description": lambda w: w.port(description="words")["description"] == "words",
    "standard-attr-revisions": lambda w: w.port()["revision_number"] > 0,
    "standard-attr-tag": _tags,
    "standard-attr-timestamp": lambda w: w.port()["created_at"].endswith("Z"),
    "subnet_allocation": _allocated,
    "subnetpool-prefix-ops": _prefixes,
    "tag-creation": _more_tags,
    "tag-ports-during-bulk-creation": _bulk_tags,
}
# What clients look for that Lessor has not, and a request of each that is refused.
ABSENT: dict[str, tuple[str, str, Any, int]] = {
    "external-net": ("POST", "networks", {"network": {"router:external": True}}, 400),
    "router": ("GET", "routers", None, 404),
    "security-group": ("GET", "security-groups", None, 404),
    "segment": ("GET", "segments", None, 404),
    "multi-provider": ("POST", "networks", {"network": {"segments": []}}, 400),
    "subnet-service-types": (
        "PUT",
        f"subnets/{NO_ID}",
        {"subnet": {"service_types": ["compute:nova"]}},
        400,
    ),
    "dns-domain-ports": ("PUT", f"ports/{NO_ID}", {"port": {"dns_domain": "x.example."}}, 400),
    "qos": ("GET", "qos/policies", None, 404),
    "vlan-transparent": ("POST", "networks", {"network": {"vlan_transparent": True}}, 400),
}


@pytest.fixture(scope="module")
def world(shared: Any) -> World:
    return World(shared)


def _listed(world: World) -> dict[str, Any]:
    return {one["alias"]: one for one in world.ask("GET", "extensions").json()["extensions"]}


def test_each_extension_has_an_example(world: World) -> None:
    assert set(EXAMPLES) == set(_listed(world))


@pytest.mark.parametrize("alias", EXAMPLES)
def test_what_is_announced_works(world: World, alias: str) -> None:
    shown = world.ask("GET", f"extensions/{alias}").json()["extension"]
    assert shown == _listed(world)[alias]
    assert shown["name"]
    assert shown["description"]
    assert EXAMPLES[alias](world)


@pytest.mark.parametrize("alias", ABSENT)
def test_what_is_not_there_is_not_announced(world: World, alias: str) -> None:
    method, path, body, status = ABSENT[alias]
    assert world.ask("GET", f"extensions/{alias}").status_code == 404
    assert world.ask(method, path, body).status_code == status


def test_the_version_document_names_resources_that_are_there(world: World) -> None:
    [version] = world.ask("GET", "/").json()["versions"]
    base = str(world.server.api.base_url).rstrip("/")
    assert version == {
        "id": "v2.0",
        "status": "CURRENT",
        "links": [{"rel": "self", "href": f"{base}/v2.0/"}],
    }
    for path in ("/v2.0", "/v2.0/"):
        resources = world.ask("GET", path).json()["resources"]
        assert {"networks", "subnets", "ports", "subnetpools", "agents"} <= {
            row["collection"] for row in resources
        }
    for row in resources:
        [link] = row["links"]
        assert world.server.api.get(link["href"]).status_code == 200, row
