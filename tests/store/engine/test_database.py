from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from lessor.errors import ConfigError, Unavailable
from lessor.store.engine import database, schema
from lessor.store.store import Store
from lessor.store.tables import metadata
from tests.store.store_cloud import SQLITE, Clock, Cloud, settings_in


def test_an_empty_folder_is_open_in_under_a_second(tmp_path: Path) -> None:
    start = time.process_time()  # of ours: the machine may be busy with others
    Store.open(settings_in(tmp_path / "new" / "state")).close()
    assert time.process_time() - start < 1


def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    store = Store.open(settings_in(tmp_path))
    files = list(tmp_path.glob("lessor.sqlite*"))
    assert len(files) == 4  # with its journal, its index, and where it is
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    store.close()


def test_what_was_written_is_there_again_under_the_same_epoch(cloud: Cloud) -> None:
    network = cloud.network(None, name="blue")
    cloud.store.close()
    again = Store.open(cloud.settings, Clock())
    assert again.networks.get(network.id) == network
    assert again.epoch == cloud.store.epoch
    again.close()


def test_two_databases_have_two_epochs(tmp_path: Path) -> None:
    one, other = (Store.open(settings_in(tmp_path / name)) for name in "ab")
    assert one.epoch != other.epoch
    one.close()
    other.close()


def test_migrations_and_tables_say_the_same(cloud: Cloud) -> None:
    with cloud.store._engine.connect() as conn:
        differences = compare_metadata(MigrationContext.configure(conn), metadata)
    assert differences == []


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD


@SQLITE
def test_writes_survive_a_power_cut_and_foreign_keys_hold(cloud: Cloud) -> None:
    with cloud.store._engine.connect() as conn:
        found = {
            name: conn.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_password_of_a_connection_is_not_repeated(tmp_path: Path) -> None:
    url = "oracle://lessor:secret@db/lessor"
    with pytest.raises(ConfigError, match="no driver oracle") as caught:
        Store.open(settings_in(tmp_path, connection=url))
    assert "secret" not in str(caught.value)


def test_a_connection_names_another_file(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.db"
    Store.open(settings_in(tmp_path / "state", connection=f"sqlite:///{file}")).close()
    assert file.exists()


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "lessor.sqlite").write_bytes(b"no database at all, but long enough to be one" * 99)
    with pytest.raises(Unavailable, match="can't open the database"):
        Store.open(settings_in(tmp_path))


@SQLITE
def test_tables_of_a_newer_lessor_are_left_alone(cloud: Cloud) -> None:
    cloud.store.close()
    with sqlite3.connect(cloud.settings.state_dir / database.FILE) as file:
        file.execute("UPDATE alembic_version SET version_num = '9999'")
    file.close()
    with pytest.raises(Unavailable, match="run the newer Lessor"):
        Store.open(cloud.settings)


def spoil(file: Path) -> None:
    file.write_bytes(b"no database" * 1000)


def outrun(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as conn:
        conn.execute("UPDATE alembic_version SET version_num = '9999'")


@SQLITE
@pytest.mark.parametrize("refuse", [spoil, outrun])
def test_a_database_that_is_refused_is_closed(refuse: Callable[[Path], None], cloud: Cloud) -> None:
    cloud.store.close()
    file = cloud.settings.state_dir / database.FILE
    refuse(file)
    with pytest.raises(Unavailable) as refused:  # holds all that was made until then
        Store.open(cloud.settings)
    held = [os.path.realpath(fd) for fd in Path("/proc/self/fd").iterdir()]
    assert str(file.resolve()) not in held, refused.value


@SQLITE
def test_another_program_may_read_while_we_write(cloud: Cloud) -> None:
    cloud.network()
    with sqlite3.connect(cloud.settings.state_dir / "lessor.sqlite") as other:
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM networks").fetchone() == (1,)
        cloud.network("10.1.0.0/24")
        assert other.execute("SELECT count(*) FROM networks").fetchone() == (1,)
    other.close()


def test_tunnel_ends_of_an_older_database_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "lessor.sqlite"
    config = Config()
    config.set_main_option("script_location", str(schema.FOLDER))
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as conn:
        config.attributes["connection"] = conn
        command.upgrade(config, "0002")
        conn.exec_driver_sql(
            "INSERT INTO hosts (name, id, token_hash, local_ip) VALUES "
            "('h', 'i', 't', 3221225991), ('g', 'j', 'u', NULL)"
        )
    engine.dispose()
    store = Store.open(settings_in(tmp_path))
    ends = {host.name: str(host.local_ip) for host in store.hosts.find()}
    assert ends == {"h": "192.0.2.7", "g": "None"}
    store.close()
