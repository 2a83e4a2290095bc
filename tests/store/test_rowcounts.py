"""What is counted is what the lists show."""

from __future__ import annotations

from lessor.store import rowcounts
from lessor.store.query import Query
from tests.store.store_cloud import Cloud

DAY = 86400.0


def listed(cloud: Cloud) -> tuple[int, ...]:
    hosts = cloud.store.hosts.find()
    return (
        len(hosts),
        sum(host.alive for host in hosts),
        sum(host.in_sync for host in hosts),
        len(cloud.store.networks.find()),
        len(cloud.store.ports.find()),
        len(cloud.store.leases.find(Query(filters={"live": (True,)}))),
    )


def counted(cloud: Cloud) -> tuple[int, ...]:
    there = cloud.store.read(rowcounts.read)
    return (
        there.hosts,
        there.hosts_alive,
        there.hosts_in_sync,
        there.networks,
        there.ports,
        there.leases_live,
    )


def test_row_counts_are_what_lists_show(cloud: Cloud) -> None:
    assert counted(cloud) == listed(cloud) == (0,) * 6
    for name in ("h1", "h2", "h3"):
        cloud.host(name)
    cloud.report("h1", in_sync=True)
    net = cloud.network("10.0.0.0/24", host="h1")
    first, second, third = (cloud.port(net) for _ in range(3))
    for port in (first, second, third):
        cloud.lease("h1", "add", port)
    cloud.lease("h1", "del", second)
    assert counted(cloud) == listed(cloud)
    assert counted(cloud)[1:] == (3, 1, 1, len(cloud.store.ports.find()), 2)
    cloud.clock.now += DAY + 1
    assert counted(cloud) == listed(cloud)
    assert (counted(cloud)[1], counted(cloud)[5]) == (0, 0)
    cloud.report("h1", in_sync=True)
    assert counted(cloud) == listed(cloud)
    assert counted(cloud)[1] == 1
