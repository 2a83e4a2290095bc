from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network
from itertools import combinations
from typing import Any, cast

import pytest

from lessor.errors import Conflict, InUse, Invalid, LessorError, NotFound
from lessor.model import AddressScope, Network, Subnet, SubnetPool
from lessor.net.address import Block
from lessor.store.pools import rules as subnetpools
from lessor.store.pools import scopes as addressscopes
from tests.store.store_cloud import Cloud, by, shared_with


def nets(*blocks: str) -> tuple[IPv4Network, ...]:
    return tuple(IPv4Network(block) for block in blocks)


def pool_of(cloud: Cloud, *blocks: str, **values: Any) -> SubnetPool:
    values |= {"prefixes": nets(*blocks)}
    return cloud.store.subnetpools.create([cast(Any, values)])[0]


def scope_of(cloud: Cloud, **values: Any) -> AddressScope:
    return cloud.store.address_scopes.create([cast(Any, values)])[0]


def cut(cloud: Cloud, network: Network, pool: SubnetPool | None = None, **values: Any) -> Subnet:
    values |= {"network_id": network.id}
    if pool is not None:
        values["subnetpool_id"] = pool.id
    return cloud.store.subnets.create([cast(Any, values)])[0]


def bare(cloud: Cloud, **values: Any) -> Network:
    return cloud.network(None, **values)


def test_a_subnet_is_cut_from_a_pool_with_its_default_length(cloud: Cloud) -> None:
    pool = pool_of(cloud, "10.0.0.0/16", default_prefixlen=24)
    network = bare(cloud)
    first, second = cut(cloud, network, pool), cut(cloud, network, pool, prefixlen=28)

    assert (first.cidr, first.subnetpool_id) == (IPv4Network("10.0.0.0/24"), pool.id)
    assert first.gateway_ip == IPv4Address("10.0.0.1")
    assert second.cidr == IPv4Network("10.0.1.0/28")
    found = cloud.store.subnets.find(by(subnetpool_id=pool.id))
    assert sorted(found, key=lambda subnet: subnet.cidr) == [first, second]


def test_a_pool_that_is_shared_no_more_gives_the_project_nothing(cloud: Cloud) -> None:
    """The policy may go between the look of who asks and the writing."""
    pool = pool_of(cloud, "10.0.0.0/16", default_prefixlen=24, project_id="p1")
    policy = shared_with(cloud, "subnetpool", pool.id, "p2")
    network = bare(cloud, project_id="p2")
    theirs = {"project_id": "p2", "acts_for": "p2"}
    cloud.store.subnets.delete(cut(cloud, network, pool, **theirs).id)

    cloud.store.rbac_policies.delete(policy.id)

    with pytest.raises(NotFound, match=f"no subnet pool {pool.id}"):
        cut(cloud, network, pool, **theirs)
    assert cut(cloud, network, pool, project_id="p2").cidr == IPv4Network("10.0.0.0/24")


def test_a_block_of_a_deleted_subnet_is_cut_again(cloud: Cloud) -> None:
    pool = pool_of(cloud, "10.0.0.0/24", default_prefixlen=24)
    first = cut(cloud, bare(cloud), pool)
    with pytest.raises(Conflict, match="no free block of length /24") as caught:
        cut(cloud, bare(cloud), pool)
    assert caught.value.type == "SubnetAllocationError"
    cloud.store.subnets.delete(first.id)
    assert cut(cloud, bare(cloud), pool).cidr == first.cidr


def test_a_very_block_can_be_asked_for(cloud: Cloud) -> None:
    pool = pool_of(cloud, "10.0.0.0/16")
    asked = cut(cloud, bare(cloud), pool, cidr=IPv4Network("10.0.7.0/24"))
    assert (asked.cidr, asked.subnetpool_id) == (IPv4Network("10.0.7.0/24"), pool.id)
    for block in ("10.0.7.0/25", "10.0.6.0/23", "10.9.0.0/24"):
        with pytest.raises(Conflict) as caught:
            cut(cloud, bare(cloud), pool, cidr=IPv4Network(block))
        assert caught.value.type == "SubnetAllocationError"


def test_what_is_on_the_wire_already_is_not_cut(cloud: Cloud) -> None:
    """Flat networks of one physical network share a wire."""
    cloud.network("10.0.0.0/25")
    pool = pool_of(cloud, "10.0.0.0/24", default_prefixlen=26)
    assert cut(cloud, bare(cloud), pool).cidr == IPv4Network("10.0.0.128/26")


def test_the_default_pool_serves_who_asks_for_it(cloud: Cloud) -> None:
    with pytest.raises(Invalid, match="no default subnet pool"):
        cut(cloud, bare(cloud), use_default_subnetpool=True)
    pool = pool_of(cloud, "10.0.0.0/16", is_default=True, default_prefixlen=24)
    assert cut(cloud, bare(cloud), use_default_subnetpool=True).subnetpool_id == pool.id
    with pytest.raises(Invalid, match="is the default already"):
        pool_of(cloud, "10.1.0.0/16", is_default=True)


