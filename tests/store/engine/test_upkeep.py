"""A whole database: looked through, brought up to date, copied, restored."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError

from lessor.errors import Conflict
from lessor.model import Report, ViewRequest
from lessor.settings import NovaSettings
from lessor.store import views
from lessor.store.engine import database, integrity, postgres, schema, sqlite, upkeep
from lessor.store.engine.tx import UNSTAMPED
from lessor.store.hosts import reports
from lessor.store.hosts import rules as host_rules
from lessor.store.ports import compute_events
from lessor.store.store import Store
from lessor.store.tables import (
    address_pairs,
    addresses,
    counter,
    holds,
    host_blocks,
    leases,
    meta,
    metadata,
    networks,
    nova_events,
    pools,
    ports,
    prefixes,
    runs,
    subnets,
)
from tests.postgres import Cluster
from tests.store.store_cloud import SQLITE, Clock, Cloud, by, ip_of, settings_in

VM = "5b0e4a52-6c2b-4c0a-9a0e-3f1f3f0f7a11"


def rules(cloud: Cloud) -> list[str]:
    return [finding.rule for finding in upkeep.check(cloud.settings)]


def damage(cloud: Cloud, statement: Any) -> None:
    """Write what no server would write."""

    def job(conn: Connection) -> None:
        if cloud.settings.connection:
            conn.exec_driver_sql("SET session_replication_role = replica")
        else:
            conn.exec_driver_sql("PRAGMA foreign_keys=OFF")
        conn.execute(statement)

    with cloud.store._engine.connect() as conn:
        job(conn)
        conn.invalidate()


@pytest.fixture
def busy(cloud: Cloud) -> Cloud:
    """A store with something of everything."""
    cloud.host("h1", network_host=True)
    network = cloud.network(host="h1")
    port = cloud.port(network, "h1", name="vm")
    gone = cloud.port(network, "h1")
    cloud.lease("h1", "add", port, expires_at=9e9)
    cloud.lease("h1", "add", gone, expires_at=9e9)
    cloud.store.ports.delete(gone.id)
    cloud.port(network, address="10.0.0.77")
    cloud.store.instances.create([{"id": "i1", "name": "vm"}])
    return cloud


def test_a_store_that_was_only_used_has_nothing_wrong(busy: Cloud) -> None:
    assert rules(busy) == []


HERE = addresses.c.address == IPv4Address("10.0.0.77")
LEASED = addresses.c.address == IPv4Address("10.0.0.2")


@pytest.mark.parametrize(
    ("rule", "statement"),
    [
        ("allocation-without-port", update(addresses).where(HERE).values(port_id="nobody")),
        ("address-without-subnet", update(addresses).where(HERE).values(subnet_id="none")),
        (
            "address-outside-subnet",
            update(addresses).where(HERE).values(address=IPv4Address("10.9.0.1")),
        ),
        ("address-in-two-states", update(addresses).where(HERE).values(freed_seq=1)),
        ("lease-without-address", delete(addresses).where(LEASED)),
        ("leased-and-free", update(addresses).where(LEASED).values(freed_seq=1, port_id=None)),
        ("pool-outside-subnet", update(pools).values(last=IPv4Address("10.9.0.1"))),
        ("port-on-wrong-segment", update(ports).values(segment="flat:elsewhere")),
        ("network-without-wire", update(networks).values(physical_network=None)),
        ("revision-of-the-future", update(ports).values(revision=1 << 40)),
        ("hold-without-revision", update(holds).values(revision=UNSTAMPED)),
        ("epoch", delete(meta).where(meta.c.name == "epoch")),
        ("counter", delete(counter)),
    ],
)
def test_what_is_wrong_is_found(busy: Cloud, rule: str, statement: Any) -> None:
    damage(busy, statement)
    with database.reading(busy.store._engine) as conn:
        found = integrity.check(conn, busy.clock.now)
    assert rule in {finding.rule for finding in found}
    assert all(finding.words and finding.id for finding in found)


def lease_to(cloud: Cloud, mac_address: str, **values: Any) -> None:
    """Note a lease of the VM's address to another MAC, which no host is believed."""
    [port] = cloud.store.ports.find(by(name="vm"))
    with database.reading(cloud.store._engine) as conn:
        vms = leases.c.mac_address == port.mac_address
        row = dict(conn.execute(select(leases).where(vms)).one()._mapping)
    rival = {"id": "rival", "mac_address": mac_address}
    damage(cloud, insert(leases).values(**row | rival | values))


