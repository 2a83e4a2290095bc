"""The file of an SQLite database: damaged, lost, replaced, copied."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

from lessor.errors import Conflict, Unavailable
from lessor.settings import ServerSettings
from lessor.store.engine import database, place, schema, sqlite, upkeep
from lessor.store.store import Store
from tests.store.store_cloud import Clock, Cloud, open_cloud, settings_in

PAGE = 4096


@pytest.fixture
def used(tmp_path: Path) -> ServerSettings:
    """A database of 2,000 ports whose server has ended, and where it is known to be."""
    cloud = open_cloud(tmp_path / "state")
    cloud.host("h1", network_host=True)
    network = cloud.network("10.0.0.0/16", host="h1")
    for _ in range(4):
        cloud.store.ports.create([{"network_id": network.id} for _ in range(500)])
    cloud.store.close()
    return cloud.settings


def file_of(settings: ServerSettings) -> Path:
    return settings.state_dir / database.FILE


def page_of(file: Path, name: str) -> int:
    """Return the number of the first page of a table or an index."""
    with closing(sqlite3.connect(file)) as conn:
        query = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        return int(conn.execute(query, (name,)).fetchone()[0])


def overwrite(file: Path, page: int) -> None:
    with file.open("r+b") as opened:
        opened.seek((page - 1) * PAGE)
        opened.write(b"\xa5" * PAGE)


def cut_off(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 1500)


def halve(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def overwrite_ports(file: Path) -> None:
    overwrite(file, page_of(file, "ports"))


def overwrite_an_index(file: Path) -> None:
    overwrite(file, page_of(file, "ix_ports_binding_host"))


def overwrite_the_head(file: Path) -> None:
    overwrite(file, 1)


@pytest.mark.parametrize(
    "damage", [cut_off, halve, overwrite_ports, overwrite_an_index, overwrite_the_head]
)
def test_a_damaged_file_is_refused_at_the_start(
    used: ServerSettings, damage: Callable[[Path], None]
) -> None:
    file = file_of(used)
    damage(file)
    before = file.read_bytes()
    with pytest.raises(Unavailable, match=r"lessor\.sqlite: it is damaged") as caught:
        Store.open(used)
    assert "put a back-up in its place" in str(caught.value)
    assert file.read_bytes() == before
    assert [finding.rule for finding in upkeep.check(used)] == ["file"]
    with pytest.raises(Unavailable):
        upkeep.new(used)  # what can be read of it must not be thrown away


def empty(file: Path) -> None:
    os.truncate(file, 0)


def without_tables(file: Path) -> None:
    """As a file is whose -wal was lost before anything was moved from there."""
    file.unlink()
    with closing(sqlite3.connect(file)) as conn:
        conn.execute("PRAGMA journal_mode=WAL")
    assert file.stat().st_size == PAGE


@pytest.mark.parametrize(
    ("lose", "how"),
    [(Path.unlink, "is missing"), (empty, "is empty"), (without_tables, "has no tables")],
)
def test_a_lost_database_is_not_begun_again_without_a_word(
    used: ServerSettings, lose: Callable[[Path], None], how: str
) -> None:
    file = file_of(used)
    lose(file)
    with pytest.raises(Unavailable, match=f"{how}.*`lessor db new`"):
        Store.open(used)
    [finding] = upkeep.check(used)
    assert how in finding.words
    assert upkeep.new(used)
    store = Store.open(used)
    assert store.ports.find() == []
    store.close()


def test_no_new_database_is_made_over_one(used: ServerSettings) -> None:
    with pytest.raises(Conflict, match="move it away first"):
        upkeep.new(used)
    assert len(Store.open(used).ports.find()) == 2000


def test_a_first_database_needs_no_word(tmp_path: Path) -> None:
    assert upkeep.new(settings_in(tmp_path / "one"))
    Store.open(settings_in(tmp_path / "two")).close()


# --- while a server runs --------------------------------------------------------------------------


def replace_it(file: Path) -> None:
    fresh = file.with_name("fresh")
    shutil.copy(file, fresh)
    fresh.replace(file)


@pytest.mark.parametrize(("do", "how"), [(Path.unlink, "removed"), (replace_it, "replaced by")])
def test_nothing_is_written_to_a_file_that_is_not_there_any_more(
    tmp_path: Path, do: Callable[[Path], None], how: str
) -> None:
    cloud = open_cloud(tmp_path)
    network = cloud.network()
    do(file_of(cloud.settings))
    for _ in range(2):
        with pytest.raises(Unavailable, match=f"was {how}.*stop the server"):
            cloud.port(network)
    cloud.store.close()


def test_that_is_logged_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cloud = open_cloud(tmp_path)
    file_of(cloud.settings).unlink()
    for _ in range(3):
        with pytest.raises(Unavailable):
            cloud.network()
    assert "".join(capsys.readouterr()).count("writes refused") == 1
    cloud.store.close()


# --- back-ups -------------------------------------------------------------------------------------


def test_a_back_up_is_one_whole_file_that_only_its_owner_reads(
    used: ServerSettings, tmp_path: Path
) -> None:
    target = tmp_path / "backup"
    assert upkeep.backup(used, target) == target.stat().st_size
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "state"]
    with closing(sqlite3.connect(f"file:{target}?mode=ro&immutable=1", uri=True)) as conn:
        assert conn.execute("SELECT count(*) FROM ports").fetchone() == (2000,)
        assert conn.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_back_up_under_load_sees_one_state(tmp_path: Path) -> None:
    """Networks are made with their subnets, two of a kind: never one without the other."""
    cloud = open_cloud(tmp_path / "state")
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            cloud.store.networks.create([{"name": "a"}, {"name": "b"}])

    thread = threading.Thread(target=write)
    thread.start()
    try:
        counts = []
        while not cloud.store.networks.find():
            pass
        for n in range(5):
            upkeep.backup(cloud.settings, tmp_path / f"backup{n}")
            with closing(sqlite3.connect(tmp_path / f"backup{n}")) as conn:
                rows = conn.execute("SELECT name, count(*) FROM networks GROUP BY name").fetchall()
            assert len({count for _, count in rows}) == 1
            counts.append(rows[0][1])
    finally:
        ended.set()
        thread.join()
    assert counts == sorted(counts)
    cloud.store.close()


def test_nothing_is_written_over_without_a_word(used: ServerSettings, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    target.write_text("precious")
    with pytest.raises(Conflict, match="--force"):
        upkeep.backup(used, target)
    assert target.read_text() == "precious"
    upkeep.backup(used, target, force=True)
    with pytest.raises(Conflict, match="there already"):
        upkeep.backup(used, file_of(used), force=True)


def test_a_damaged_database_is_not_backed_up_over_a_good_copy(
    used: ServerSettings, tmp_path: Path
) -> None:
    target = tmp_path / "backup"
    upkeep.backup(used, target)
    good = target.read_bytes()
    overwrite_ports(file_of(used))
    with pytest.raises(Unavailable, match="damaged"):
        upkeep.backup(used, target, force=True)
    assert target.read_bytes() == good
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_back_up_that_can_not_be_written_is_said(used: ServerSettings, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nowhere/backup: No such file"):
        upkeep.backup(used, tmp_path / "nowhere" / "backup")
    with pytest.raises(Unavailable, match="there is no database"):
        upkeep.backup(settings_in(tmp_path / "other"), tmp_path / "backup")


def test_a_back_up_of_postgresql_is_its_own(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, connection="postgresql+psycopg://db/lessor")
    with pytest.raises(Conflict, match="pg_dump"):
        upkeep.backup(settings, tmp_path / "backup")


def test_a_back_up_that_is_put_back_at_once_is_noticed(
    used: ServerSettings, tmp_path: Path
) -> None:
    upkeep.backup(used, tmp_path / "backup")
    shutil.copy(tmp_path / "backup", file_of(used))
    store = Store.open(used)
    with closing(sqlite3.connect(tmp_path / "backup")) as conn:
        [[before]] = conn.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchall()
    assert store.epoch != before
    store.close()


# --- migrations -----------------------------------------------------------------------------------


def older(folder: Path, version: str) -> ServerSettings:
    settings = settings_in(folder)
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))

    def migrate(conn: Connection) -> None:
        config.attributes["connection"] = conn
        conn.exec_driver_sql("BEGIN")
        command.upgrade(config, version)
        conn.exec_driver_sql("INSERT INTO meta (name, value) VALUES ('epoch', 'old')")
        conn.exec_driver_sql("INSERT INTO counter (id, revision) VALUES (1, 7)")
        conn.exec_driver_sql("COMMIT")

    engine = sqlite.engine(file_of(settings))
    with engine.connect() as conn:
        migrate(conn)
    engine.dispose()
    return settings


def test_a_copy_is_made_before_tables_change_and_it_is_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = older(tmp_path, "0012")
    Store.open(settings).close()
    copied = tmp_path / "lessor.sqlite-before-0012"
    with closing(sqlite3.connect(copied)) as conn:
        assert conn.execute("SELECT version_num FROM alembic_version").fetchone() == ("0012",)
        assert conn.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone() == ("old",)
    said = "".join(capsys.readouterr())
    assert "tables brought up to date" in said
    assert str(copied) in said
    assert stat.S_IMODE(copied.stat().st_mode) == 0o600
    Store.open(settings).close()
    assert "tables brought up to date" not in "".join(capsys.readouterr())


def test_an_upgrade_makes_nobody_wait_for_addresses(tmp_path: Path) -> None:
    """Hosts of the former version say nothing of holdings, and no epoch begins: none is awaited."""
    settings = older(tmp_path, "0012")
    with closing(sqlite3.connect(file_of(settings))) as conn, conn:
        conn.execute("INSERT INTO meta (name, value) VALUES ('place', 'here')")
        conn.execute(
            "INSERT INTO hosts (name, id, token_hash, heartbeat_at) VALUES ('h1', '1', 'x', 1)"
        )
    place.beside(file_of(settings)).write_text("here\n")  # the whole note of that version
    store = Store.open(settings)
    assert store.epoch == "old"
    cloud = Cloud(store, Clock(), settings)
    assert cloud.port(cloud.network(), "h1").fixed_ips
    store.close()


def test_an_upgrade_takes_pools_for_projects_unless_an_administrator_shared_them(
    tmp_path: Path,
) -> None:
    settings = older(tmp_path, "0021")
    added = (
        "INSERT INTO subnetpools "
        "(id, min_prefixlen, default_prefixlen, max_prefixlen, shared, is_default) "
        "VALUES (?, 8, 8, 32, ?, ?)"
    )
    with closing(sqlite3.connect(file_of(settings))) as conn, conn:
        conn.executemany(added, [("own", 0, 0), ("all", 1, 0), ("first", 0, 1)])
    store = Store.open(settings)
    assert {pool.id for pool in store.subnetpools.find() if pool.by_project} == {"own"}
    store.close()


def test_without_room_for_the_copy_nothing_changes(tmp_path: Path) -> None:
    settings = older(tmp_path, "0012")
    blocked = tmp_path / ".lessor.sqlite-before-0012.new"
    blocked.mkdir()  # root may write anywhere, but not a file over a folder
    with pytest.raises(Unavailable, match="can't copy .*before-0012: Is a directory"):
        Store.open(settings)
    with closing(sqlite3.connect(file_of(settings))) as conn:
        assert conn.execute("SELECT version_num FROM alembic_version").fetchone() == ("0012",)
