"""Every type of error that the server answers with, asked for through HTTP.

The types are read from the source, so a new one without an example here fails.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from lessor.api.rest import bodies, problems
from lessor.store.ports import rows as portrows
from tests.api.people import password, password_files
from tests.api.world import NO_ID, World

Ask = Callable[[World], httpx.Response]
SOURCE = Path(bodies.__file__).parents[2]
# Types that no client meets: agents' own, what is always said more finely, and what the types of
# requests refuse before the store does.
INSIDE = {
    "LessorError",
    "CommandError",
    "Pending",
    "InUse",
    "UnsupportedMinSubnetPoolPrefix",
}
RANGE = {"start": "10.0.0.10", "end": "10.0.0.20"}


def _types_in(path: Path) -> Iterator[str]:
    """Return the texts given as `type_=` in a module, and those that its error classes have."""
    tree = ast.parse(path.read_text())
    named = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "type_":
            value = node.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.value
            elif isinstance(value, ast.Name) and value.id in named:
                yield str(named[value.id])
        elif isinstance(node, ast.ClassDef) and path.name == "errors.py":
            for line in node.body:
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "type":
                    yield str(ast.literal_eval(line.value))


def raised() -> set[str]:
    """Return the types of all errors that the server raises."""
    modules = [
        SOURCE / "errors.py",
        *(SOURCE / "api").rglob("*.py"),
        *(SOURCE / "store").rglob("*.py"),
    ]
    found = {name for path in modules for name in _types_in(path)}
    return (found | set(problems.NAMES.values())) - INSIDE


# --- examples -------------------------------------------------------------------------------------


def _pooled(w: World, network: str, **fields: Any) -> httpx.Response:
    return w.post("subnet", network_id=network, **fields)


def _address_scope_in_use(w: World) -> httpx.Response:
    scope = w.scope()
    w.pool(address_scope_id=scope)
    return w.ask("DELETE", f"address-scopes/{scope}")


def _prefix_conflict(w: World) -> httpx.Response:
    scope = w.scope()
    w.pool(address_scope_id=scope)
    return w.post("subnetpool", name="p", prefixes=["10.1.0.0/16"], address_scope_id=scope)


def _agent_conflict(w: World) -> httpx.Response:
    _, header = w.host()
    return _report(w, header, run_id="another")


def _report(w: World, header: dict[str, str], **said: Any) -> httpx.Response:
    answer: httpx.Response = w.server.agents.post("/agent/v1/report", json=said, headers=header)
    return answer


def _duplicate_end(w: World) -> httpx.Response:
    w.host(local_ip="198.51.100.1")
    name = w.name()
    return _report(w, w.server.token(name), run_id=name, local_ip="198.51.100.1")


def _cidr_conflict(w: World) -> httpx.Response:
    for _ in range(2):
        network = w.make("network", **{"lessor:bridge": "br100"})["id"]
        answer = w.post("subnet", network_id=network, cidr="10.77.0.0/24")
    return answer


def _duplicate_policy(w: World) -> httpx.Response:
    network = w.network()
    w.share("network", network, "p1")
    return w.share("network", network, "p1")


def _gateway_in_use(w: World) -> httpx.Response:
    port = w.port(fixed_ips=[{"ip_address": "10.0.0.7"}])
    subnet = port["fixed_ips"][0]["subnet_id"]
    return w.change("subnet", subnet, gateway_ip="10.0.0.7", allocation_pools=[RANGE])


def _host_in_use(w: World) -> httpx.Response:
    host, _ = w.host()
    w.port(**{"binding:host_id": host})
    return w.ask("DELETE", f"hosts/{host}")


def _wrong_scope(w: World) -> httpx.Response:
    scope = w.scope()
    return w.post(
        "subnetpool", name="p", prefixes=["10.0.0.0/8"], shared=True, address_scope_id=scope
    )


def _pool_update(w: World) -> httpx.Response:
    return w.change("subnetpool", w.pool(), prefixes=["192.0.2.0/24"])


def _shared_setting(w: World) -> httpx.Response:
    network = w.network(project_id="p1", shared=True)
    w.port(network, project_id="p2")
    return w.change("network", network, shared=False)


def _scope_affinity(w: World) -> httpx.Response:
    network = w.network()
    w.make("subnet", network_id=network, subnetpool_id=w.pool(address_scope_id=w.scope()))
    return _pooled(w, network, subnetpool_id=w.pool(prefixes=["192.168.0.0/16"]))


def _pool_affinity(w: World) -> httpx.Response:
    network = w.network()
    w.make("subnet", network_id=network, subnetpool_id=w.pool())
    return _pooled(w, network, cidr="192.0.2.0/24")


def _dhcp(w: World, host: str, network: str) -> httpx.Response:
    path = f"agents/{w.agent(host)}/dhcp-networks"
    return w.ask("POST", path, {"network_id": network})


def _no_dhcp_host(w: World) -> httpx.Response:
    host, _ = w.host()
    return _dhcp(w, host, w.subnet()["network_id"])


def _hosted(w: World) -> httpx.Response:
    host, _ = w.dhcp_host()
    network = w.subnet()["network_id"]
    _dhcp(w, host, network)
    return _dhcp(w, host, network)


def _not_hosted(w: World) -> httpx.Response:
    host, _ = w.host()
    return w.ask("DELETE", f"agents/{w.agent(host)}/dhcp-networks/{w.network()}")


def _server_port(w: World) -> httpx.Response:
    host, _ = w.dhcp_host()
    network = w.subnet()["network_id"]
    _dhcp(w, host, network)
    [port] = w.ask("GET", f"ports?network_id={network}&binding:host_id={host}").json()["ports"]
    return w.ask("DELETE", f"ports/{port['id']}")


def _over_quota(w: World) -> httpx.Response:
    project = w.name()
    w.ask("PUT", f"quotas/{project}", {"quota": {"network": 0}})
    return w.post("network", project_id=project)


def _bound(w: World) -> tuple[str, str]:
    host, _ = w.host()
    return str(w.port(**{"binding:host_id": host})["id"]), host


def _binding(w: World, method: str, rest: str = "") -> httpx.Response:
    port, host = _bound(w)
    return w.ask(method, f"ports/{port}/bindings/{host}{rest}")


def _binding_there(w: World) -> httpx.Response:
    port, host = _bound(w)
    return w.ask("POST", f"ports/{port}/bindings", {"binding": {"host": host}})


def _active(w: World) -> httpx.Response:
    host, header = w.host()
    network = w.make("network", **{"lessor:bridge": "br100", "lessor:host": host})["id"]
    w.make("subnet", network_id=network, cidr="10.78.0.0/24")
    port = w.port(network, **{"binding:host_id": host})
    said = {"wired": True, "served": True, "revision": port["revision_number"]}
    assert _report(w, header, run_id=host, ports={port["id"]: said}).status_code == 200
    return w.change("port", port["id"], mac_address="fa:16:3e:aa:00:01")


def _policy_in_use(w: World) -> httpx.Response:
    network = w.network(project_id="p1")
    policy = w.share("network", network, "p2").json()["rbac_policy"]["id"]
    w.port(network, project_id="p2")
    return w.ask("DELETE", f"rbac-policies/{policy}")


def _full_pool(w: World) -> httpx.Response:
    pool = w.pool(prefixes=["192.0.2.0/24"])
    w.make("subnet", network_id=w.network(), subnetpool_id=pool)
    return _pooled(w, w.network(), subnetpool_id=pool)


def _subnet_in_use(w: World) -> httpx.Response:
    return w.ask("DELETE", f"subnets/{w.port()['fixed_ips'][0]['subnet_id']}")


def _network_in_use(w: World) -> httpx.Response:
    return w.ask("DELETE", f"networks/{w.port()['network_id']}")


def _pool_in_use(w: World) -> httpx.Response:
    pool = w.pool()
    w.make("subnet", network_id=w.network(), subnetpool_id=pool)
    return w.ask("DELETE", f"subnetpools/{pool}")


def _taken(w: World, **what: Any) -> httpx.Response:
    port = w.port(fixed_ips=[{"ip_address": "10.0.0.9"}], mac_address="fa:16:3e:bb:00:01")
    return w.post("port", network_id=port["network_id"], **what)


def _vni(w: World) -> httpx.Response:
    number = {"provider:segmentation_id": 4711, "provider:network_type": "vxlan"}
    w.post("network", **number)
    return w.post("network", **number)


def _full_network(w: World) -> httpx.Response:
    network = w.subnet(cidr="10.0.0.0/30", enable_dhcp=False)["network_id"]
    w.port(network)
    return w.post("port", network_id=network)


def _outdated(w: World) -> httpx.Response:
    path = f"networks/{w.network()}"
    return w.ask("DELETE", path, headers={"If-Match": "revision_number=0"})


def _subnet_with(w: World, **fields: Any) -> httpx.Response:
    return w.post("subnet", **{"network_id": w.network(), "cidr": "10.0.0.0/24"} | fields)


def _other_subnet(w: World) -> httpx.Response:
    subnet = w.subnet()
    wish = {"subnet_id": subnet["id"], "ip_address": "10.9.0.1"}
    return w.post("port", network_id=subnet["network_id"], fixed_ips=[wish])


def _pool_without_scope(w: World) -> httpx.Response:
    return w.share("subnetpool", w.pool(address_scope_id=w.scope()), "p1")


EXAMPLES: dict[str, tuple[int, Ask]] = {
    "AddressPairAndPortSecurityRequired": (
        409,
        lambda w: w.post(
            "port",
            network_id=w.network(),
            allowed_address_pairs=[{"ip_address": "10.9.0.1"}],
            port_security_enabled=False,
        ),
    ),
    "AddressScopeInUse": (409, _address_scope_in_use),
    "AddressScopeNotFound": (404, lambda w: w.ask("GET", f"address-scopes/{NO_ID}")),
    "AddressScopePrefixConflict": (409, _prefix_conflict),
    "AddressScopeUpdateError": (
        400,
        lambda w: w.change("address_scope", w.scope(shared=True), shared=False),
    ),
    "AgentConflict": (409, _agent_conflict),
    "AgentNotFound": (404, lambda w: w.ask("GET", f"agents/{NO_ID}")),
    "AllowedAddressPairExhausted": (
        400,
        lambda w: w.post(
            "port",
            network_id=w.network(),
            allowed_address_pairs=[{"ip_address": f"10.9.0.{n}"} for n in range(11)],
        ),
    ),
    "AutoAllocationFailure": (
        409,
        lambda w: w.ask("GET", "auto-allocated-topology/p1?fields=dry-run"),
    ),
    "AvailabilityZoneNotFound": (
        404,
        lambda w: w.post("network", availability_zone_hints=["mars"]),
    ),
    "BadRequest": (400, lambda w: w.post("subnet", network_id=w.network())),
    "CidrConflict": (409, _cidr_conflict),
    "Conflict": (409, lambda w: w.post("host", name=w.host()[0])),
    "DNSNameServersExhausted": (
        400,
        lambda w: _subnet_with(w, dns_nameservers=[f"10.0.0.{n}" for n in range(1, 7)]),
    ),
    "DuplicateLocalIp": (409, _duplicate_end),
    "DuplicateRbacPolicy": (409, _duplicate_policy),
    "EmptySubnetPoolPrefixList": (400, lambda w: w.post("subnetpool", name="p", prefixes=[])),
    "ExtensionNotFound": (404, lambda w: w.ask("GET", "extensions/router")),
    "GatewayConflictWithAllocationPools": (
        409,
        lambda w: _subnet_with(w, gateway_ip="10.0.0.15", allocation_pools=[RANGE]),
    ),
    "GatewayIpInUse": (409, _gateway_in_use),
    "HTTPBadRequest": (400, lambda w: w.post("network", colour="red")),
    "HTTPMethodNotAllowed": (405, lambda w: w.ask("PATCH", "networks")),
    "HTTPNotFound": (404, lambda w: w.ask("GET", "routers")),
    "HTTPRequestEntityTooLarge": (413, lambda w: w.post("network", name="x" * (1 << 20))),
    "HostInUse": (409, _host_in_use),
    "HostNotFound": (404, lambda w: w.ask("GET", "hosts/nowhere")),
    "HostRoutesExhausted": (
        400,
        lambda w: _subnet_with(
            w,
            host_routes=[
                {"destination": f"192.0.{n}.0/24", "nexthop": "10.0.0.2"} for n in range(21)
            ],
        ),
    ),
    "IllegalSubnetPoolAssociationToAddressScope": (400, _wrong_scope),
    "IllegalSubnetPoolPrefixBounds": (
        400,
        lambda w: w.post(
            "subnetpool", name="p", prefixes=["10.0.0.0/8"], min_prefixlen=24, max_prefixlen=20
        ),
    ),
    "IllegalSubnetPoolPrefixUpdate": (400, _pool_update),
    "InstanceNotFound": (404, lambda w: w.ask("GET", "instances/nobody")),
    "InvalidActionForType": (
        400,
        lambda w: w.post(
            "rbac_policy",
            object_type="network",
            object_id=w.network(),
            action="access_as_owner",
            target_tenant="p1",
        ),
    ),
    "InvalidAllocationPool": (
        400,
        lambda w: _subnet_with(
            w, allocation_pools=[{"start": RANGE["end"], "end": RANGE["start"]}]
        ),
    ),
    "InvalidDHCPAgent": (404, _no_dhcp_host),
    "InvalidInput": (400, lambda w: _subnet_with(w, ip_version=6)),
    "InvalidIpForNetwork": (
        400,
        lambda w: w.post(
            "port",
            network_id=w.subnet()["network_id"],
            fixed_ips=[{"ip_address": "10.9.0.1"}],
        ),
    ),
    "InvalidIpForSubnet": (400, _other_subnet),
    "InvalidSharedSetting": (409, _shared_setting),
    "IpAddressGenerationFailure": (409, _full_network),
    "IpAddressInUse": (409, lambda w: _taken(w, fixed_ips=[{"ip_address": "10.0.0.9"}])),
    "LeaseNotFound": (404, lambda w: w.ask("GET", f"leases/{NO_ID}")),
    "MacAddressInUse": (409, lambda w: _taken(w, mac_address="fa:16:3e:bb:00:01")),
    "MaxPrefixSubnetAllocationError": (
        400,
        lambda w: _pooled(w, w.network(), subnetpool_id=w.pool(max_prefixlen=26), prefixlen=27),
    ),
    "MinPrefixSubnetAllocationError": (
        400,
        lambda w: _pooled(w, w.network(), subnetpool_id=w.pool(min_prefixlen=20), prefixlen=16),
    ),
    "NetworkAddressScopeAffinityError": (400, _scope_affinity),
    "NetworkHostedByDHCPAgent": (409, _hosted),
    "NetworkInUse": (409, _network_in_use),
    "NetworkMTUSubnetConflict": (
        409,
        lambda w: w.post("subnet", network_id=w.network(mtu=67), cidr="10.0.0.0/24"),
    ),
    "NetworkNotFound": (404, lambda w: w.ask("GET", f"networks/{NO_ID}")),
    "NetworkNotHostedByDhcpAgent": (409, _not_hosted),
    "NetworkSubnetPoolAffinityError": (400, _pool_affinity),
    "NotFound": (404, lambda w: w.ask("DELETE", f"addresses/{w.network()}/nonsense")),
    "OutOfBoundsAllocationPool": (
        400,
        lambda w: _subnet_with(w, allocation_pools=[{"start": "10.0.1.1", "end": "10.0.1.9"}]),
    ),
    "OverQuota": (409, _over_quota),
    "OverlappingAllocationPools": (409, lambda w: _subnet_with(w, allocation_pools=[RANGE] * 2)),
    "PortBindingAlreadyActive": (409, lambda w: _binding(w, "PUT", "/activate")),
    "PortBindingAlreadyExists": (409, _binding_there),
    "PortBindingError": (409, lambda w: _binding(w, "DELETE")),
    "PortBindingNotFound": (404, lambda w: w.ask("GET", f"ports/{w.port()['id']}/bindings/h9")),
    "PortBound": (409, _active),
    "PortInUse": (409, _server_port),
    "PortNotFound": (404, lambda w: w.ask("GET", f"ports/{NO_ID}")),
    "PrefixVersionMismatch": (
        400,
        lambda w: w.post("subnetpool", name="p", prefixes=["10.0.0.0/8", "2001:db8::/32"]),
    ),
    "ProjectNotFound": (404, lambda w: w.ask("GET", f"/v3/projects/{'x' * 256}")),
    "RbacPolicyInUse": (409, _policy_in_use),
    "RbacPolicyInitError": (400, _pool_without_scope),
    "RbacPolicyNotFound": (404, lambda w: w.ask("GET", f"rbac-policies/{NO_ID}")),
    "RevisionNumberConstraintFailed": (412, _outdated),
    "SubnetAllocationError": (409, _full_pool),
    "SubnetInUse": (409, _subnet_in_use),
    "SubnetNotFound": (404, lambda w: w.ask("GET", f"subnets/{NO_ID}")),
    "SubnetPoolDeleteError": (400, _pool_in_use),
    "SubnetPoolNotFound": (404, lambda w: w.ask("GET", f"subnetpools/{NO_ID}")),
    "SubnetPoolQuotaExceeded": (
        409,
        lambda w: _pooled(w, w.network(), subnetpool_id=w.pool(default_quota=10)),
    ),
    "TagNotFound": (404, lambda w: w.ask("GET", f"networks/{w.network()}/tags/none")),
    "TagResourceNotFound": (404, lambda w: w.ask("GET", f"networks/{NO_ID}/tags")),
    "TunnelIdInUse": (409, _vni),
}
# Those that need a server of their own: the tests below.
ALONE = {
    "HTTPInternalServerError",
    "IllegalSubnetPoolUpdate",  # test_api_as_neutron.py
    "MacAddressGenerationFailure",
    "NoNetworkAvailable",
    "PolicyNotAuthorized",
    "ServiceUnavailable",
    "Unauthorized",
}


def test_each_type_has_an_example() -> None:
    assert raised() == set(EXAMPLES) | ALONE


@pytest.fixture(scope="module")
def world(shared: Any) -> World:
    return World(shared)


def said(answer: httpx.Response) -> tuple[int, str]:
    problem = answer.json()["NeutronError"]
    assert set(problem) == {"type", "message", "detail"}
    assert problem["message"]
    return answer.status_code, problem["type"]


@pytest.mark.parametrize("type_", EXAMPLES)
def test_it_is_answered_with_its_status(world: World, type_: str) -> None:
    status, ask = EXAMPLES[type_]
    assert said(ask(world)) == (status, type_)


def test_no_number_left_for_a_network_is_503(serve: Callable[..., Any]) -> None:
    world = World(serve(vni_ranges=((7, 7),)))
    world.network()
    answer = world.post("network", **{"provider:network_type": "vxlan"})
    assert said(answer) == (503, "NoNetworkAvailable")


def test_no_mac_found_for_a_port_is_503(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(server)
    monkeypatch.setattr(portrows, "new_mac", lambda *_: "fa:16:3e:00:00:01")
    network = world.port()["network_id"]
    answer = world.post("port", network_id=network)
    assert said(answer) == (503, "MacAddressGenerationFailure")


def test_what_should_not_have_happened_is_500(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "shown", None)
    assert said(server.api.get("/v2.0/networks")) == (500, "HTTPInternalServerError")


def test_who_calls_is_asked_first(serve: Callable[..., Any], tmp_path: Path) -> None:
    files = password_files(tmp_path)
    server = serve(**files)
    assert said(server.api.get("/v2.0/networks")) == (401, "Unauthorized")
    alice = ("alice", password("alice"))
    body = {"network": {"shared": True}}
    refused = server.api.post("/v2.0/networks", json=body, auth=alice)
    assert said(refused) == (403, "PolicyNotAuthorized")
    files["http_basic_auth_user_file"].write_text("no password file")
    assert said(server.api.get("/v2.0/networks", auth=alice)) == (503, "ServiceUnavailable")
