"""Two servers on one PostgreSQL database: each knows in time what the other did."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from sqlalchemy import select

from lessor.errors import Conflict, Invalid, Unavailable
from lessor.model import Report, ViewRequest
from lessor.settings import NovaSettings, ServerSettings
from lessor.store import views
from lessor.store.engine import database, postgres
from lessor.store.engine.groupcommit import GroupWriter
from lessor.store.engine.peers import EVERYONE
from lessor.store.engine.postgres_peers import PostgresPeers
from lessor.store.engine.tx import ReadTx
from lessor.store.hosts import dhcp_scheduler, failover, reports
from lessor.store.hosts import rules as host_rules
from lessor.store.hosts import tokens as store_tokens
from lessor.store.hosts.heartbeats import SilenceWatch
from lessor.store.ports import compute_events
from lessor.store.store import PURGE_S, Store
from lessor.store.tables import meta
from tests.postgres import Cluster
from tests.store.store_cloud import START, Cloud, open_cloud, settings_in

LIMIT_S = 30


@pytest.fixture
def engine() -> str:
    """Only PostgreSQL has several servers."""
    return "postgresql"


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def peers_of(cloud: Cloud) -> PostgresPeers:
    peers = cloud.store.peers
    assert isinstance(peers, PostgresPeers)
    return peers


@pytest.fixture
def pair(make_cloud: Callable[..., Cloud], monkeypatch: pytest.MonkeyPatch) -> tuple[Cloud, Cloud]:
    """Two servers, the first of which keeps house."""
    one = make_cloud()
    wait_for(lambda: one.store.peers.keeps)
    other = make_cloud()
    other.clock = one.clock
    context = replace(other.store._context, clock=one.clock)
    monkeypatch.setattr(other.store, "clock", one.clock)
    for holder in (other.store, other.store._writer):
        monkeypatch.setattr(holder, "_context", context)
    return one, other


def test_a_change_on_one_server_wakes_the_hosts_that_wait_at_another(
    pair: tuple[Cloud, Cloud],
) -> None:
    one, other = pair
    one.host("h1")
    network = one.network(host="h1")
    heard: list[frozenset[str]] = []
    other.store.subscribe(heard.append)
    port = one.port(network, "h1")
    wait_for(lambda: frozenset({"h1"}) in heard)
    answer = views.answer(other.store, "h1", ViewRequest())
    assert [p.id for p in answer.scopes[network.id].ports] == [port.id]


def test_a_server_hears_its_own_changes_once(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    one.host("h1")
    network = one.network(host="h1")
    one.told()
    heard: list[frozenset[str]] = []
    one.store.subscribe(heard.append)
    one.port(network)
    other.port(network)
    wait_for(lambda: len(heard) == 2)
    other.port(network)
    wait_for(lambda: len(heard) == 3)
    assert heard == [frozenset({"h1"})] * 3


def test_notifications_name_many_hosts_in_pieces_that_fit() -> None:
    hosts = {f"{n:04}." + "x" * 200 for n in range(100)}
    sent = postgres.payloads("me", hosts)
    assert all(len(text) < 8000 for text in sent)
    assert frozenset().union(*(postgres.hosts_in("you", text) for text in sent)) == hosts
    assert postgres.hosts_in("me", sent[0]) == frozenset()


def test_revisions_of_two_servers_are_in_the_order_of_their_commits(
    pair: tuple[Cloud, Cloud],
) -> None:
    network = pair[0].network()
    revisions = [pair[n % 2].port(network).revision for n in range(10)]
    assert revisions == sorted(set(revisions))


def test_one_server_keeps_house_and_another_takes_over(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    assert (one.store.peers.keeps, other.store.peers.keeps) == (True, False)
    one.store.close()
    wait_for(lambda: other.store.peers.keeps)


def test_a_server_that_hangs_loses_the_house(
    pair: tuple[Cloud, Cloud], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = pair
    hung: list[bool] = []

    def hang(*_: object) -> None:
        hung.append(True)
        wait_for(lambda: other.store.peers.keeps)

    monkeypatch.setattr(peers_of(one), "_look", hang)
    wait_for(lambda: other.store.peers.keeps)
    assert hung
    monkeypatch.undo()
    wait_for(lambda: len(peers_of(one)._present) == 2)
    assert not one.store.peers.keeps


def test_a_host_that_talks_to_another_server_is_alive(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    one.host("h1")
    one.clock.now += 60
    other.report("h1")
    other.clock.now += 60
    other.report("h1")
    failover.watch(other.store)
    assert one.store.hosts.get("h1").alive


def test_a_heartbeat_written_late_does_not_hide_a_newer_one(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    one.host("h1")
    one.clock.now += 1
    one.report("h1")
    one.clock.now += 5
    other.report("h1")
    failover.watch(other.store)
    failover.watch(one.store)
    assert other.store.hosts.get("h1").heartbeat_at == one.clock.now


def test_what_a_host_says_is_written_although_another_server_heard_otherwise(
    pair: tuple[Cloud, Cloud],
) -> None:
    one, other = pair
    one.store.write(host_rules.create, "h1")
    first = Report(run_id="r", started_at=START, version="1")
    second = Report(run_id="r", started_at=START, version="2")
    for cloud, said in ((one, first), (other, second), (one, first)):
        reports.receive(cloud.store, "h1", said)
    assert other.store.hosts.get("h1").version == "1"


def test_two_agents_of_one_name_are_told_apart_by_two_servers(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    one.host("h1")
    with pytest.raises(Conflict, match="another agent"):
        other.report("h1", run_id="impostor")


def test_a_deleted_hosts_token_ends_on_all_servers(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    _, token = one.store.write(host_rules.create, "h1")
    assert store_tokens.host_of(other.store, token) == "h1"
    one.store.write(host_rules.remove, "h1")
    wait_for(lambda: store_tokens.host_of(other.store, token) is None)


def test_silence_means_nothing_while_a_server_may_have_taken_it_along() -> None:
    watch = SilenceWatch(10)
    watch.look(0)
    for now in range(1, 11):
        quiet = watch.look(now)
    assert quiet
    assert not watch.look(11, disturbed=True)
    assert not any(watch.look(now) for now in range(12, 21))
    assert watch.look(21)


def test_the_servers_that_are_left_notice_one_that_went(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    wait_for(lambda: len(peers_of(one)._present) == 2)
    one.store.peers.departed()
    other.store.close()
    wait_for(one.store.peers.departed)
    assert not one.store.peers.departed()


def test_a_host_that_died_at_one_server_is_replaced_by_another(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    ends = {"h1": "192.0.2.1", "h2": "192.0.2.2"}
    for name in ends:
        one.store.write(host_rules.create, name)

    def beat(cloud: Cloud, name: str) -> None:
        cloud.report(name, network_host=True, local_ip=IPv4Address(ends[name]))

    beat(other, "h1")
    network = other.network(network_type="vxlan")
    assert [h.name for h in one.store.read(dhcp_scheduler.hosts_serving, network.id)] == ["h1"]
    for _ in range(25):
        one.clock.now += 1
        beat(other, "h2")
        failover.watch(other.store)
        failover.watch(one.store)
    assert [h.name for h in other.store.read(dhcp_scheduler.hosts_serving, network.id)] == ["h2"]


def test_a_database_that_was_away_is_followed_again(
    tmp_path: Path, postgres: Cluster, connection: str
) -> None:
    cloud = open_cloud(tmp_path, connection=connection)
    heard: list[frozenset[str]] = []
    cloud.store.subscribe(heard.append)
    end = (
        b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lessor'"
    )
    postgres.execute("postgres", end)
    assert cloud.network(name="after").name == "after"
    assert [n.name for n in cloud.store.networks.find()] == ["after"]
    wait_for(lambda: EVERYONE in heard)
    wait_for(lambda: cloud.store.peers.keeps)
    cloud.store.close()


def test_a_read_whose_connection_breaks_is_refused_with_a_sentence(
    pair: tuple[Cloud, Cloud], postgres: Cluster
) -> None:
    store = pair[0].store

    def break_off(tx: ReadTx) -> None:
        pid = tx.conn.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        postgres.execute("postgres", f"SELECT pg_terminate_backend({pid})".encode())
        tx.conn.exec_driver_sql("SELECT 1")

    with pytest.raises(Unavailable, match="can't be read now"):
        store.read(break_off)
    assert store.networks.find() == []


def test_two_servers_that_start_together_make_the_tables_once(
    tmp_path: Path, postgres: Cluster
) -> None:
    url = postgres.url(postgres.blank())
    settings: ServerSettings = settings_in(tmp_path, connection=url)
    with ThreadPoolExecutor() as pool:
        stores = list(pool.map(lambda _: Store.open(settings), range(3)))
    assert len({store.epoch for store in stores}) == 1
    for store in stores:
        store.close()


def test_what_two_servers_check_at_once_is_granted_once(pair: tuple[Cloud, Cloud]) -> None:
    with ThreadPoolExecutor(2) as pool:
        for n in range(10):
            network = pair[0].network(None)
            block = f"10.{n}.0.0/16"
            asked = [pool.submit(cloud.subnet, network, block) for cloud in pair]
            errors = [one.exception() for one in asked]
            assert sorted(isinstance(error, Invalid) for error in errors) == [False, True]


def test_two_servers_choose_two_numbers(pair: tuple[Cloud, Cloud]) -> None:
    with ThreadPoolExecutor(2) as pool:
        made = [
            pool.submit(cloud.network, None, network_type="vxlan")
            for cloud in pair
            for _ in range(10)
        ]
        numbers = [one.result().segmentation_id for one in made]
    assert sorted(n or 0 for n in numbers) == list(range(1, 21))


def test_tokens_of_servers_that_are_long_gone_are_forgotten(pair: tuple[Cloud, Cloud]) -> None:
    one, other = pair
    other.network()
    now = time.time()
    tokens = {
        "writer long-gone": f"long-gone/7 {now - 2 * postgres.TOKENS_S:.0f}",
        "writer just-gone": f"just-gone/7 {now - 60:.0f}",
        "writer of-old-form": "of-old-form/7",
    }
    rows = [{"name": name, "value": value} for name, value in tokens.items()]
    one.store._writer.run(lambda tx: tx.conn.execute(meta.insert(), rows))
    one.wait(PURGE_S)
    with database.reading(one.store._engine) as conn:
        left = set(conn.execute(select(meta.c.name).where(meta.c.name.like("writer %"))).scalars())
    assert left == {
        "writer just-gone", f"writer {one.store.id}", f"writer {other.store.id}"
    }  # fmt: skip


def test_a_commit_whose_answer_was_lost_is_known_by_its_token(pair: tuple[Cloud, Cloud]) -> None:
    one = pair[0]
    writer = one.store._writer
    assert isinstance(writer, GroupWriter)
    transactions = writer._transactions
    assert isinstance(transactions, postgres.PostgresTransactions)
    one.network()
    assert transactions._is_written()
    transactions._count += 1
    transactions._token = f"{one.store.id}/{transactions._count}"
    assert not transactions._is_written()


def test_the_server_that_keeps_house_tells_the_compute_api_what_any_did(
    make_cloud: Callable[..., Cloud],
) -> None:
    nova = NovaSettings(endpoint_override="http://127.0.0.1:1/v2.1")
    one, other = make_cloud(nova=nova), make_cloud(nova=nova)
    vm = {"device_id": str(uuid.uuid4()), "device_owner": "compute:nova"}
    other.store.ports.delete(other.port(other.network(), **vm).id)
    assert (len(compute_events.due(one.store)), compute_events.due(other.store)) == (1, [])
    one.store.close()
    wait_for(lambda: compute_events.due(other.store))
