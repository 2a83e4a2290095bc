"""Each attribute that clients may set: said, shown, changed, refused; each other one: refused.

From the resources' own tables of fields: an attribute without an example here fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from lessor.api.rest.fields import Field
from tests.api.nouns import NOUNS, Noun, made, read
from tests.api.world import NO_ID, Json, World

LONG = "x" * 256
FLAT = {"provider:network_type": "flat"}
PAIR = {"ip_address": "10.0.0.64/28", "mac_address": "fa:16:3e:00:00:02"}


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Said:
    """What may be said of an attribute. A value may be a function of the world that it is made in.

    Args:
        first: at creation.
        later: at a change.
        wrong: what is refused.
        beside: what is said with it at creation.
        without: what is not said with it.
        seen: what of the value shown is compared.
        effect: for what is never shown: whether one made with it is as it should be.
    """

    first: Any = None
    later: Any = None
    wrong: Any = 7
    beside: Json = field(default_factory=dict)
    without: tuple[str, ...] = ()
    seen: Callable[[Any], Any] = _same
    effect: Callable[[Json], bool] | None = None


def _flag(*, first: bool, **more: Any) -> Said:
    return Said(first, not first, wrong="perhaps", **more)


def _only(value: Any, wrong: Any) -> Said:
    """Of what Lessor has not: one value may be repeated."""
    return Said(value, value, wrong)


def _option(value: str) -> list[Json]:
    return [{"opt_name": "ntp-server", "opt_value": value, "ip_version": 4}]


def _addresses(shown: list[Json]) -> list[str]:
    return [fixed["ip_address"] for fixed in shown]


def _host(w: World) -> str:
    return w.host()[0]


def _no_default_pool(w: World) -> bool:
    """See to it that no pool is the default; there can be one only."""
    for pool in w.ask("GET", "subnetpools?is_default=true").json()["subnetpools"]:
        assert w.change("subnetpool", pool["id"], is_default=False).is_success
    return True


def _default_pool(w: World) -> str:
    assert _no_default_pool(w)
    return w.pool(prefixes=["172.16.0.0/12"], is_default=True)


def _flat(w: World) -> str:
    """Make a flat network, with nothing on its wire yet."""
    for subnet in w.ask("GET", "subnets?cidr=10.0.0.0/24").json()["subnets"]:
        network = w.ask("GET", f"networks/{subnet['network_id']}").json()["network"]
        if network["lessor:bridge"] == "br200":
            assert w.ask("DELETE", f"networks/{network['id']}").is_success
    return str(w.make("network", **{"lessor:bridge": "br200"})["id"])


TEXT = Said("one", "another", LONG)
PROJECT = {"project_id": Said("p1", wrong=LONG), "tenant_id": Said("p1", wrong=LONG)}
COMMON = {"name": TEXT, "description": TEXT, **PROJECT, "tags": Said(["a", "b"], wrong=[""])}

EXAMPLES: Mapping[str, Mapping[str, Said]] = {
    "network": {
        **COMMON,
        "admin_state_up": _flag(first=False),
        "shared": _flag(first=True),
        "router:external": _only(False, True),
        "is_default": _only(False, True),
        "qos_policy_id": _only(None, "q"),
        "mtu": Said(1400, 1300, 65536),
        "provider:network_type": Said("vxlan", wrong="vlan"),
        "provider:physical_network": Said("physnet2", wrong="x9", beside=FLAT),
        "provider:segmentation_id": Said(4001, wrong=1 << 24),
        "port_security_enabled": _flag(first=False),
        "dns_domain": Said("one.example", "two.example", "a b"),
        "availability_zone_hints": Said(lambda w: _host(w) and ["nova"], wrong=["mars"]),
        "lessor:multi_host": _flag(first=True, beside=FLAT),
        "lessor:share_address": _flag(first=True, beside=FLAT),
        "lessor:host": Said(_host, _host, "nowhere", beside=FLAT),
        "lessor:bridge": Said("br200", wrong="br9", beside=FLAT),
    },
    "subnet": {
        **COMMON,
        "network_id": Said(lambda w: w.network(), wrong=NO_ID),
        "ip_version": Said(4, wrong=6),
        "cidr": Said("10.5.0.0/24", wrong="10.5/99"),
        "subnetpool_id": Said(lambda w: w.pool(), wrong=NO_ID, without=("cidr",)),
        "use_default_subnetpool": Said(
            lambda w: bool(_default_pool(w)),
            wrong="perhaps",
            without=("cidr",),
            effect=lambda row: row["cidr"].startswith("172.16."),
        ),
        "prefixlen": Said(
            27,
            wrong=33,
            beside={"subnetpool_id": lambda w: w.pool()},
            without=("cidr",),
            effect=lambda row: row["cidr"].endswith("/27"),
        ),
        "gateway_ip": Said("10.0.0.254", None, "x"),
        "allocation_pools": Said(
            [{"start": "10.0.0.50", "end": "10.0.0.60"}],
            [{"start": "10.0.0.70", "end": "10.0.0.80"}],
            [{"start": "10.0.0.80", "end": "10.0.0.70"}],
        ),
        "dns_nameservers": Said(["10.0.0.8"], ["10.0.0.9", "192.0.2.1"], ["x"]),
        "host_routes": Said(
            [{"destination": "192.0.2.0/24", "nexthop": "10.0.0.9"}],
            [{"destination": "198.51.100.0/24", "nexthop": "10.0.0.8"}],
            [{"destination": "192.0.2.0/99", "nexthop": "10.0.0.9"}],
        ),
        "enable_dhcp": _flag(first=False),
        "ipv6_ra_mode": _only(None, "slaac"),
        "ipv6_address_mode": _only(None, "slaac"),
        "service_types": _only([], ["compute:nova"]),
        "segment_id": _only(None, "s"),
        "dns_publish_fixed_ip": _only(False, True),
        "lessor:dhcp_server": Said(
            "10.0.0.250", "10.0.0.251", "10.9.0.1", beside={"network_id": _flat}
        ),
    },
    "port": {
        **COMMON,
        "network_id": Said(lambda w: w.network(), wrong=NO_ID),
        "admin_state_up": _flag(first=False),
        "mac_address": Said("fa:16:3e:00:00:07", "fa:16:3e:00:00:08", "01:00:5e:00:00:01"),
        "fixed_ips": Said(
            [{"ip_address": "10.0.0.33"}],
            [{"ip_address": "10.0.0.34"}],
            [{"ip_address": "10.0.0"}],
            seen=_addresses,
        ),
        "device_id": TEXT,
        "device_owner": Said("compute:nova", "compute:zone2", LONG),
        "binding:host_id": Said(_host, _host, "no/host"),
        "binding:vnic_type": _only("normal", "direct"),
        "binding:profile": Said({"a": [1]}, {"b": {"c": None}}, {"x": "y" * 5000}),
        "port_security_enabled": _flag(first=False),
        "security_groups": _only([], ["web"]),
        "allowed_address_pairs": Said(
            [PAIR], [PAIR | {"ip_address": "10.0.0.99"}], [{"ip_address": "x"}]
        ),
        "extra_dhcp_opts": Said(
            _option("10.0.0.8"),
            _option("10.0.0.9"),
            [{"opt_name": "mtu", "opt_value": "1", "ip_version": 6}],
        ),
        "dns_name": Said("web", "db", "a b"),
        "dns_domain": _only("", "example.org."),
        "qos_policy_id": _only(None, "q"),
        "propagate_uplink_status": _only(False, True),
    },
    "subnetpool": {
        **COMMON,
        "prefixes": Said(["10.0.0.0/8"], ["10.0.0.0/8", "192.168.0.0/16"], ["x"]),
        "default_quota": Said(512, None, -1),
        "min_prefixlen": Said(9, 10, 33, beside={"default_prefixlen": 24}),
        "default_prefixlen": Said(25, 26, 33),
        "max_prefixlen": Said(30, 31, 33),
        "address_scope_id": Said(lambda w: w.scope(), lambda w: w.scope(), NO_ID),
        "shared": _flag(first=True),
        "is_default": Said(_no_default_pool, False, "perhaps"),
    },
    "address_scope": {
        "name": TEXT,
        **PROJECT,
        "ip_version": Said(4, wrong=6),
        "shared": _flag(first=False),
    },
    "rbac_policy": {
        **PROJECT,
        "object_type": Said("network", wrong="router"),
        "object_id": Said(lambda w: w.network(), wrong=NO_ID),
        "action": Said("access_as_shared", wrong="access_as_owner"),
        "target_tenant": Said("p8", "*", ""),
    },
    "instance": {
        "id": Said(lambda w: w.name(), wrong=LONG),
        "name": TEXT,
        **PROJECT,
        "hostname": Said("web", "db", "a b"),
        "availability_zone": Said("z1", "z2", LONG),
        "public_keys": Said({"me": "ssh-ed25519 AA"}, {"you": "ssh-ed25519 BB"}, ["key"]),
        "user_data": Said("aGVsbG8=", None, "#!"),
        "metadata": Said({"role": "web"}, {"role": "db"}, {"role": 7}),
        "launch_index": Said(1, 2, -1),
    },
    "binding": {
        "host": Said(_host, wrong="no/host"),
        "vnic_type": _only("normal", "direct"),
        "profile": Said({"a": [1]}, {"b": {"c": None}}, {"x": "y" * 5000}),
    },
    "host": {"name": Said(lambda w: w.name(), wrong="a/b")},
    "address": {
        "network_id": Said(lambda w: w.subnet()["network_id"], wrong=NO_ID),
        "address": Said("10.0.0.99", wrong="10.9.0.1"),
    },
    "agent": {
        "admin_state_up": Said(later=False, wrong="perhaps"),
        "description": Said(later="in the cellar", wrong=LONG),
    },
    "quota": {
        name: Said(later=7, wrong=-2)
        for name in ("network", "subnet", "port", "subnetpool", "rbac_policy")
    },
}


WRITABLE = [(noun, f) for noun in NOUNS.values() for f in noun.resource.fields if f.on]
READ_ONLY = [
    (noun, f)
    for noun in NOUNS.values()
    for f in noun.resource.fields
    if not f.on and not f.write_only
]


def _ids(pairs: list[tuple[Noun, Field]]) -> list[str]:
    return [f"{noun.name}-{f.name}" for noun, f in pairs]


@pytest.fixture(scope="module")
def world(shared: Any) -> World:
    return World(shared)


Kept = Callable[[Noun], tuple[str, Json]]


@pytest.fixture(scope="module")
def kept(world: World) -> Kept:
    """Return what finds one of a resource, for tests that change nothing."""
    rows: dict[str, tuple[str, Json]] = {}

    def find(noun: Noun) -> tuple[str, Json]:
        if noun.name not in rows:
            path, row = made(world, noun)
            rows[noun.name] = path, {k: v for k, v in row.items() if k != "token"}
        return rows[noun.name]

    return find


def test_each_attribute_has_an_example() -> None:
    written = {noun.name: {f.name for f in noun.resource.fields if f.on} for noun in NOUNS.values()}
    assert {name: set(said) for name, said in EXAMPLES.items()} == written


def _value(w: World, value: Any) -> Any:
    return value(w) if callable(value) else value


def _made_with(w: World, noun: Noun, name: str, value: Any) -> tuple[str, Json]:
    """Make one of which this is said."""
    said = EXAMPLES[noun.name][name]
    if noun.existing is not None:
        return made(w, noun)
    beside = {key: _value(w, given) for key, given in said.beside.items()}
    fields = noun.around(w) | beside | {name: value}
    many = noun.path(w)
    body = {key: given for key, given in fields.items() if key not in said.without}
    answer = w.ask("POST", many, {noun.name: body})
    assert answer.status_code == 201, answer.text
    row: Json = answer.json()[noun.name]
    return f"{many}/{noun.key(row)}".replace("/?", "?"), row


def _check(said: Said, row: Json, name: str, value: Any) -> None:
    if said.effect is not None:
        assert said.effect(row)
    else:
        assert said.seen(row[name]) == said.seen(value)


@pytest.mark.parametrize(("noun", "attribute"), WRITABLE, ids=_ids(WRITABLE))
def test_what_is_said_is_shown(world: World, noun: Noun, attribute: Field) -> None:
    name, said = attribute.name, EXAMPLES[noun.name][attribute.name]
    if "c" in attribute.on:
        first = _value(world, said.first)
        path, row = _made_with(world, noun, name, first)
        _check(said, row, name, first)
        assert read(world, noun, path) == {k: v for k, v in row.items() if k != "token"}
    else:
        path, row = made(world, noun)
        assert row[name] != said.later
    if "u" not in attribute.on:
        return
    later = _value(world, said.later)
    changed = world.ask("PUT", path, {noun.name: {name: later}})
    assert changed.status_code == 200, changed.text
    _check(said, changed.json()[noun.name], name, later)
    assert read(world, noun, path) == changed.json()[noun.name]


@pytest.mark.parametrize(("noun", "attribute"), WRITABLE, ids=_ids(WRITABLE))
def test_what_can_not_be_meant_is_refused_by_name_and_changes_nothing(
    world: World, kept: Kept, noun: Noun, attribute: Field
) -> None:
    name, said = attribute.name, EXAMPLES[noun.name][attribute.name]
    first = _value(world, said.first)
    path, row = _made_with(world, noun, name, first) if said.beside else kept(noun)
    if "u" in attribute.on:
        refused = world.ask("PUT", path, {noun.name: {name: said.wrong}})
    else:
        beside = {key: _value(world, given) for key, given in said.beside.items()}
        fields = noun.around(world) | beside | {name: said.wrong}
        body = {key: given for key, given in fields.items() if key not in said.without}
        many = path.partition("?")[0].removesuffix(f"/{noun.key(row)}")
        count = len(world.ask("GET", many).json()[noun.resource.plural])
        refused = world.ask("POST", many, {noun.name: body})
        assert len(world.ask("GET", many).json()[noun.resource.plural]) == count
    assert refused.status_code in {400, 404}, refused.text
    message = refused.json()["NeutronError"]["message"]
    assert name in message or str(said.wrong) in message or repr(said.wrong)[1:-1] in message
    assert read(world, noun, path) == row


@pytest.mark.parametrize(
    ("noun", "attribute"),
    [pair for pair in WRITABLE if "u" not in pair[1].on and pair[0].changes],
    ids=_ids([pair for pair in WRITABLE if "u" not in pair[1].on and pair[0].changes]),
)
def test_what_is_set_at_creation_stays(
    world: World, kept: Kept, noun: Noun, attribute: Field
) -> None:
    path, row = kept(noun)
    value = _value(world, EXAMPLES[noun.name][attribute.name].first)
    refused = world.ask("PUT", path, {noun.name: {attribute.name: value}})
    assert refused.status_code == 400
    message = refused.json()["NeutronError"]["message"]
    assert f"attribute '{attribute.name}' can't be changed" in message
    assert read(world, noun, path) == row


@pytest.mark.parametrize(("noun", "attribute"), READ_ONLY, ids=_ids(READ_ONLY))
def test_what_is_only_read_can_not_be_set(
    world: World, kept: Kept, noun: Noun, attribute: Field
) -> None:
    path, row = kept(noun)
    method = "POST" if noun.existing is None else "PUT"
    if noun.existing is None:
        path = path.partition("?")[0].removesuffix(f"/{noun.key(row)}")
    refused = world.ask(method, path, {noun.name: {attribute.name: None}})
    assert refused.status_code == 400
    assert f"'{attribute.name}'" in refused.json()["NeutronError"]["message"]


@pytest.mark.parametrize(
    ("noun", "attribute"), WRITABLE + READ_ONLY, ids=_ids(WRITABLE + READ_ONLY)
)
def test_it_can_be_asked_for_alone(world: World, kept: Kept, noun: Noun, attribute: Field) -> None:
    if attribute.write_only or noun.name in {"quota", "binding"}:
        return  # it is never shown; these know no `fields`
    path, row = kept(noun)
    alone = read(world, noun, path, fields=attribute.name)
    assert alone == {attribute.name: row[attribute.name]}
