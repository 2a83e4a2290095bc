"""What one request may be: others' writes wait for it, whatever the client put into it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest
from sqlalchemy import event

from lessor.errors import Conflict, Invalid
from lessor.model import AddressPair, HostBlock, Network, Pool, SubnetPool
from lessor.store.addresses import allocation
from lessor.store.networks.pools import MOST_POOLS
from lessor.store.pools import checks
from lessor.store.pools import rules as subnetpools
from lessor.store.pools.checks import MOST_PREFIXES
from lessor.store.tables import address_pairs, prefixes
from lessor.store.tables import pools as pool_rows
from tests.store.store_cloud import Cloud, ip_of

BASE = int(IPv4Address("10.0.0.0"))
HER, HIS = "p1", "p2"


def apart(count: int, start: int = 0) -> tuple[IPv4Network, ...]:
    """Return addresses with gaps between them, as blocks."""
    return tuple(IPv4Network(BASE + 2 * n) for n in range(start, start + count))


def pools_of(cloud: Cloud, *many: Any) -> list[SubnetPool]:
    return cloud.store.subnetpools.create([cast(Any, values) for values in many])


def said_in(cloud: Cloud, call: Callable[[], object]) -> list[str]:
    """Return the statements that a call makes."""
    said: list[str] = []
    engine = cloud.store._engine

    def listen(*args: Any) -> None:
        said.append(str(args[2]))

    event.listen(engine, "before_cursor_execute", listen)
    try:
        call()
    finally:
        event.remove(engine, "before_cursor_execute", listen)
    return said


# --- prefixes of subnet pools ---------------------------------------------------------------------


def test_a_pool_and_a_request_have_so_many_prefixes(cloud: Cloud) -> None:
    pool = pools_of(cloud, {"prefixes": apart(MOST_PREFIXES)})[0]
    assert len(pool.prefixes) == MOST_PREFIXES
    half = MOST_PREFIXES // 2 + 1
    more = apart(MOST_PREFIXES + 1)
    store = cloud.store
    for call in (
        lambda: pools_of(cloud, {"prefixes": more}),
        lambda: pools_of(cloud, {"prefixes": apart(half)}, {"prefixes": apart(half, half)}),
        lambda: store.subnetpools.update(pool.id, {"prefixes": more}),
        lambda: store.write(subnetpools.add_prefixes, pool.id, apart(1, MOST_PREFIXES)),
        lambda: store.write(subnetpools.add_prefixes, pool.id, more),
        lambda: store.write(subnetpools.remove_prefixes, pool.id, more),
    ):
        with pytest.raises(Invalid, match="1001 prefixes|1002 prefixes"):
            call()
    assert store.subnetpools.get(pool.id) == pool


def test_taking_prefixes_away_leaves_no_more_than_a_pool_has(cloud: Cloud) -> None:
    wide = pools_of(cloud, {"prefixes": [IPv4Network("10.0.0.0/8")]})[0]
    with pytest.raises(Invalid, match="1001 prefixes"):
        cloud.store.write(
            subnetpools.remove_prefixes, wide.id, [IPv4Network(BASE + 4096 * n) for n in range(500)]
        )
    left = cloud.store.write(
        subnetpools.remove_prefixes, wide.id, [IPv4Network("10.0.0.0/9"), IPv4Network(BASE)]
    )
    assert left.prefixes == (IPv4Network("10.128.0.0/9"),)


def test_a_pool_with_more_prefixes_of_before_may_lose_some(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = pools_of(cloud, {"prefixes": apart(9)})[0]
    monkeypatch.setattr(checks, "MOST_PREFIXES", 4)
    assert cloud.store.subnetpools.update(pool.id, {"name": "old"}).name == "old"
    assert len(cloud.store.write(subnetpools.remove_prefixes, pool.id, apart(1)).prefixes) == 8
    with pytest.raises(Invalid, match="9 prefixes"):
        cloud.store.write(subnetpools.add_prefixes, pool.id, apart(1))


def test_address_scopes_are_read_once_for_a_request(cloud: Cloud) -> None:
    scope = cloud.store.address_scopes.create([{}])[0].id
    many = [{"prefixes": apart(3, 3 * n), "address_scope_id": scope} for n in range(20)]
    said = said_in(cloud, lambda: pools_of(cloud, *many))
    compared = [one for one in said if f"JOIN {prefixes.name}" in one]
    assert len(compared) == 1
    with pytest.raises(Conflict, match="overlaps") as caught:
        pools_of(cloud, *({"prefixes": apart(1, 90), "address_scope_id": scope} for _ in range(2)))
    assert caught.value.type == "AddressScopePrefixConflict"


def test_an_address_scope_has_so_many_prefixes(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = cloud.store.address_scopes.create([{}])[0].id
    monkeypatch.setattr(checks, "MOST_IN_SCOPE", 8)
    monkeypatch.setattr(checks, "_IN_SCOPES", checks._IN_SCOPES.limit(9))
    pool = pools_of(cloud, {"prefixes": apart(5), "address_scope_id": scope})[0]
    with pytest.raises(Conflict, match="more than 8 prefixes"):
        pools_of(cloud, {"prefixes": apart(4, 5), "address_scope_id": scope})
    monkeypatch.setattr(checks, "MOST_IN_SCOPE", 4)
    kept = cloud.store.write(
        subnetpools.remove_prefixes, pool.id, apart(1)
    )  # what only gets smaller is not compared
    assert len(kept.prefixes) == 4


# --- allocation pools -----------------------------------------------------------------------------


def spans(count: int) -> tuple[Pool, ...]:
    return tuple(Pool(one, one) for one in (IPv4Address(BASE + 10 + 2 * n) for n in range(count)))


def test_a_subnet_has_so_many_allocation_pools(cloud: Cloud) -> None:
    network = cloud.network(None)
    with pytest.raises(Invalid, match="101 allocation pools"):
        cloud.subnet(network, "10.0.0.0/16", pools=spans(MOST_POOLS + 1))
    subnet = cloud.subnet(network, "10.0.0.0/16", pools=spans(MOST_POOLS))
    with pytest.raises(Invalid, match="101 allocation pools"):
        cloud.store.subnets.update(subnet.id, {"pools": spans(MOST_POOLS + 1)})
    assert cloud.store.subnets.get(subnet.id) == subnet


def test_a_subnet_with_more_pools_of_before_may_lose_some(cloud: Cloud) -> None:
    network = cloud.network(None)
    subnet = cloud.subnet(network, "10.0.0.0/16", pools=spans(MOST_POOLS))
    more = [{"subnet_id": subnet.id, "first": at, "last": at, "next_fresh": at}
            for at in (IPv4Address(BASE + n) for n in range(5001, 5021, 2))]  # fmt: skip
    cloud.store._writer.run(lambda tx: tx.conn.execute(pool_rows.insert(), more))
    assert cloud.store.subnets.update(subnet.id, {"name": "old"}).name == "old"
    fewer = cloud.store.subnets.get(subnet.id).pools[1:]
    assert cloud.store.subnets.update(subnet.id, {"pools": fewer}).pools == fewer


def test_what_lies_beyond_the_pools_is_compared_with_hosts_blocks_at_once(cloud: Cloud) -> None:
    cloud.host("h1")
    network = cloud.network(None, project_id=HER, network_type="flat")
    subnet = cloud.subnet(network, "10.0.0.0/16", pools=spans(MOST_POOLS))
    block = HostBlock(cidr=IPv4Network("10.0.0.99"), what="route", physical_network="")
    cloud.report("h1", blocks=(block,))

    def change(*pools: Pool) -> Callable[[], object]:
        values = {"pools": pools, "acts_for": HER}
        return lambda: cloud.store.subnets.update(subnet.id, cast(Any, values))

    beside = [*spans(40), Pool(IPv4Address("10.0.0.100"), IPv4Address("10.0.0.200"))]
    said = said_in(cloud, change(*beside))
    assert sum("FROM host_blocks" in one for one in said) == 1
    with pytest.raises(Conflict, match=r"block 10\.0\.0\.98/31 can't be had"):
        change(*spans(40), Pool(IPv4Address("10.0.0.98"), IPv4Address("10.0.0.200")))()


# --- many ports on many subnets, beside many pairs ------------------------------------------------


def ports_on(cloud: Cloud, network: Network, count: int, **values: Any) -> Callable[[], object]:
    many = [cast(Any, values | {"network_id": network.id}) for _ in range(count)]
    return lambda: cloud.store.ports.create(many)


def test_a_full_subnet_is_looked_at_once_for_a_request(cloud: Cloud) -> None:
    network = cloud.network(None)
    for n in range(8):
        cloud.subnet(network, f"10.1.{n}.0/24", pools=())
        cloud.clock.now += 1  # subnets are looked at in their order of age
    cloud.subnet(network, "10.2.0.0/24")
    said = said_in(cloud, ports_on(cloud, network, 10))
    assert sum("freed_seq IS NOT NULL ORDER BY" in " ".join(one.split()) for one in said) == 8


def test_pairs_and_addresses_in_use_are_passed_once_for_a_request(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/24", project_id=HER)
    held = [2 * n for n in range(5, 15)]
    port = cloud.port(network, project_id=HER, address="10.0.0.250")
    rows = [{"port_id": port.id, "first": at, "last": at, "segment": segment(cloud),
             "project_id": HER} for at in (IPv4Address(BASE + n) for n in held)]  # fmt: skip
    cloud.store._writer.run(lambda tx: tx.conn.execute(address_pairs.insert(), rows))
    for n in held:
        cloud.port(network, project_id=HER, address=f"10.0.0.{n + 1}")
    cloud.store.ports.create([cast(Any, {"network_id": network.id, "project_id": HIS})] * 8)
    said = said_in(cloud, ports_on(cloud, network, 10, project_id=HIS))
    assert 0 < sum("addresses.address BETWEEN" in one for one in said) <= len(held) + 1
    last = cloud.store.ports.create([cast(Any, {"network_id": network.id, "project_id": HIS})])[0]
    assert ip_of(last) == IPv4Address("10.0.0.40")


@pytest.mark.parametrize("used", [1, 2, 3, 5, 8, 9])
def test_the_first_gap_among_addresses_in_use_is_found(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, used: int
) -> None:
    monkeypatch.setattr(allocation, "FEW", 2)
    monkeypatch.setattr(allocation, "MANY", 3)
    network = cloud.network(None)
    cloud.subnet(network, "10.0.0.0/28")
    for n in [*range(2, 2 + used), 12, 13]:
        cloud.port(network, address=f"10.0.0.{n}")
    left = [n for n in range(2 + used, 15) if n not in {12, 13}]
    found = [ip_of(cloud.port(network)) for _ in left]
    assert found == [IPv4Address(f"10.0.0.{n}") for n in left]
    with pytest.raises(Conflict, match="no free address"):
        cloud.port(network)


def segment(cloud: Cloud) -> str:
    network = cloud.store.networks.find()[0]
    return f"flat:{network.physical_network}"


def test_pairs_of_one_another_are_found_by_address(cloud: Cloud) -> None:
    network = cloud.network("10.0.0.0/24", project_id=HER, network_type="flat")
    pairs = (AddressPair(IPv4Network("10.0.0.64/26")), AddressPair(IPv4Network("10.0.0.70")))
    values: dict[str, Any] = {"project_id": HER, "acts_for": HER, "allowed_address_pairs": pairs}
    cloud.port(network, **values)
    for address in ("10.0.0.64", "10.0.0.70", "10.0.0.71", "10.0.0.127"):
        with pytest.raises(Conflict, match="allowed address pair"):
            cloud.port(network, project_id=HIS, address=address)
    assert cloud.port(network, project_id=HIS, address="10.0.0.128").fixed_ips
