"""Servers in memory and on disk: what is read at a start, and what becomes of a damaged file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lessor.dhcpd.background import Background
from lessor.dhcpd.client import header_of
from lessor.dhcpd.database import Database
from lessor.dhcpd.messages import Entry
from lessor.dhcpd.served import Served
from lessor.dhcpd.servers import Servers
from tests.core.dhcp.client import reservation, server
from tests.dhcpd.lan import entry

HEADER = header_of(server())
Make = Callable[[], Servers]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return what reads the file, as a process that starts."""
    return lambda: Servers(Database(tmp_path / "table"), {HEADER.name: None}, Background())


def numbered(number: int, *options: tuple[str, str]) -> Entry:
    one = entry(reservation(number % 100, *options))
    address, mac = (number + 0x0A140000).to_bytes(4, "big"), number.to_bytes(6, "big")
    return msgspec.structs.replace(one, address=address, mac=mac, reservation=b"x" * 300)


def begun(make: Make, size: int) -> Servers:
    servers = make()
    served = servers.open(HEADER, None)
    servers.put(served, [numbered(number) for number in range(1, size + 1)])
    return servers


def only(servers: Servers) -> Served:
    (served,) = servers.by_name.values()
    return served


def finish(servers: Servers) -> int:
    """Let it do all that it has to; return in how many steps."""
    steps = 0
    while servers.busy:
        servers.work()
        steps += 1
        assert steps < 1000
    return steps


def test_nothing_is_read_at_a_start_and_all_in_steps(make: Make) -> None:
    begun(make, 1000)
    again = make()
    assert only(again).loaded == {}
    assert finish(again) == 6
    assert len(only(again).loaded) == 1000


def test_a_client_that_asks_is_looked_up(make: Make) -> None:
    begun(make, 1000)
    again = make()
    again.find(only(again), numbered(900).mac)
    assert list(only(again).loaded) == [numbered(900).address]
    again.find(only(again), b"nobody")
    finish(again)
    assert len(only(again).loaded) == 1000


def test_those_with_an_identifier_are_read_at_a_start(make: Make) -> None:
    servers = begun(make, 10)
    servers.put(only(servers), [numbered(11, ("client-id", "01:02"))])
    assert list(only(make()).table.by_client) == [b"\1\2"]


def test_what_was_changed_meanwhile_is_not_read_again(make: Make) -> None:
    begun(make, 1000)
    again = make()
    served = only(again)
    moved = msgspec.structs.replace(numbered(1), mac=b"\2" * 6)
    again.put(served, [moved])
    again.drop(served, [numbered(2).address])
    finish(again)
    assert served.loaded[moved.address].mac == moved.mac
    assert numbered(1).mac not in served.table.by_mac
    assert numbered(2).address not in served.loaded
    assert len(served.loaded) == 999


def test_reservations_of_a_closed_server_leave_the_disk(make: Make, tmp_path: Path) -> None:
    servers = begun(make, 1000)
    servers.close(only(servers))
    finish(servers)
    with sqlite3.connect(tmp_path / "table") as table:
        assert table.execute("SELECT count(*) FROM reservation").fetchone() == (0,)
    table.close()


def test_a_server_that_nobody_wants_leaves_the_disk(make: Make, tmp_path: Path) -> None:
    begun(make, 1000)
    finish(Servers(Database(tmp_path / "table"), {}, Background()))
    assert make().by_name == {}
    with sqlite3.connect(tmp_path / "table") as table:
        assert table.execute("SELECT count(*) FROM reservation").fetchone() == (0,)
    table.close()


def test_a_damage_that_is_found_later_costs_no_service(make: Make, tmp_path: Path) -> None:
    begun(make, 1000)
    Database(tmp_path / "table").checkpoint()
    file = tmp_path / "table"
    content = bytearray(file.read_bytes())
    content[20 * 4096 :] = b"\xa5" * (len(content) - 20 * 4096)
    file.write_bytes(content)
    again = make()
    finish(again)
    assert "damaged" in again.problem
    assert not file.exists()
    served = only(again)
    assert "not on disk yet" in again.put(served, [numbered(5000)])
    assert numbered(5000).address in served.loaded
    again.save_all()


def test_a_change_that_could_not_be_written_is_written_later(make: Make, tmp_path: Path) -> None:
    servers = begun(make, 1)
    other = sqlite3.connect(tmp_path / "table", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    served = only(servers)
    assert "locked" in servers.put(served, [numbered(2)])
    assert "locked" in servers.drop(served, [numbered(1).address])
    assert servers.put(served, [numbered(3)])
    other.execute("ROLLBACK")
    other.close()
    finish(servers)
    assert servers.texts(served, b"", 10)[0].keys() == {n.address for n in map(numbered, (2, 3))}
    servers.save_all()
    assert served.unsaved == {}
    again = make()
    finish(again)
    assert set(only(again).loaded) == {numbered(2).address, numbered(3).address}
    assert only(again).revision == served.revision
