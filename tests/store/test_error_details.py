"""A refusal names what stands in the way, unless the caller may not see it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any, cast

import pytest

from lessor.errors import LessorError
from lessor.model import DHCP_OWNER, Network, Port
from lessor.store.pools import rules as subnetpools
from lessor.store.values import FixedIpRequest
from tests.store.store_cloud import Cloud, ips_of

HER, HIS = "p1", "p2"
MAC = "fa:16:3e:00:00:0a"


def flat(cloud: Cloud, project: str, cidr: str | None, **values: Any) -> Network:
    return cloud.network(cidr, project_id=project, network_type="flat", **values)


def words(make: Any, *args: Any, **values: Any) -> str:
    with pytest.raises(LessorError) as caught:
        make(*args, **values)
    return str(caught.value)


def port(cloud: Cloud, network: Network, project: str, **values: Any) -> Port:
    return cloud.port(network, project_id=project, **values)


def test_who_has_a_mac(cloud: Cloud) -> None:
    hers = flat(cloud, HER, "10.0.0.0/24")
    his = flat(cloud, HIS, "10.1.0.0/24", shared=True)
    holder = port(cloud, hers, HER, mac_address=MAC)
    other = port(cloud, his, HIS)

    def change(**told: Any) -> Port:
        return cloud.store.ports.update(other.id, cast(Any, {"mac_address": MAC} | told))

    for make in (lambda **told: port(cloud, his, HIS, mac_address=MAC, **told), change):
        assert holder.id in words(make)
        assert holder.id in words(make, acts_for=HER)
        hidden = words(make, acts_for=HIS)
        assert f"{MAC} is in use on the same wire" in hidden
        assert hers.id not in hidden


def test_who_has_a_block(cloud: Cloud) -> None:
    hers = flat(cloud, HER, "10.0.0.0/24")
    subnet = cloud.subnet_of(hers)
    again = {"network": flat(cloud, HIS, None), "cidr": "10.0.0.0/16"}
    assert subnet.id in words(cloud.subnet, **again)
    assert subnet.id in words(cloud.subnet, **again, acts_for=HER)
    hidden = words(cloud.subnet, **again, acts_for=HIS)
    assert "overlaps with another subnet on the same physical network" in hidden
    assert "10.0.0.0/24" not in hidden


def test_who_has_a_vni(cloud: Cloud) -> None:
    values: Any = {"network_type": "vxlan", "segmentation_id": 7}
    hers = cloud.network(None, project_id=HER, name="hers", **values)
    assert hers.id in words(cloud.network, None, project_id=HIS, **values)
    assert hers.id in words(cloud.network, None, project_id=HER, acts_for=HER, **values)
    hidden = words(cloud.network, None, project_id=HIS, acts_for=HIS, **values)
    assert "segmentation_id 7 is in use; give another" in hidden


def test_who_has_an_address(cloud: Cloud) -> None:
    """On a network that is another's and shared; a lease tells its MAC."""
    cloud.host("h1", network_host=True)
    cloud.report("h1", network_host=True, local_ip=IPv4Address("192.0.2.1"))
    shared = cloud.network("10.0.0.0/24", project_id=HER, network_type="vxlan", shared=True)
    holder = port(cloud, shared, HER, host="h1", address="10.0.0.9")
    (server,) = (p for p in cloud.store.ports.find() if p.device_owner == DHCP_OWNER)
    left = port(cloud, shared, HER, host="h1", address="10.0.0.10")
    cloud.lease("h1", "add", left)
    cloud.store.ports.delete(left.id)
    secrets = {"10.0.0.9": holder.id, ips_of(server)[0]: "h1", "10.0.0.10": left.mac_address}
    for address, secret in secrets.items():
        for told in ({}, {"acts_for": HER}):
            assert secret in words(port, cloud, shared, HIS, address=address, **told)
        hidden = words(port, cloud, shared, HIS, address=address, acts_for=HIS)
        assert f"address {address} of network {shared.id}" in hidden
        assert not any(one in hidden for one in (*secrets.values(), server.id))
    own = port(cloud, shared, HIS)
    wanted = (FixedIpRequest(None, IPv4Address(ips_of(own)[0])),)
    assert own.id in words(port, cloud, shared, HIS, fixed_ips=wanted, acts_for=HIS)


def test_which_pool_has_a_prefix_of_a_shared_scope(cloud: Cloud) -> None:
    (scope,) = cloud.store.address_scopes.create([{"project_id": HER, "shared": True}])

    def make(project: str, block: str, **told: Any) -> Any:
        known = {"project_id": project, "address_scope_id": scope.id, "default_prefixlen": 24}
        return cloud.store.subnetpools.create(
            [cast(Any, {**known, "prefixes": [IPv4Network(block)], **told})]
        )[0]

    hers, his = make(HER, "10.0.0.0/16"), make(HIS, "10.1.0.0/16")
    block = IPv4Network("10.0.5.0/24")

    def grow(told: str | None = None) -> Any:
        return cloud.store.write(subnetpools.add_prefixes, his.id, [block], told)

    def change(**told: Any) -> Any:
        prefixes = [IPv4Network("10.1.0.0/16"), block]
        return cloud.store.subnetpools.update(his.id, cast(Any, {"prefixes": prefixes} | told))

    for seen in (words(grow), words(change), words(make, HIS, "10.0.5.0/24", acts_for=HER)):
        assert f"10.0.0.0/16 of subnet pool {hers.id}" in seen
    overlapping = "10.0.5.0/24 overlaps one of another subnet pool"
    others = f"address scope {scope.id} is another project's"
    for hidden, why in (
        (words(grow, HIS), others),
        (words(change, acts_for=HIS), others),
        (words(make, HIS, "10.0.5.0/24", acts_for=HIS), overlapping),
    ):
        assert why in hidden
        assert hers.id not in hidden
        assert "10.0.0.0/16" not in hidden