def test_two_live_leases_of_one_address_are_found(busy: Cloud) -> None:
    """It was given to two MACs: whoever is served second is a duplicate."""
    [port] = busy.store.ports.find(by(name="vm"))
    lease_to(busy, "fa:16:3e:99:99:99", expires_at=9e9)
    with database.reading(busy.store._engine) as conn:
        [finding] = integrity.check(conn, busy.clock.now)
    assert (finding.rule, str(ip_of(port)) in finding.id) == ("leased-to-two", True)
    assert port.mac_address in finding.words
    assert "fa:16:3e:99:99:99" in finding.words


@pytest.mark.parametrize("rival", ["00:00:00:00:00:01", "fe:ff:ff:ff:ff:ff"])
@pytest.mark.parametrize("over", ["expired", "ended"])
def test_a_lease_that_is_over_makes_no_second_one(busy: Cloud, rival: str, over: str) -> None:
    ended = busy.clock.now if over == "ended" else None
    lease_to(busy, rival, expires_at=busy.clock.now + 60, ended_at=ended)

    def found(at: float) -> list[str]:
        with database.reading(busy.store._engine) as conn:
            return [one.rule for one in integrity.check(conn, at)]

    assert found(busy.clock.now + 59) == (["leased-to-two"] if over == "expired" else [])
    assert found(busy.clock.now + 61) == []


def test_overlapping_subnets_and_pools_are_found(busy: Cloud) -> None:
    with database.reading(busy.store._engine) as conn:
        subnet = dict(conn.execute(select(subnets)).one()._mapping)
        pool = dict(conn.execute(select(pools).limit(1)).one()._mapping)
    damage(busy, insert(subnets).values(**subnet | {"id": "other"}))
    damage(busy, insert(pools).values(**pool | {"first": pool["first"] + 1}))
    assert {"subnets-overlap", "pools-overlap"} <= set(rules(busy))


@SQLITE
def test_a_reference_to_nothing_is_found_in_a_file(busy: Cloud) -> None:
    damage(busy, update(ports).values(network_id="none"))
    assert "reference" in rules(busy)


# --- restored -------------------------------------------------------------------------------------


def test_a_restored_database_has_another_epoch(busy: Cloud) -> None:
    before = busy.store.epoch
    busy.store.close()
    assert upkeep.restored(busy.settings) != before
    again = Store.open(busy.settings, Clock())
    assert again.epoch != before
    again.close()


@SQLITE
def test_a_file_that_was_put_in_place_of_another_is_noticed(busy: Cloud) -> None:
    before = busy.store.epoch
    cursors = dict.fromkeys(views.answer(busy.store, "h1", ViewRequest()).scopes, 1)
    busy.store.close()
    file = busy.settings.state_dir / database.FILE
    backup = file.with_suffix(".backup")
    shutil.copy(file, backup)
    Store.open(busy.settings, Clock()).close()
    shutil.copy(backup, file)
    again = Store.open(busy.settings, Clock())
    assert again.epoch != before
    answer = views.answer(again, "h1", ViewRequest(epoch=before, cursors=cursors))
    assert all(scope.whole for scope in answer.scopes.values())
    again.close()


def test_a_copy_of_a_postgresql_database_is_noticed(
    busy: Cloud, request: pytest.FixtureRequest
) -> None:
    if not busy.settings.connection:
        pytest.skip("its copies are files")
    server: Cluster = request.getfixturevalue("postgres")
    before = busy.store.epoch
    busy.store.close()
    name = busy.settings.connection.partition("@/")[2].partition("?")[0]
    server.leave(name)
    copied = server.blank(template=name)
    again = Store.open(settings_in(busy.settings.state_dir, connection=server.url(copied)))
    assert again.epoch != before
    again.close()


# --- copied ---------------------------------------------------------------------------------------