REFUSED: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("short", {"min_prefixlen": 20}, {"prefixlen": 19}, "MinPrefixSubnetAllocationError", "20"),
    ("long", {"max_prefixlen": 28}, {"prefixlen": 29}, "MaxPrefixSubnetAllocationError", "28"),
    ("both", {}, {"prefixlen": 24, "cidr": IPv4Network("10.0.0.0/24")}, "BadRequest", "give one"),
    ("quota", {"default_quota": 255}, {"prefixlen": 24}, "SubnetPoolQuotaExceeded", "0 of 255"),
    ("two", {}, {"use_default_subnetpool": True}, "BadRequest", "give one"),
]


@pytest.mark.parametrize(
    ("pool", "subnet", "type_", "words"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_a_pool_refuses(
    cloud: Cloud, pool: dict[str, Any], subnet: dict[str, Any], type_: str, words: str
) -> None:
    made = pool_of(cloud, "10.0.0.0/16", **pool)
    with pytest.raises(LessorError, match=words) as caught:
        cut(cloud, bare(cloud), made, **subnet)
    assert caught.value.type == type_
    assert cloud.store.subnets.find() == []


def test_a_quota_counts_addresses_of_each_project(cloud: Cloud) -> None:
    pool = pool_of(cloud, "10.0.0.0/16", default_quota=256, default_prefixlen=25)
    one, other = bare(cloud, project_id="one"), bare(cloud, project_id="other")
    for network in (one, one, other):
        cut(cloud, network, pool)
    with pytest.raises(Conflict, match="256 of 256"):
        cut(cloud, one, pool)


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ({"min_prefixlen": 25, "max_prefixlen": 24}, "IllegalSubnetPoolPrefixBounds"),
        ({"min_prefixlen": 24, "default_prefixlen": 20}, "IllegalSubnetPoolPrefixBounds"),
        ({"max_prefixlen": 24, "default_prefixlen": 26}, "IllegalSubnetPoolPrefixBounds"),
        ({"max_prefixlen": 33}, "IllegalSubnetPoolPrefixBounds"),
        ({"min_prefixlen": -1}, "UnsupportedMinSubnetPoolPrefix"),
        ({"prefixes": ()}, "EmptySubnetPoolPrefixList"),
    ],
)
def test_a_pool_that_contradicts_itself_is_refused(
    cloud: Cloud, values: dict[str, Any], type_: str
) -> None:
    with pytest.raises(Invalid) as caught:
        cloud.store.subnetpools.create([cast(Any, {"prefixes": nets("10.0.0.0/8")} | values)])
    assert caught.value.type == type_
    pool = pool_of(cloud, "10.0.0.0/8")
    with pytest.raises(Invalid):
        cloud.store.subnetpools.update(pool.id, cast(Any, values))
    assert cloud.store.subnetpools.get(pool.id) == pool


def test_prefixes_are_compacted_and_only_grow(cloud: Cloud) -> None:
    pool = pool_of(cloud, "10.0.1.0/24", "10.0.0.0/24", "10.0.0.0/28")
    assert pool.prefixes == nets("10.0.0.0/23")
    grown = cloud.store.subnetpools.update(pool.id, {"prefixes": nets("10.0.0.0/22")})
    assert (grown.prefixes, grown.revision > pool.revision) == (nets("10.0.0.0/22"), True)
    with pytest.raises(Invalid, match=r"10\.0\.2\.0 to 10\.0\.3\.255") as caught:
        cloud.store.subnetpools.update(pool.id, {"prefixes": nets("10.0.0.0/23")})
    assert caught.value.type == "IllegalSubnetPoolPrefixUpdate"


def test_unused_prefixes_can_be_taken_away(cloud: Cloud) -> None:
    pool = pool_of(cloud, "10.0.0.0/22", default_prefixlen=24)
    cut(cloud, bare(cloud), pool)
    assert cloud.store.write(
        subnetpools.add_prefixes, pool.id, nets("10.9.0.0/24")
    ).prefixes == nets("10.0.0.0/22", "10.9.0.0/24")
    left = cloud.store.write(subnetpools.remove_prefixes, pool.id, nets("10.0.2.0/23"))
    assert left.prefixes == nets("10.0.0.0/23", "10.9.0.0/24")
    for block in ("10.0.0.0/25", "10.0.0.0/23", "10.0.2.0/24"):
        with pytest.raises(Invalid) as caught:
            cloud.store.write(subnetpools.remove_prefixes, pool.id, nets(block))
        assert caught.value.type == "IllegalSubnetPoolPrefixUpdate"
    assert cloud.store.subnetpools.get(pool.id) == left


