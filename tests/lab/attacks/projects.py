"""What a member of a project asks of the API to reach beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import httpx

from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.world import Call, World, address

FLAT = "a member makes no flat network"
BLOCKS = "no subnet has special or reserved addresses"
PAIRS = "an allowed pair is no licence to be somebody else"
OWN = "a project sees and changes its own"
NAMES = "a refusal names no row that the caller may not see"
WITHOUT = "an instance without a project serves ports without one alone"


def attacks() -> Iterator[Attack[World]]:
    yield Attack("a member's network without a type, or a flat one", "1", FLAT, _flat)
    yield Attack("subnets of special and reserved blocks", "1", BLOCKS, _blocks)
    yield Attack("new ports with others' addresses in pairs", "2", PAIRS, _pairs)
    yield Attack("the same, of a port that is there", "2", PAIRS, _changed_pairs)
    yield Attack("ports of a network's own kind", "18", PAIRS, _device_owner)
    yield Attack("another project's rows, by id, filter and marker", "", OWN, _others)
    yield Attack("attributes that are not a member's to set", "", OWN, _attributes)
    yield Attack("a reader who writes", "", OWN, _reader)
    yield Attack("conflicts with another project's rows", "18", NAMES, _conflicts)
    yield Attack("an instance of no project, by its id", "13", WITHOUT, _without_project)


def _flat(world: World) -> Tally:
    calls: list[Call] = [
        ("POST", "/v2.0/networks", {"network": {"name": "b"} | more})
        for more in (
            {},
            {"provider:network_type": "flat"},
            {"provider:network_type": "flat", "provider:physical_network": "physnet1"},
            {"lessor:bridge": "br100"},
        )
    ]
    calls.append(("GET", "/v2.0/auto-allocated-topology/p2", None))
    control: Call = ("POST", "/v2.0/networks", {"network": {"provider:network_type": "flat"}})
    return world.tried("bob", calls, [("root", control)], passed=_is_flat(world))


def _is_flat(world: World) -> Callable[[httpx.Response], bool]:
    """Return a judge: the rows that a member got are looked at by an administrator."""

    def judged(answer: httpx.Response) -> bool:
        if not answer.is_success:
            return False
        [row] = answer.json().values()
        shown = world.ask("root", "GET", f"/v2.0/networks/{row['id']}").json()
        return bool(shown["network"]["provider:network_type"] == "flat")

    return judged


def _subnet(world: World, cidr: str, **more: object) -> Call:
    network = world.id("bobs network")
    return "POST", "/v2.0/subnets", {
        "subnet": {"network_id": network, "cidr": cidr, "ip_version": 4} | more
    }  # fmt: skip


def _blocks(world: World) -> Tally:
    cidrs = (
        "0.0.0.0/1", "128.0.0.0/1", "0.0.0.0/24", "127.0.0.0/24", "169.254.169.0/24",
        "224.0.0.0/24", "239.255.0.0/16", "240.0.0.0/24", "255.255.255.0/24", "198.18.0.0/24",
        "198.19.255.0/24", "198.0.0.0/8", "10.0.0.0/7",
    )  # fmt: skip
    control = ("bob", _subnet(world, "10.83.0.0/24"))
    return world.tried("bob", [_subnet(world, cidr) for cidr in cidrs], [control])


def _bad_pairs(world: World) -> Sequence[dict[str, object]]:
    alices = world.things["alices port"]
    pairs: list[dict[str, str]] = [
        {"ip_address": address(alices)},
        {"ip_address": address(alices), "mac_address": alices["mac_address"]},
        {"ip_address": world.things["alices subnet"]["cidr"]},
        {"ip_address": world.things["alices subnet"]["gateway_ip"]},
        {"ip_address": world.things["bobs subnet"]["gateway_ip"]},
        {"ip_address": "0.0.0.0/0"},
        {"ip_address": "10.0.0.0/8"},
        {"ip_address": "192.0.2.2"},
    ]
    found: list[dict[str, object]] = [{"allowed_address_pairs": [pair]} for pair in pairs]
    return [*found, {"port_security_enabled": False}]


def _good_pair() -> dict[str, object]:
    return {"allowed_address_pairs": [{"ip_address": "10.82.0.200"}]}


def _pairs(world: World) -> Tally:
    def call(network: str, more: dict[str, object]) -> Call:
        return "POST", "/v2.0/ports", {"port": {"network_id": world.id(network)} | more}

    calls = [call("bobs network", more) for more in _bad_pairs(world)]
    return world.tried("bob", calls, [("bob", call("bobs network", _good_pair()))])


def _changed_pairs(world: World) -> Tally:
    path = f"/v2.0/ports/{world.id('bobs port')}"
    network = f"/v2.0/networks/{world.id('bobs network')}"
    calls: list[Call] = [("PUT", path, {"port": more}) for more in _bad_pairs(world)]
    calls.append(("PUT", network, {"network": {"port_security_enabled": False}}))
    return world.tried("bob", calls, [("bob", ("PUT", path, {"port": _good_pair()}))])


def _device_owner(world: World) -> Tally:
    owners = ("network:dhcp", "network:router_interface", "network:floatingip")
    path, network = f"/v2.0/ports/{world.id('bobs port')}", world.id("bobs network")
    calls: list[Call] = [("PUT", path, {"port": {"device_owner": owner}}) for owner in owners]
    calls += [
        ("POST", "/v2.0/ports", {"port": {"network_id": network, "device_owner": owner}})
        for owner in owners
    ]
    control: Call = ("PUT", path, {"port": {"device_owner": "compute:nova"}})
    return world.tried("bob", calls, [("bob", control)])


def _others(world: World) -> Tally:
    network, port, subnet, instance = (
        world.id(f"alices {noun}") for noun in ("network", "port", "subnet", "instance")
    )
    one = {"networks": network, "ports": port, "subnets": subnet, "instances": instance}
    calls: list[Call] = []
    for plural, key in one.items():
        noun, path = plural[:-1], f"/v2.0/{plural}/{key}"
        calls += [("GET", path, None), ("PUT", path, {noun: {"name": "x"}}), ("DELETE", path, None)]
        calls.append(("GET", f"/v2.0/{plural}?id={key}", None))
    fixed = address(world.things["alices port"])
    calls += [
        ("GET", f"/v2.0/ports?network_id={network}", None),
        ("GET", f"/v2.0/ports?fixed_ips=ip_address%3D{fixed}", None),
        ("GET", f"/v2.0/ports?marker={port}&limit=1", None),
        ("GET", "/v2.0/leases", None),
        ("GET", f"/v2.0/addresses?network_id={network}", None),
        ("GET", f"/v2.0/networks/{network}/tags", None),
        ("PUT", f"/v2.0/networks/{network}/tags/x", None),
        ("DELETE", f"/v2.0/ports/{port}/tags", None),
        ("GET", f"/v2.0/ports/{port}/bindings", None),
        ("POST", f"/v2.0/ports/{port}/bindings", {"binding": {"host": "h1"}}),
        ("POST", "/v2.0/subnets", {"subnet": {"network_id": network, "cidr": "10.99.0.0/24"}}),
        ("POST", "/v2.0/ports", {"port": {"network_id": network}}),
        ("POST", "/v2.0/rbac-policies", {"rbac_policy": _shared(network, "p2")}),
        ("GET", "/v2.0/quotas/p1", None),
        ("GET", "/v2.0/auto-allocated-topology/p1", None),
        ("POST", f"/v2.0/networks/{network}/tour", None),
        ("GET", f"/v2.0/networks/{network}/tour", None),
        ("GET", "/v3/projects/p1", None),
    ]
    ids = set(one.values())

    def seen(answer: httpx.Response) -> bool:
        asked = answer.request.method == "GET"
        return answer.is_success and (not asked or any(key in answer.text for key in ids))

    controls = [("alice", ("GET", f"/v2.0/{plural}/{key}", None)) for plural, key in one.items()]
    return world.tried("bob", calls, controls, passed=seen)


def _shared(network: str, target: str) -> dict[str, str]:
    return {
        "object_type": "network", "object_id": network, "action": "access_as_shared",
        "target_tenant": target,
    }  # fmt: skip


def _attributes(world: World) -> Tally:
    network = world.id("bobs network")
    ports: list[dict[str, object]] = [
        {"project_id": "p1"},
        {"binding:host_id": "h1"},
        {"binding:profile": {"tap": "managed"}},
    ]
    networks: list[dict[str, object]] = [
        {"project_id": "p1"},
        {"shared": True},
        {"lessor:host": "h1"},
        {"lessor:multi_host": True},
        {"provider:segmentation_id": 5},
    ]
    calls: list[Call] = [
        ("POST", "/v2.0/ports", {"port": {"network_id": network} | more}) for more in ports
    ]
    calls += [("POST", "/v2.0/networks", {"network": more}) for more in networks]
    calls += [
        ("POST", "/v2.0/instances", {"instance": {"id": "3" * 8, "name": "x"}}),
        ("POST", "/v2.0/rbac-policies", {"rbac_policy": _shared(network, "*")}),
        ("PUT", "/v2.0/quotas/p2", {"quota": {"port": -1}}),
        ("POST", "/v2.0/hosts", {"host": {"name": "evil"}}),
        ("GET", "/metrics", None),
    ]
    control: Call = ("POST", "/v2.0/ports", {"port": {"network_id": network, "name": "x"}})
    return world.tried("bob", calls, [("bob", control)])


def _reader(world: World) -> Tally:
    network, port = world.id("alices network"), world.id("alices port")
    calls: list[Call] = [
        ("POST", "/v2.0/networks", {"network": {"name": "r"}}),
        ("PUT", f"/v2.0/networks/{network}", {"network": {"name": "r"}}),
        ("DELETE", f"/v2.0/ports/{port}", None),
        ("PUT", f"/v2.0/networks/{network}/tags/x", None),
        ("POST", "/v2.0/ports", {"port": {"network_id": network}}),
    ]
    return world.tried("rita", calls, [("rita", ("GET", f"/v2.0/networks/{network}", None))])


def _conflicts(world: World) -> Tally:
    """A block and a MAC that are in use on the same wire: refused, without whose they are."""
    alices = [world.things[f"alices {noun}"] for noun in ("network", "subnet", "port", "instance")]
    secrets = {str(thing["id"]) for thing in alices} | {world.things["alices subnet"]["cidr"]}
    port = {"network_id": world.id("bobs network"), "mac_address": alices[2]["mac_address"]}
    calls: list[Call] = [
        _subnet(world, "10.81.0.128/25"),
        _subnet(world, "10.80.0.0/15"),
        ("POST", "/v2.0/ports", {"port": port}),
    ]
    answers = [world.ask("bob", *call) for call in calls]
    told = [one.text for one in answers if one.is_success or any(s in one.text for s in secrets)]
    shown = [world.ask("root", *call) for call in calls]  # an administrator is told
    named = any(secret in one.text for one in shown for secret in secrets)
    return Tally(len(calls), len(told), 1, int(named), detail="; ".join(told)[:300])


def _without_project(world: World) -> Tally:
    """An administrator's instance without a project; Bob's port says that it is that one."""
    key, secret = "22222222-2222-2222-2222-222222222222", "QURNSU5TIFNFQ1JFVA=="
    body = {"id": key, "project_id": "", "user_data": secret}
    world.ask("root", "POST", "/v2.0/instances", {"instance": body})
    network = world.make(
        "root", "network", name="h2s", project_id="p2",
        **{"provider:network_type": "flat", "lessor:host": "h2"},
    )  # fmt: skip
    world.make("bob", "subnet", network_id=network["id"], cidr="10.84.0.0/24", ip_version=4)
    told, own = [], 0
    for device in (key, world.id("alices instance"), world.id("bobs instance")):
        port = world.make("bob", "port", network_id=network["id"], device_id=device)
        path = f"metadata?address={address(port)}&network={network['id']}"
        answer = world.agent("h2", path).text
        if device == world.id("bobs instance"):
            own = device in answer and "VE9QLVNFQ1JFVA==" in answer
        elif "QURNSU" in answer or "VE9QLVNFQ1JFVA==" in answer:
            told.append(device)
    return Tally(2, len(told), 1, int(own), detail=", ".join(told))