def rows_of(cloud: Cloud) -> dict[str, list[tuple[Any, ...]]]:
    with database.reading(cloud.store._engine) as conn:
        return {
            table.name: sorted((tuple(row) for row in conn.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
            if table not in {meta, runs}  # a server started since
        }


@SQLITE
def test_a_copy_on_postgresql_has_all_rows_and_goes_on(
    busy: Cloud, postgres: Cluster, tmp_path: Path
) -> None:
    told = {"name": "network-changed", "server_uuid": VM, "port_id": "p", "made_at": 1.0}
    damage(busy, insert(nova_events).values(**told))
    before = rows_of(busy)
    busy.store.close()
    nova = NovaSettings(endpoint_override="http://127.0.0.1:1/v2.1")
    target = settings_in(tmp_path / "new", connection=postgres.url(postgres.blank()), nova=nova)
    assert upkeep.copy(busy.settings, target) >= sum(map(len, before.values()))
    new = Cloud(Store.open(target, busy.clock), busy.clock, target)
    assert rows_of(new) == before
    assert new.store.epoch == busy.store.epoch
    assert upkeep.check(target) == []
    port = new.store.ports.find()[0]
    network = new.store.networks.get(port.network_id)
    assert new.port(network).revision > max(row[0] for row in before["counter"])
    new.store.ports.delete(port.id)
    of_vm = new.port(network, device_id=VM, device_owner="compute:nova")
    assert ip_of(of_vm) != ip_of(port)
    new.store.ports.delete(of_vm.id)
    assert len(compute_events.due(new.store)) == 2
    new.store.close()


@SQLITE
def test_nothing_is_copied_over_what_is_there(
    busy: Cloud, postgres: Cluster, tmp_path: Path
) -> None:
    with postgres.database() as name:
        target = settings_in(tmp_path / "new", connection=postgres.url(name))
        store = Store.open(target)
        store.write(host_rules.create, "mine")
        store.close()
        with pytest.raises(Conflict, match="hosts already"):
            upkeep.copy(busy.settings, target)


# --- brought up to date ---------------------------------------------------------------------------


def older_versions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))
    walked = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in walked][1:]


def to_version(conn: Connection, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))
    config.attributes["connection"] = conn
    conn.exec_driver_sql("BEGIN")
    command.upgrade(config, version)
    conn.exec_driver_sql("COMMIT")


_ROWS = """
INSERT INTO counter (id, revision) VALUES (1, 7);
INSERT INTO meta (name, value) VALUES ('epoch', 'old');
INSERT INTO hosts (name, id, token_hash, run_id, in_sync) VALUES ('h1', 'a', 'b', 'r', true);
INSERT INTO networks (id, network_type, physical_network, mtu, host, revision)
  VALUES ('n1', 'flat', 'physnet1', 1500, 'h1', 3);
INSERT INTO subnets (id, network_id, first, prefix, last, gateway_ip, revision)
  VALUES ('s1', 'n1', 167772160, 24, 167772415, 167772161, 4);
INSERT INTO pools (subnet_id, first, last, next_fresh)
  VALUES ('s1', 167772162, 167772414, 167772163);
INSERT INTO ports (id, network_id, segment, mac_address, binding_host, revision)
  VALUES ('p1', 'n1', 'flat:physnet1', 'fa:16:3e:00:00:01', 'h1', 5);
INSERT INTO addresses (network_id, address, subnet_id, port_id)
  VALUES ('n1', 167772162, 's1', 'p1');
INSERT INTO leases (id, network_id, host, address, mac_address, port_id, expires_at)
  VALUES ('l1', 'n1', 'h1', 167772162, 'fa:16:3e:00:00:01', 'p1', 9000000000);
INSERT INTO tombstones (network_id, revision, kind, id) VALUES ('n1', 6, 'port', 'p0');
INSERT INTO instances (id, name) VALUES ('i1', 'vm')
"""


def fill(conn: Connection) -> None:
    """Write rows as the first version had them."""
    for statement in _ROWS.strip().split(";\n"):
        conn.exec_driver_sql(statement)


