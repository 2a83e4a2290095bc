"""openstacksdk's calls for tags, subnet pools, address scopes."""

from __future__ import annotations

from typing import Any

import pytest
from openstack import exceptions


@pytest.mark.parametrize("noun", ["network", "subnet", "port"])
def test_tags_are_set_added_taken_away_and_filtered_by(network: Any, blue: Any, noun: str) -> None:
    made = {
        "network": lambda: blue,
        "subnet": lambda: network.find_subnet("blue4"),
        "port": lambda: network.create_port(network_id=blue.id),
    }[noun]()
    listed = getattr(network, f"{noun}s")
    get = getattr(network, f"get_{noun}")
    network.set_tags(made, ["web", "prod"])
    assert sorted(get(made.id).tags) == ["prod", "web"]
    assert [row.id for row in listed(tags="web,prod")] == [made.id]
    assert [row.id for row in listed(any_tags="web,night")] == [made.id]
    assert list(listed(not_tags="web,prod")) == []
    get(made.id).remove_tag(network, "web")
    assert get(made.id).tags == ["prod"]
    get(made.id).add_tag(network, "night")
    assert get(made.id).check_tag(network, "night")
    get(made.id).remove_all_tags(network)
    assert get(made.id).tags == []


def test_a_subnet_pool_gives_prefixes(network: Any) -> None:
    red = network.create_network(name="red")
    scope = network.create_address_scope(name="lan", ip_version=4)
    pool = network.create_subnet_pool(
        name="big", prefixes=["10.8.0.0/16"], default_prefixlen=26, address_scope_id=scope.id
    )
    try:
        assert network.find_subnet_pool("big").address_scope_id == scope.id
        assert (pool.ip_version, pool.is_shared) == (4, False)
        subnet = network.create_subnet(network_id=red.id, subnet_pool_id=pool.id, ip_version=4)
        assert subnet.cidr.endswith("/26")
        with pytest.raises(exceptions.BadRequestException):  # as in Neutron
            network.delete_subnet_pool(pool)
        network.delete_subnet(subnet)
        assert network.update_subnet_pool(pool, name="large").name == "large"
        assert [row.id for row in network.subnet_pools(name="large")] == [pool.id]
        assert network.update_address_scope(scope, name="wan").name == "wan"
        assert network.get_address_scope(scope.id).name == "wan"
        assert network.find_address_scope("wan").id == scope.id
        assert [row.id for row in network.address_scopes()] == [scope.id]
    finally:
        network.delete_subnet_pool(pool)
        network.delete_address_scope(scope)
        network.delete_network(red)
    assert network.find_subnet_pool("large") is None


def test_prefixes_are_added_to_a_pool_and_taken_away(network: Any) -> None:
    pool = network.create_subnet_pool(name="big", prefixes=["10.8.0.0/16"])
    try:
        path = f"/subnetpools/{pool.id}"  # the library has no call for these two
        more = network.put(f"{path}/add_prefixes", json={"prefixes": ["10.10.0.0/16"]})
        assert more.status_code == 200, more.text
        assert network.get_subnet_pool(pool.id).prefixes == ["10.8.0.0/16", "10.10.0.0/16"]
        less = network.put(f"{path}/remove_prefixes", json={"prefixes": ["10.8.0.0/16"]})
        assert less.status_code == 200, less.text
        assert network.get_subnet_pool(pool.id).prefixes == ["10.10.0.0/16"]
    finally:
        network.delete_subnet_pool(pool)
