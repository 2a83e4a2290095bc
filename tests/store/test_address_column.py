"""Addresses of both families in columns, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest
from sqlalchemy import bindparam, func, insert, select

from lessor.net.address import Address
from lessor.net.keys import key_of
from lessor.store.address_column import AddressColumn, block_of, last_of_block, raw
from lessor.store.engine.connection import Connection
from lessor.store.engine.dialect import among, hex_of
from lessor.store.tables import addresses, holds
from tests.store.store_cloud import Cloud, by

ORDER: list[Address] = [
    IPv6Address("::1"),
    IPv4Address("0.0.0.0"),
    IPv4Address("10.0.0.255"),
    IPv4Address("127.255.255.255"),
    IPv4Address("128.0.0.0"),
    IPv4Address("255.255.255.255"),
    IPv6Address("2001:db8::1"),
    IPv6Address("ffff::"),
]
TIMES = 3  # the first goes SQLAlchemy's way, the second compiles: see `connection`


@pytest.fixture
def conn(cloud: Cloud) -> Iterator[Connection]:
    with Connection(cloud.store._engine) as made:
        made.exec_driver_sql("BEGIN")
        rows = [
            {"network_id": "n", "host": "h", "revision": 1, "address": one}
            for one in reversed(ORDER)
        ]
        made.execute(insert(holds), rows)
        yield made
        made.exec_driver_sql("ROLLBACK")


def test_addresses_come_back_in_their_order(conn: Connection) -> None:
    every = select(holds.c.address).order_by(holds.c.address)
    for _ in range(TIMES):
        assert conn.execute(every).scalars().all() == ORDER
    lowest = select(raw(holds.c.address)).order_by(holds.c.address).limit(1)
    assert conn.execute(lowest).scalar() == key_of(ORDER[0])


@pytest.mark.parametrize("of", [slice(1, 6), slice(0, 1), slice(6, 8)])
def test_a_range_has_addresses_of_its_family(conn: Connection, of: slice) -> None:
    wanted = ORDER[of]
    low, high = (bindparam(name, type_=AddressColumn()) for name in ("low", "high"))
    inside = select(holds.c.address).where(holds.c.address.between(low, high))
    for _ in range(TIMES):
        found = conn.execute(inside, {"low": wanted[0], "high": wanted[-1]}).scalars().all()
        assert set(found) == set(wanted)


def test_addresses_are_found_by_a_list_of_keys(conn: Connection) -> None:
    some = select(holds.c.address).where(among(raw(holds.c.address), "keys"))
    for wanted in ([], ORDER[:1], ORDER[2:5], [*ORDER, IPv4Address("192.0.2.1")]):
        found = conn.execute(some, {"keys": [key_of(one) for one in wanted]}).scalars().all()
        assert set(found) == set(wanted) & set(ORDER)


def test_the_end_of_a_block_of_256_is_asked_of_the_database(conn: Connection) -> None:
    one = select(last_of_block(block_of(holds.c.address)), hex_of(holds.c.address))
    row = conn.execute(one.where(holds.c.address == IPv4Address("128.0.0.0"))).one()
    assert tuple(row) == (IPv4Address("128.0.0.255"), "00000000000000000000ffff80000000")
    count = select(func.count()).where(holds.c.address > last_of_block(block_of(holds.c.address)))
    assert conn.execute(count).scalar() == 0


@pytest.mark.parametrize(
    ("part", "found"),
    [("d", ["2001:db8::9"]), ("::9", ["2001:db8::9"]), ("9", ["10.0.0.9", "2001:db8::9"])],
)
def test_a_part_of_an_ipv6_address_is_found(cloud: Cloud, part: str, found: list[str]) -> None:
    """None is served yet: the row is written by hand."""
    network = cloud.network()
    cloud.port(network, name="10.0.0.9", address="10.0.0.9")
    cloud.port(network, name="10.0.0.5", address="10.0.0.5")
    six = cloud.port(network, name="2001:db8::9", fixed_ips=())
    subnet = cloud.store.subnets.find(by(network_id=network.id))[0]
    row: dict[str, Any] = {
        "network_id": network.id,
        "address": IPv6Address("2001:db8::9"),
        "subnet_id": subnet.id,
        "port_id": six.id,
    }
    cloud.store._writer.run(lambda tx: tx.conn.execute(insert(addresses), row))
    ports = cloud.store.ports.find(by(ip_address_substr=part))
    assert sorted(port.name for port in ports) == found