def test_pools_of_a_scope_have_no_address_in_common(cloud: Cloud) -> None:
    scope = scope_of(cloud)
    pool_of(cloud, "10.0.0.0/16", address_scope_id=scope.id)
    outside = pool_of(cloud, "10.0.0.0/24")
    with pytest.raises(Conflict) as made:
        pool_of(cloud, "10.0.0.0/24", address_scope_id=scope.id)
    with pytest.raises(Conflict) as moved:
        cloud.store.subnetpools.update(outside.id, {"address_scope_id": scope.id})
    assert {made.value.type, moved.value.type} == {"AddressScopePrefixConflict"}
    other = pool_of(cloud, "10.1.0.0/16", address_scope_id=scope.id)
    with pytest.raises(Conflict):
        cloud.store.write(subnetpools.add_prefixes, other.id, nets("10.0.9.0/24"))


def test_what_is_in_use_stays(cloud: Cloud) -> None:
    scope = scope_of(cloud)
    pool = pool_of(cloud, "10.0.0.0/16", address_scope_id=scope.id, default_prefixlen=24)
    subnet = cut(cloud, bare(cloud), pool)
    with pytest.raises(InUse) as used:
        cloud.store.address_scopes.delete(scope.id)
    assert used.value.type == "AddressScopeInUse"
    with pytest.raises(Invalid) as cut_from:
        cloud.store.subnetpools.delete(pool.id)
    assert cut_from.value.type == "SubnetPoolDeleteError"

    cloud.store.subnets.delete(subnet.id)
    cloud.store.subnetpools.delete(pool.id)
    cloud.store.address_scopes.delete(scope.id)
    with pytest.raises(NotFound):
        cloud.store.subnetpools.get(pool.id)
    assert cloud.store.address_scopes.find() == []


def test_a_shared_scope_stays_shared_and_a_shared_pool_needs_one(cloud: Cloud) -> None:
    scope = scope_of(cloud)
    with pytest.raises(Invalid, match="share the scope first"):
        pool_of(cloud, "10.0.0.0/16", shared=True, address_scope_id=scope.id)
    cloud.store.address_scopes.update(scope.id, {"shared": True})
    pool_of(cloud, "10.0.0.0/16", shared=True, address_scope_id=scope.id)
    with pytest.raises(Invalid) as caught:
        cloud.store.address_scopes.update(scope.id, {"shared": False})
    assert caught.value.type == "AddressScopeUpdateError"


def test_a_network_keeps_to_one_pool_or_one_scope(cloud: Cloud) -> None:
    scope, other_scope = scope_of(cloud), scope_of(cloud)
    plain = pool_of(cloud, "10.0.0.0/16", default_prefixlen=24)
    one = pool_of(cloud, "10.1.0.0/16", default_prefixlen=24, address_scope_id=scope.id)
    two = pool_of(cloud, "10.2.0.0/16", default_prefixlen=24, address_scope_id=scope.id)
    far = pool_of(cloud, "10.3.0.0/16", default_prefixlen=24, address_scope_id=other_scope.id)
    network, unscoped, own = bare(cloud), bare(cloud), cloud.network("10.9.0.0/24")
    cut(cloud, network, one)
    cut(cloud, network, two)
    cut(cloud, unscoped, plain)
    assert cloud.store.read(addressscopes.of_networks, [network.id, unscoped.id]) == {
        network.id: scope.id
    }

    for net, pool, type_ in (
        (network, far, "NetworkAddressScopeAffinityError"),
        (network, plain, "NetworkAddressScopeAffinityError"),
        (unscoped, one, "NetworkSubnetPoolAffinityError"),
        (own, plain, "NetworkSubnetPoolAffinityError"),
    ):
        with pytest.raises(Invalid) as caught:
            cut(cloud, net, pool)
        assert caught.value.type == type_
    with pytest.raises(Invalid) as caught:
        cloud.subnet(unscoped, "10.8.0.0/24")
    assert caught.value.type == "NetworkSubnetPoolAffinityError"
    with pytest.raises(Invalid, match="also has subnets of other pools"):
        cloud.store.subnetpools.update(one.id, {"address_scope_id": None})


def test_blocks_cut_at_the_same_time_never_overlap(cloud: Cloud) -> None:
    """18 ask for a /28 of a /24: 16 get one, and the two refusals were right."""
    pool = pool_of(cloud, "10.0.0.0/24", default_prefixlen=28)
    networks = [bare(cloud) for _ in range(18)]

    def attempt(network: Network) -> Block | None:
        try:
            return cut(cloud, network, pool).cidr
        except Conflict:
            return None

    with ThreadPoolExecutor(18) as threads:
        found = [block for block in threads.map(attempt, networks) if block is not None]
    assert len(found) == 16
    assert not any(one.overlaps(other) for one, other in combinations(found, 2))


def test_a_bulk_of_subnets_is_cut_whole_or_not_at_all(cloud: Cloud) -> None:
    pool = pool_of(cloud, "10.0.0.0/24", default_prefixlen=25)
    network = bare(cloud)
    wish: Any = {"network_id": network.id, "subnetpool_id": pool.id}
    with pytest.raises(Conflict):
        cloud.store.subnets.create([wish, wish, wish])
    assert cloud.store.subnets.find() == []
    assert [s.cidr for s in cloud.store.subnets.create([wish, wish])] == list(
        nets("10.0.0.0/25", "10.0.0.128/25")
    )
