from __future__ import annotations

import asyncio
import os
import stat
import tempfile
import threading
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import lessor.agent.leases.leasebook as leasebook_module
import lessor.agent.leases.spool as spool_module
from lessor.agent.host.wake import FolderWatch
from lessor.agent.leases.inbox import Inbox
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.leasefile import leases_of
from lessor.agent.leases.spool import Spool
from lessor.core.leases import LiveLease

A, B = "fa:16:3e:00:00:01", "fa:16:3e:00:00:02"


def line(n: int, action: str = "old", mac: str = A, expires: int = 0) -> bytes:
    address = IPv4Address("10.0.0.0") + n
    return f"\nbr100 1.00 {action} {mac} {address} {expires} * * .\n".encode()


def spool_in(folder: Path) -> Spool:
    return Spool(folder / "spool", Inbox(folder / "hook"))


def write(folder: Path, text: bytes) -> None:
    Inbox(folder / "hook").make()
    with (folder / "hook/current").open("ab", buffering=0) as file:
        file.write(text)


def numbers(spool: Spool, after: int = 0) -> list[tuple[int, int]]:
    """Return (seq, n) of what is read."""
    return [(e.seq, int(e.address) & 0xFFFFFF) for e in spool.read(after=after)]


def test_events_are_numbered_in_order(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    write(tmp_path, line(7))
    assert numbers(spool) == [(1, 7)]
    write(tmp_path, line(8) + line(9))
    assert numbers(spool) == [(1, 7), (2, 8), (3, 9)]
    assert numbers(spool, after=2) == [(3, 9)]


def test_what_is_cut_is_gone_and_numbers_go_on(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    write(tmp_path, line(7) + line(8))
    numbers(spool)
    spool.cut(1)
    assert numbers(spool) == [(2, 8)]
    spool.cut(2)
    assert sorted(path.name for path in spool.folder.iterdir()) == ["state"]
    write(tmp_path, line(9))
    assert numbers(spool_in(tmp_path)) == [(3, 9)]


def test_no_more_than_asked_for(tmp_path: Path) -> None:
    write(tmp_path, b"".join(line(n) for n in range(10)))
    spool = spool_in(tmp_path)
    assert [e.seq for e in spool.read(limit=4)] == [1, 2, 3, 4]
    assert [e.seq for e in spool.read(limit=4, after=4)] == [5, 6, 7, 8]


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    write(tmp_path, line(1) + line(2)[:20])
    write(tmp_path, line(3))
    assert numbers(spool_in(tmp_path)) == [(1, 1), (2, 3)]


def test_a_line_without_its_end_is_not_yet_an_event(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    with (tmp_path / "hook/current").open("ab", buffering=0) as hook:
        hook.write(line(1)[:-1])
        assert numbers(spool) == []
        hook.write(b"\n")
        assert numbers(spool) == [(1, 1)]


def test_a_hook_that_is_late_keeps_its_place(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    write(tmp_path, line(1))
    with (tmp_path / "hook/current").open("ab", buffering=0) as late:
        assert numbers(spool) == [(1, 1)]
        write(tmp_path, line(3))
        assert numbers(spool) == [(1, 1)]  # 3 has no sure number while `late` may write
        late.write(line(2))
        assert numbers(spool) == [(1, 1), (2, 2)]
    assert numbers(spool) == [(1, 1), (2, 2), (3, 3)]


def test_a_lost_state_makes_another_epoch(tmp_path: Path) -> None:
    first = spool_in(tmp_path)
    write(tmp_path, line(1))
    numbers(first)
    (tmp_path / "spool/state").unlink()
    second = spool_in(tmp_path)
    assert second.epoch != first.epoch
    assert numbers(second) == [(1, 1)]


def test_a_full_disk_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = spool_in(tmp_path)
    assert spool.has_room()
    (tmp_path / "spool/trial").symlink_to("/dev/full")
    assert not spool.has_room()


def test_what_a_disk_keeps_for_root_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hook is not root."""
    spool = spool_in(tmp_path)
    whole = list(os.statvfs(tmp_path))
    whole[4] = 0  # f_bavail
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(whole))
    assert not spool.has_room()


def test_a_line_that_is_none_is_dropped_and_said(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    write(tmp_path, line(1) + b"\nbr100 \x1b[2J\n" + b"x" * 5000 + line(2) + b"\n")
    with capture_logs() as said:
        assert numbers(spool) == [(1, 1), (2, 2)]
        assert numbers(spool) == [(1, 1), (2, 2)]
    assert said == [
        {
            "event": "lease events refused",
            "log_level": "warning",
            "lines": 2,
            "first": "br100 \x1b[2J",
        }
    ]


def test_of_a_file_that_is_too_large_the_beginning_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool_module, "LARGEST", 3 * len(line(1)))
    spool = spool_in(tmp_path)
    write(tmp_path, b"".join(map(line, range(1, 6))))
    assert not spool.overran()
    assert numbers(spool) == [(1, 1), (2, 2), (3, 3)]
    assert (spool.overran(), spool.overran()) == (True, False)
    write(tmp_path, line(6))
    assert numbers(spool) == [(1, 1), (2, 2), (3, 3), (4, 6)]


def test_there_is_always_a_file_that_the_hook_may_write_to(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    for n in range(1, 4):
        spool.current.open("r+b").close()
        write(tmp_path, line(n))
        spool.current.chmod(0)
        assert len(numbers(spool)) == n
        assert stat.S_IMODE(spool.current.stat().st_mode) == 0o620
    spool.current.unlink()
    spool.read()
    assert spool.current.is_file()


def test_what_hooks_of_before_added_is_read_first(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    (tmp_path / "spool/current").write_bytes(line(7))
    write(tmp_path, line(8))
    assert numbers(spool) == [(1, 7), (2, 8)]
    (tmp_path / "spool/current").write_bytes(line(9))
    assert numbers(spool) == [(1, 7), (2, 8), (3, 9)]


def test_two_readers_lose_nothing(tmp_path: Path) -> None:
    """`lessor agent plan` reads while the agent does."""
    many = 2000
    written = threading.Event()

    def hooks() -> None:
        for n in range(1, many + 1):
            with (tmp_path / "hook/current").open("ab", buffering=0) as file:
                file.write(line(n))
        written.set()

    def reader(spool: Spool) -> None:
        while not written.is_set():
            spool.read()

    spools = [spool_in(tmp_path), spool_in(tmp_path)]
    threads = [threading.Thread(target=hooks)]
    threads += [threading.Thread(target=reader, args=(one,)) for one in spools]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in spools:
        assert [e.seq for e in one.read(limit=many + 1)] == list(range(1, many + 1))


def test_a_write_wakes_the_reader(tmp_path: Path) -> None:
    async def scenario() -> None:
        Inbox(tmp_path / "hook").make()
        watch = FolderWatch(tmp_path / "hook")
        waiting = asyncio.create_task(watch.changed())
        await asyncio.sleep(0)
        write(tmp_path, line(1))
        await asyncio.wait_for(waiting, 5)
        watch.close()

    asyncio.run(scenario())


class Killed(BaseException):
    """The agent dies."""


class Deadly:
    """Kills the agent at the nth thing it does to the disk."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left: int | None = None
        for owner, name in (
            (Path, "hardlink_to"),
            (Path, "replace"),
            (Path, "unlink"),
            (spool_module, "atomic_write"),
        ):
            patch.setattr(owner, name, self._around(getattr(owner, name)))

    def _around(self, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self.left is not None:
                self.left -= 1
                if self.left == 0:
                    raise Killed
                if self.left == -1:
                    self.left = None
            result = real(*args, **kwargs)
            if self.left == 1:
                self.left = None
                raise Killed
            return result

        return call


steps = st.lists(
    st.one_of(
        st.sampled_from(["write", "write", "write", "torn", "open", "late", "send", "die"]),
        st.tuples(st.just("send-and-die"), st.integers(1, 6)),
    ),
    max_size=25,
)


class Fleet:
    """Hooks, an agent that dies now and then, and a server that takes each number once."""

    def __init__(self, folder: Path, deadly: Deadly) -> None:
        self.folder, self.deadly = folder, deadly
        self.spool = spool_in(folder)
        self.count = 0
        self.written: set[int] = set()
        self.got: dict[str, list[tuple[int, int]]] = {}
        self.late: Any = None

    def step(self, what: str) -> None:
        match what:
            case "write":
                self._write((self.folder / "hook/current").open("ab", buffering=0))
            case "torn":
                write(self.folder, line(999)[:30])
            case "open" if self.late is None:
                self.late = (self.folder / "hook/current").open("ab", buffering=0)
            case "late" if self.late is not None:
                self._write(self.late)
                self.late = None
            case "send":
                self.send()
            case "die":
                self.spool = spool_in(self.folder)

    def _write(self, file: Any) -> None:
        self.count += 1
        file.write(line(self.count))
        file.close()
        self.written.add(self.count)

    def send(self) -> None:
        events = numbers(self.spool)[:3]
        server = self.got.setdefault(self.spool.epoch, [])
        last = server[-1][0] if server else 0
        server += [one for one in events if one[0] > last]
        if events:
            self.spool.cut(events[-1][0])

    def send_and_die(self, after: int) -> None:
        self.deadly.left = after
        try:
            self.send()
        except Killed:
            pass
        finally:
            self.deadly.left = None
        self.spool = spool_in(self.folder)


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> Deadly:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # the machine does not fail here
    return Deadly(monkeypatch)


def test_no_event_is_lost_or_sent_twice_whenever_the_agent_dies(deadly: Deadly) -> None:
    @settings(max_examples=150, deadline=None)
    @given(steps)
    def scenario(told: list[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            fleet = Fleet(Path(folder), deadly)
            for step in told:
                if isinstance(step, tuple):
                    fleet.send_and_die(step[1])
                else:
                    fleet.step(step)
            fleet.step("late")
            for _ in range(fleet.count + 3):
                fleet.send()
            (received,) = fleet.got.values()
            assert [seq for seq, _ in received] == list(range(1, fleet.count + 1))
            assert sorted(n for _, n in received) == sorted(fleet.written)

    scenario()


def book(folder: Path, spool: Spool, now: float = 0.0) -> LeaseBook:
    return LeaseBook(folder / "leases", spool, lambda: now)


def test_the_leases_follow_from_the_events(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    write(
        tmp_path,
        line(3, "add", A, 50) + line(4, "add", B) + line(5, "add", A) + line(5, "del", A),
    )
    leases = book(tmp_path, spool)
    leases.catch_up()
    first, second = IPv4Address("10.0.0.3"), IPv4Address("10.0.0.4")
    there = [LiveLease(first, A, 50.0), LiveLease(second, B, None)]
    assert leases.snapshot() == [("br100", one) for one in there]
    assert leases_of((tmp_path / "leases/br100").read_bytes()) == leases.live("br100")
    assert leases.count() == 2


def test_leases_outlive_the_spool(tmp_path: Path) -> None:
    write(tmp_path, line(3, "add", A, 50))
    leases = book(tmp_path, spool_in(tmp_path))
    leases.sent(leases.unsent(9)[-1].seq)
    assert not leases.waits()
    again = book(tmp_path, spool_in(tmp_path))
    assert again.snapshot() == [("br100", LiveLease(IPv4Address("10.0.0.3"), A, 50.0))]


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    leases = book(tmp_path, spool)
    write(tmp_path, line(3, "add", A, 50))
    (tmp_path / "leases/.br100.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="space"):
        leases.unsent(9)
    (tmp_path / "leases/.br100.new").unlink()
    assert [event.seq for event in leases.unsent(9)] == [1]
    assert A.encode() in (tmp_path / "leases/br100").read_bytes()


def test_a_lease_that_nobody_holds_is_ended_by_an_event(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    write(tmp_path, line(3, "add", A, 50))
    leases = book(tmp_path, spool)
    leases.catch_up()
    leases.end("br100", leases.live("br100").values())
    assert [(e.seq, e.action, e.mac_address) for e in spool.read()] == [
        (1, "add", A),
        (2, "del", A),
    ]
    assert leases.count() == 0


def test_what_expired_while_no_server_ran_is_ended(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    write(tmp_path, line(3, "add", A, 50) + line(4, "add", B, 500))
    leases = book(tmp_path, spool, now=100.0)
    leases.end_expired("br100")
    assert leases.snapshot() == [("br100", LiveLease(IPv4Address("10.0.0.4"), B, 500.0))]
    assert [e.action for e in spool.read()] == ["add", "add", "del"]


def test_the_leases_of_so_many_unknown_servers_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leasebook_module, "MAX_SERVERS", 2)
    leases = book(tmp_path, spool_in(tmp_path))
    for name in (b"br1", b"br2", b"br3"):
        write(tmp_path, line(3, "add").replace(b"br100", name))
    leases.catch_up()
    assert sorted(path.name for path in (tmp_path / "leases").iterdir()) == ["br1", "br2"]
    leases.end_expired("br3")
    write(tmp_path, line(4, "add").replace(b"br100", b"br3"))
    leases.catch_up()
    assert len(leases.live("br3")) == 1