@pytest.fixture
def blank(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Return `[database] connection` of a database without tables."""
    if engine == "sqlite":
        return f"sqlite:///{tmp_path / 'old.sqlite'}"
    server: Cluster = request.getfixturevalue("postgres")
    return server.url(server.blank())


@pytest.mark.parametrize("version", older_versions())
def test_a_database_of_an_older_version_goes_on_with_its_rows(
    blank: str, tmp_path: Path, version: str
) -> None:
    made = postgres.engine(blank) if "postgres" in blank else sqlite.engine(Path(blank[10:]))
    with made.connect() as conn:
        to_version(conn, "0001")
        fill(conn)
        to_version(conn, version)
    made.dispose()
    settings = settings_in(tmp_path, connection=blank)
    store = Store.open(settings)
    assert [host.name for host in store.hosts.find()] == ["h1"]
    assert store.ports.get("p1").fixed_ips[0].address == IPv4Address("10.0.0.2")
    assert store.leases.get("l1").port_id == "p1"
    port = store.ports.create([{"network_id": "n1", "binding_host": "h1"}])[0]
    assert (ip_of(port), port.revision) == (IPv4Address("10.0.0.3"), 8)
    reports.receive(store, "h1", Report(run_id="r", started_at=1.0))
    assert "n1" in views.answer(store, "h1", ViewRequest()).scopes
    store.ports.delete("p1")
    store.close()
    assert upkeep.check(settings) == []


_NUMBERS = """
INSERT INTO subnetpools (id, min_prefixlen, default_prefixlen, max_prefixlen) VALUES ('b', 8, 8, 8);
INSERT INTO prefixes (subnetpool_id, first, prefix, last) VALUES ('b', 0, 0, 4294967295);
UPDATE subnets SET subnetpool_id = 'b', dhcp_server = 167772416;
INSERT INTO pools (subnet_id, first, last, next_fresh)
  VALUES ('s1', 4294967290, 4294967295, 4294967296);
INSERT INTO address_pairs (port_id, first, last, segment)
  VALUES ('p1', 167772162, 3221225985, 'flat:physnet1');
INSERT INTO host_blocks (host, position, first, last, prefix) VALUES ('h1', 0, 1, 2, 32);
INSERT INTO holds (network_id, address, host, revision) VALUES ('n1', 2130706433, 'h1', 4)
"""
_ADDRESSES = {
    prefixes: [{"first": "0.0.0.0", "last": "255.255.255.255"}],
    subnets: [
        {
            "first": "10.0.0.0",
            "last": "10.0.0.255",
            "gateway_ip": "10.0.0.1",
            "dhcp_server": "10.0.1.0",
        }
    ],
    pools: [
        {"first": "10.0.0.2", "last": "10.0.0.254", "next_fresh": "10.0.0.3"},
        {"first": "255.255.255.250", "last": "255.255.255.255", "next_fresh": "None"},
    ],
    address_pairs: [{"first": "10.0.0.2", "last": "192.0.2.1"}],
    host_blocks: [{"first": "0.0.0.1", "last": "0.0.0.2"}],
    holds: [{"address": "127.0.0.1"}],
    addresses: [{"address": "10.0.0.2"}],
    leases: [{"address": "10.0.0.2"}],
}


def keys_of(conn: Connection) -> list[str]:
    """Return the indexes and constraints of tables that had numbers for addresses."""
    at = inspect(conn)
    return [
        f"{table.name} {get(table.name)}"
        for table in _ADDRESSES
        for get in (at.get_pk_constraint, at.get_foreign_keys, at.get_check_constraints)
    ] + [
        f"{table.name} {one['name']} {one['column_names']} {one['unique']} "
        + " ".join(map(str, one.get("dialect_options", {}).values()))
        for table in _ADDRESSES
        for one in at.get_indexes(table.name)
    ]


def test_addresses_that_were_numbers_are_the_same_as_keys(blank: str) -> None:
    made = postgres.engine(blank) if "postgres" in blank else sqlite.engine(Path(blank[10:]))
    with made.connect() as conn:
        to_version(conn, "0001")
        fill(conn)
        to_version(conn, "0023")
        for statement in _NUMBERS.strip().split(";\n"):
            conn.exec_driver_sql(statement)
        before = keys_of(conn)
        to_version(conn, "0024")
        assert keys_of(conn) == before
        for table, expected in _ADDRESSES.items():
            columns = [table.c[name] for name in expected[0]]
            rows = conn.execute(select(*columns).order_by(columns[0])).all()
            assert [{k: str(v) for k, v in row._asdict().items()} for row in rows] == expected
        backwards = {"first": IPv4Address(2), "last": IPv4Address(1)}
        with pytest.raises(IntegrityError):
            conn.execute(insert(pools).values(subnet_id="s1", **backwards))
    made.dispose()


def test_an_upgrade_says_the_version(make_cloud: Callable[..., Cloud]) -> None:
    settings = make_cloud().settings
    assert upkeep.upgrade(settings).version == schema.HEAD


@SQLITE
def test_a_backup_of_a_running_store_is_whole(busy: Cloud, tmp_path: Path) -> None:
    """As the how-to has it: sqlite3's own online backup."""
    copied = tmp_path / "copy"
    copied.mkdir()
    with (
        sqlite3.connect(busy.settings.state_dir / database.FILE) as source,
        sqlite3.connect(copied / database.FILE) as target,
    ):
        source.backup(target)
    source.close()
    target.close()
    settings = settings_in(copied)
    assert upkeep.check(settings) == []
    again = Store.open(settings, busy.clock)
    assert [port.id for port in again.ports.find()] == [port.id for port in busy.store.ports.find()]
    assert again.epoch != busy.store.epoch
    again.close()
