from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lessor.agent.host.run import run
from lessor.core.dns.zone import EVERY, Entry, Span, wire_name
from lessor.dnsd import checkpoints
from lessor.dnsd.table import LAYOUT, State, Table


def entry(n: int, name: str = "") -> Entry:
    return Entry(wire_name(name or f"vm{n}.novalocal"), bytes((10, 0, n >> 8, n & 255)))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(checkpoints, "PAUSE_S", 0.05)
    return tmp_path / "names.db"


def filled(path: Path, count: int = 3) -> tuple[Table, State]:
    table = Table(path)
    entries = [entry(n) for n in range(count)]
    return table, table.change(table.add("a"), (), entries, complete=True)


def found(table: Table, server: str, n: int, limit: int = 9) -> list[bytes]:
    state = table.state(server)
    assert state
    return list(table.names(state.id).addresses(entry(n).name, EVERY[4], limit))


def test_names_survive_the_process(path: Path) -> None:
    table, state = filled(path)
    table.close()
    again = Table(path)
    assert again.problem == ""
    assert again.states == [state]
    assert found(again, "a", 1) == [entry(1).address]
    assert again.names(state.id).name_of(entry(2).address) == entry(2).name
    assert again.names(state.id).name_of(b"\1\1\1\1") is None


def test_each_change_raises_the_revision(path: Path) -> None:
    table, state = filled(path)
    assert state.complete
    after = table.change(state, [entry(1)], [entry(9)], complete=False)
    assert after.revision > state.revision
    assert not after.complete
    assert found(table, "a", 1) == []
    assert found(table, "a", 9) == [entry(9).address]
    assert table.add("a") == after


def test_servers_do_not_know_each_others_names(path: Path) -> None:
    table, _ = filled(path)
    table.change(table.add("b"), (), [entry(7, "vm1.novalocal")], complete=True)
    assert found(table, "b", 1) == [entry(7).address]
    assert found(table, "a", 1) == [entry(1).address]


def test_the_first_name_of_an_address_is_its_name(path: Path) -> None:
    table, state = filled(path)
    other = entry(1, "other.novalocal")
    table.change(state, (), [other], complete=True)
    names = table.names(state.id)
    assert names.name_of(other.address) == entry(1).name
    table.change(state, [entry(1)], (), complete=True)
    assert names.name_of(other.address) == other.name
    assert names.addresses(other.name, EVERY[4], 9) == [other.address]


def test_a_name_without_a_domain_is_the_hosts_in_each(path: Path) -> None:
    table, state = filled(path)
    more = [entry(8, "vm1.example.org"), entry(1, "vm1.example.org")]
    table.change(state, (), more, complete=True)
    names = table.names(state.id)
    host = wire_name("vm1")
    assert names.addresses(host, EVERY[4], 9) == [entry(1).address, entry(8).address]
    assert names.addresses(host, Span(entry(5).address, entry(9).address), 9) == [entry(8).address]
    assert names.addresses(wire_name("vm1.example.org"), EVERY[4], 1) == [entry(1).address]
    assert names.addresses(host, EVERY[16], 9) == []
    assert names.has(host)
    assert names.has(wire_name("vm1.novalocal"))
    assert not names.has(wire_name("vm1.other"))


def test_a_deleted_servers_names_go_in_slices(path: Path) -> None:
    table, _ = filled(path, 25)
    table.drop("a")
    assert table.state("a") is None
    new = table.add("a")
    assert found(table, "a", 1) == []
    table.change(new, (), [entry(1)], complete=True)
    assert [table.clean(10) for _ in range(4)] == [True, True, True, False]
    assert found(table, "a", 1) == [entry(1).address]
    (count,) = table._disk.db.execute("SELECT count(*) FROM entry").fetchone()
    assert count == 1


def test_names_are_listed_in_pages(path: Path) -> None:
    table, state = filled(path, 25)
    pages, after = [], 0
    while True:
        page = table.page(state, after, 10)
        pages.append(len(page.entries))
        if page.next is None:
            break
        after = page.next
    assert pages == [10, 10, 5]


@pytest.mark.parametrize("damage", ["garbage", "layout", "cut", "no-table"])
def test_a_file_that_is_unusable_is_begun_again(path: Path, damage: str) -> None:
    table, _ = filled(path, 2000)
    table.close()
    if damage == "garbage":
        path.write_bytes(b"garbage" * 1000)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        db = sqlite3.connect(path)
        db.execute(
            "DROP TABLE server" if damage == "no-table" else f"PRAGMA user_version = {LAYOUT + 1}"
        )
        db.commit()
        db.close()
    again = Table(path)
    assert "begun again" in again.problem
    assert again.states == []
    assert again.add("a").revision == 0


def test_a_file_that_can_not_be_read_ends_the_process_and_is_begun_again(path: Path) -> None:
    table, _ = filled(path, 3000)
    until = time.monotonic() + 10
    while Path(f"{path}-wal").stat().st_size:
        assert time.monotonic() < until
        time.sleep(0.01)
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    table._disk.db.execute("PRAGMA shrink_memory")
    with pytest.raises(SystemExit, match="begun again"):
        [found(table, "a", n) for n in range(3000)]
    table.close()
    assert Table(path).states == []


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file on a disk of 1 MB."""
    run("mount", "-t", "tmpfs", "-o", "size=1m", "small", str(tmp_path))
    yield tmp_path / "names.db"
    run("umount", "--lazy", str(tmp_path))


@pytest.mark.lab
def test_names_for_which_the_disk_has_no_room_are_answered(small: Path) -> None:
    table, state = filled(small, 100)
    for at in range(100, 20_000, 400):
        entries = [entry(n) for n in range(at, at + 400)]
        state = table.change(state, (), entries, complete=True)
    assert "full" in table.problem
    for n in (5, 19_999):
        assert found(table, "a", n) == [entry(n).address]
    table.settle()
    assert "full" in table.problem, "there is still no room"
    run("mount", "-o", "remount,size=50m", str(small.parent))
    table.settle()
    assert table.problem == ""
    state = table.change(state, [entry(5)], [entry(30_000)], complete=True)
    table.close()
    again = Table(small)
    assert again.states == [state]
    assert found(again, "a", 19_999) == [entry(19_999).address]
    assert found(again, "a", 30_000) == [entry(30_000).address]
    assert found(again, "a", 5) == []
    again.close()


@pytest.mark.lab
def test_a_full_disk_at_the_start_loses_no_names(small: Path) -> None:
    table, _ = filled(small)
    table.close()
    with suppress(OSError), small.with_name("full").open("wb", buffering=0) as full:
        while full.write(bytes(4096)):
            pass
    started = Table(small)
    if started.states:
        assert found(started, "a", 1) == [entry(1).address]
    else:
        assert "names are in memory" in started.problem
    new = started.change(started.add("b"), (), [entry(7)], complete=True)
    assert found(started, "b", 7) == [entry(7).address]
    assert new.complete
    started.close()
    small.with_name("full").unlink()
    again = Table(small)
    assert again.problem == ""
    assert found(again, "a", 1) == [entry(1).address]
    again.close()


def test_what_was_written_is_copied_into_the_file(path: Path) -> None:
    table, _ = filled(path, 3000)
    log = Path(f"{path}-wal")
    until = time.monotonic() + 10
    while log.stat().st_size:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert path.stat().st_size > 100_000
    assert found(table, "a", 2999) == [entry(2999).address]
