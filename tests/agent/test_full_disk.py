"""Whatever file of its folder an agent can't write, it goes on; with room again nothing is amiss.

On a real disk (a tmpfs) that is really full.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lessor.agent.host import unwritten
from lessor.agent.host.journal import Journal
from lessor.agent.leases.inbox import Inbox
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.served_blocks import ServedBlocks
from lessor.agent.leases.spool import Spool
from lessor.agent.server.identity import RunId
from lessor.agent.server.viewstore import StoredView, ViewStore
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpRange, DhcpServer
from lessor.errors import Unavailable
from lessor.model import Network, Port, ScopeChange, View, ViewAnswer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a disk")
NOW = 1000.0


class Disk:
    """A small disk that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        self._filler.touch()

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                return

    def free(self) -> None:
        self._filler.write_bytes(b"")
        unwritten.retry()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=True)
    try:
        made = Disk(tmp_path)
        yield made
        made.free()
        assert unwritten.problems() == []
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


def answer(revision: int, *ports: str, whole: bool = False) -> ViewAnswer:
    change = ScopeChange(
        whole=whole,
        network=Network(id="n") if whole else None,
        ports=tuple(Port(id=p, network_id="n", mac_address="fa:16:3e:00:00:01") for p in ports),
    )
    return ViewAnswer(epoch="e", revision=revision, scopes={"n": change})


def taken(store: ViewStore, stored: StoredView, *answers: ViewAnswer) -> StoredView:
    for one in answers:
        stored = stored.after(one)
        store.append(one, stored)
    return stored


def ports(folder: Path) -> set[str]:
    stored = ViewStore(folder).load()
    return set(stored.view.scopes["n"].ports) if stored else set()


@pytest.mark.parametrize("before", [1, 5, 11, 16])
def test_a_view_that_could_not_be_written_is_whole_again_with_room(disk: Disk, before: int) -> None:
    """The log's last page has room for some lines, and for a part of one."""
    store = ViewStore(disk.folder)
    known = [f"known-{number}" for number in range(before)]
    stored = taken(store, StoredView(view=View()), answer(1, whole=True))
    stored = taken(store, stored, *(answer(2, name) for name in known))
    disk.fill()
    names = [f"port-{number:04}" for number in range(60)]
    stored = taken(store, stored, *(answer(4 + n, name) for n, name in enumerate(names)))
    assert any("is full: changes are not kept" in one for one in unwritten.problems())
    assert set(known) <= ports(disk.folder)

    again = ViewStore(disk.folder)  # an agent that is started on the full disk
    loaded = again.load()
    assert loaded is not None
    again.save(loaded)
    disk.free()
    again.save(stored)
    taken(again, stored, answer(100, "last"))
    assert ports(disk.folder) == {*known, *names, "last"}


def test_a_run_that_can_not_write_its_id_names_the_runs_before(disk: Disk) -> None:
    first = RunId(disk.folder)
    first.confirm()
    disk.fill()
    second = RunId(disk.folder)
    assert (second.confirmed, second.unconfirmed) == (first.value, ())
    third = RunId(disk.folder)
    assert (third.confirmed, third.unconfirmed) == (first.value, (second.value,))
    third.confirm()
    disk.free()
    assert RunId(disk.folder).confirmed == third.value


def test_blocks_are_remembered_in_memory_and_written_later(disk: Disk) -> None:
    file = disk.folder / "blocks.json"
    first = IPv4Address("10.0.0.1")
    block = DhcpRange("s", "n", IPv4Network("10.0.0.0/24"), first, first, None, 1500, (), (), "")
    where = ServedBlocks(file)
    disk.fill()
    where.add([DhcpServer("br100", "br100", (block,), {})])
    assert where.network_of("br100", first) == "n"
    disk.free()
    assert ServedBlocks(file).network_of("br100", first) == "n"


def test_what_can_not_be_noted_is_not_begun_and_what_is_over_stays_over(disk: Disk) -> None:
    journal = Journal(disk.folder / "bridges.json")
    journal.note("br0", {"index": 1})
    journal.note("br1", {"index": 2})
    disk.fill()
    with pytest.raises(Unavailable, match=r"bridges.json can't be written .*free some space"):
        journal.note("br2", {"index": 3})
    journal.clear("br1")
    assert journal.read() == {"br0": {"index": 1}}
    disk.free()
    assert Journal(disk.folder / "bridges.json").read() == {"br0": {"index": 1}}


def test_a_lease_table_that_can_not_be_written_holds_up_no_dhcp_server(disk: Disk) -> None:
    lease = LiveLease(IPv4Address("10.0.0.5"), "fa:16:3e:00:00:05", 2000.0)
    spool = Spool(disk.folder / "spool", Inbox(disk.folder / "hook"))
    book = LeaseBook(disk.folder / "leases", spool, clock=lambda: NOW)
    spool.add("br100", "add", lease)
    disk.fill()
    with pytest.raises(OSError, match="No space left"):
        book.catch_up()
    book.end_expired("br100")
    book.seed("br100", [lease])
    assert dict(book.live("br100")) == {lease.address: lease}
    disk.free()
    book.catch_up()
    again = LeaseBook(disk.folder / "leases", spool, clock=lambda: NOW)
    assert dict(again.live("br100")) == {lease.address: lease}


def test_a_spool_that_is_made_on_a_full_disk_sends_nothing_before_it_has_a_name(
    disk: Disk,
) -> None:
    """Two names would make one event count twice."""
    (disk.folder / "spool").mkdir()
    disk.fill()
    spool = Spool(disk.folder / "spool", Inbox(disk.folder / "hook"))
    with pytest.raises(OSError, match="No space left"):
        spool.settle()
    disk.free()
    spool.settle()
    assert Spool(disk.folder / "spool", Inbox(disk.folder / "hook")).epoch == spool.epoch
