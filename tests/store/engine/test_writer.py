from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import update

from lessor.errors import Conflict, Invalid, Unavailable
from lessor.store.engine import tx as transaction
from lessor.store.engine.groupcommit import GroupWriter
from lessor.store.engine.tx import Tx
from lessor.store.hosts import rules as host_rules
from lessor.store.tables import counter, hosts
from tests.store.store_cloud import SQLITE, Cloud, by


def together(cloud: Cloud, jobs: list[Callable[[Tx], Any]]) -> list[Any]:
    """Run jobs so that all wait at the same time: they share one transaction."""
    gate, started = threading.Event(), threading.Event()
    assert isinstance(cloud.store._writer, GroupWriter)
    queue = cloud.store._writer._queue

    def block(_: Tx) -> None:
        started.set()
        assert gate.wait(10)

    results: list[Any] = [None] * len(jobs)

    def call(n: int) -> None:
        try:
            results[n] = cloud.store._writer.run(jobs[n])
        except BaseException as error:  # noqa: BLE001 - a result like any other
            results[n] = error

    first = threading.Thread(target=cloud.store._writer.run, args=(block,))
    first.start()
    assert started.wait(10)
    threads = [threading.Thread(target=call, args=(n,)) for n in range(len(jobs))]
    for n, thread in enumerate(threads):
        thread.start()
        while queue.qsize() <= n:
            assert thread.is_alive()
    gate.set()
    for thread in [first, *threads]:
        thread.join(10)
    return results


def add_host(name: str, row: str = "") -> Callable[[Tx], str]:
    def job(tx: Tx) -> str:
        tx.conn.execute(hosts.insert(), {"name": name, "id": name, "token_hash": name})
        tx.touch("networks", row or name)
        return name

    return job


def broken(name: str) -> Callable[[Tx], str]:
    def job(tx: Tx) -> str:
        add_host(name)(tx)
        raise Invalid("as asked")

    return job


def test_a_failing_job_takes_nothing_from_its_neighbours(cloud: Cloud) -> None:
    a, b, c = together(cloud, [add_host("a"), broken("b"), add_host("c")])
    assert (a.value, c.value) == ("a", "c")
    assert isinstance(b, Invalid)
    assert [host.name for host in cloud.store.hosts.find()] == ["a", "c"]


def test_jobs_that_wait_together_share_a_commit_and_a_revision(cloud: Cloud) -> None:
    results = together(cloud, [add_host(name) for name in "abcd"])
    assert len({result.revision for result in results}) == 1


def test_jobs_that_touch_the_same_row_have_revisions_of_their_own(cloud: Cloud) -> None:
    rows = ["x", "y", "x", "z", "x"]
    results = together(cloud, [add_host(f"h{n}", row) for n, row in enumerate(rows)])
    revisions = [result.revision for result in results]
    assert revisions[0] == revisions[1] < revisions[2] == revisions[3] < revisions[4]


def test_a_later_transaction_has_a_later_revision(cloud: Cloud) -> None:
    revisions = [cloud.store._writer.run(add_host(name)).revision for name in "abc"]
    assert revisions == sorted(set(revisions))


def test_a_failed_commit_is_told_to_every_job(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(transaction, "_NEXT", update(counter).values(id=2))
        results = together(cloud, [add_host("a"), add_host("b")])
    assert all(isinstance(result, Conflict | Unavailable) for result in results)
    assert cloud.store.hosts.find() == []


@SQLITE
def test_a_full_disk_is_unavailable_and_mends(cloud: Cloud) -> None:
    cloud.network()

    def limit(pages: int) -> Callable[[Tx], None]:
        return lambda tx: tx.conn.exec_driver_sql(f"PRAGMA max_page_count={pages}").close()

    cloud.store._writer.run(limit(1))
    many: list[Any] = [{"name": "x" * 200}] * 999
    with pytest.raises(Unavailable, match="full"):
        cloud.store.instances.create(many)
    assert cloud.store.instances.find() == []
    cloud.store._writer.run(limit(1 << 20))
    cloud.store.write(host_rules.create, "after")
    assert cloud.store.hosts.get("after")


@SQLITE
def test_a_busy_database_is_unavailable(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    with cloud.store._engine.connect() as other:
        cloud.store._writer.run(lambda tx: tx.conn.exec_driver_sql("PRAGMA busy_timeout=1").close())
        other.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="locked"):
            cloud.store.write(host_rules.create, "h")
        other.exec_driver_sql("ROLLBACK")
    cloud.store.write(host_rules.create, "h")


def test_subscribers_hear_which_hosts_a_change_concerns(cloud: Cloud) -> None:
    heard: list[frozenset[str]] = []
    cloud.host("h1")
    cloud.host("h2")
    network = cloud.network(host="h1")
    cloud.told()
    cloud.store.subscribe(heard.append)
    port = cloud.port(network, "h2")
    cloud.store.ports.delete(port.id)
    cloud.told()
    assert heard == [frozenset({"h1", "h2"})] * 2


def test_a_subscriber_that_fails_stops_nobody(cloud: Cloud) -> None:
    def fail(_: frozenset[str]) -> None:
        raise RuntimeError

    cloud.host("h1")
    network = cloud.network(host="h1")
    cloud.store.subscribe(fail)
    cloud.port(network)
    cloud.port(network)
    assert len(cloud.store.ports.find(by(network_id=network.id))) == 2


def test_a_closed_store_refuses(cloud: Cloud) -> None:
    cloud.store.close()
    with pytest.raises(Unavailable, match="closed"):
        cloud.store.write(host_rules.create, "h")
