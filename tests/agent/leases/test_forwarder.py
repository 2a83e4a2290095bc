import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lessor.agent.leases.forwarder import LeaseForwarder
from lessor.agent.leases.inbox import Inbox
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.leasefile import leases_of
from lessor.agent.leases.served_blocks import ServedBlocks
from lessor.agent.leases.spool import Spool
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpRange, DhcpServer
from lessor.errors import LessorError, Unavailable
from lessor.model import LeaseBatch
from lessor.net.address import Address

ADDRESS = IPv4Address("10.0.0.5")


class Server:
    """Applies each event once, by epoch and number, as the store does."""

    def __init__(self) -> None:
        self.applied: list[tuple[int, str]] = []
        self.fails: list[LessorError] = []
        self.answers = True
        self.meanwhile: list[Callable[[], None]] = []  # steps while a batch is on its way

    async def leases(self, batch: LeaseBatch) -> int:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        if self.fails:
            raise self.fails.pop(0)
        last = self.applied[-1][0] if self.applied else 0
        self.applied += [(e.seq, e.action) for e in batch.events if e.seq > last]
        if not self.answers:
            self.answers = True
            raise Unavailable("the answer was lost")
        return self.applied[-1][0]


class Case:
    """A forwarder over a real lease book; `full` is a full disk of the book's."""

    def __init__(self, folder: Path) -> None:
        self.leases = folder / "leases"
        self.server, self.spool = Server(), Spool(folder / "spool", Inbox(folder / "hook"))
        self.book = LeaseBook(self.leases, self.spool)
        self.sent = 0
        self.forwarder = self.over(self.server)

    def over(self, server: Server) -> LeaseForwarder:
        forwarder = LeaseForwarder(server, self.book, self.network_of)
        forwarder.sent.subscribe(self.count)
        return forwarder

    def full(self) -> None:
        (self.leases / ".br100.new").symlink_to("/dev/full")

    def on_disk(self) -> list[str]:
        """Return the addresses whose leases are on disk."""
        file = self.leases / "br100"
        return [str(key) for key in leases_of(file.read_bytes())] if file.exists() else []

    def network_of(self, instance: str, _: Address) -> str | None:
        return {"br100": "blue"}.get(instance)

    def count(self) -> None:
        self.sent += 1

    def add(self, *actions: str, instance: str = "br100", at: int = 0) -> None:
        for action in actions:
            lease = LiveLease(ADDRESS + at, "fa:16:3e:00:00:01", 2e9)
            self.spool.add(instance, action, lease)
        self.forwarder.nudge()

    def until(self, condition: Callable[[], bool]) -> None:
        async def main() -> None:
            task = asyncio.create_task(self.forwarder.run())
            async with asyncio.timeout(30):
                while not condition():
                    await asyncio.sleep(0.005)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        asyncio.run(main())


def test_events_reach_the_book_and_the_server_and_leave_the_spool(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.add("add", "del")
    case.add("add", at=1)
    case.until(lambda: not case.forwarder.pending())
    assert case.server.applied == [(1, "add"), (2, "del"), (3, "add")]
    assert case.on_disk() == ["10.0.0.6"]
    assert case.spool.read() == []


def test_what_comes_while_others_are_sent_is_on_disk_before_it_is_cut(tmp_path: Path) -> None:
    case = Case(tmp_path)
    seen: list[list[str]] = []
    case.server.meanwhile = [
        lambda: case.add("add", at=1),
        lambda: case.add("add", at=2),
        lambda: seen.append(case.on_disk()),
    ]
    case.add("add")
    case.until(lambda: len(case.server.applied) == 3 and not case.forwarder.pending())
    assert seen == [["10.0.0.5", "10.0.0.6", "10.0.0.7"]]


def test_server_away_keeps_events_in_the_spool_and_the_book_up_to_date(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.server.fails = [Unavailable("away")] * 9
    case.add("add")
    case.until(lambda: bool(case.forwarder.problem))
    assert (case.on_disk(), case.forwarder.pending(), case.sent) == (["10.0.0.5"], True, 0)
    case.server.fails.clear()
    case.until(lambda: not case.forwarder.pending() and not case.forwarder.problem)
    assert case.server.applied == [(1, "add")]


def test_an_agent_killed_before_the_cut_sends_again_and_nothing_is_applied_twice(
    tmp_path: Path,
) -> None:
    case = Case(tmp_path)
    case.server.answers = False
    case.add("add")
    case.until(lambda: bool(case.forwarder.problem))
    again = Case(tmp_path)
    again.forwarder = again.over(case.server)
    again.add("del")
    again.until(lambda: not again.forwarder.pending())
    assert case.server.applied == [(1, "add"), (2, "del")]


def test_events_that_can_not_be_written_are_not_cut(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.full()
    case.add("add")
    case.until(lambda: "No space left" in case.forwarder.problem)
    assert (case.server.applied, case.forwarder.pending()) == ([], True)


def test_an_event_of_no_network_holds_up_no_other(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.add("add", instance="br-gone")
    case.add("add")
    case.until(lambda: not case.forwarder.pending())
    assert case.server.applied == [(2, "add")]


def served(network_id: str) -> DhcpServer:
    cidr = IPv4Network("10.0.0.0/24")
    range_ = DhcpRange("s", network_id, cidr, cidr[1], cidr[2], cidr[1], 1500, (), (), "")
    return DhcpServer("br100", "br100", (range_,), {})


def test_an_address_belongs_to_the_network_that_has_or_last_had_it(tmp_path: Path) -> None:
    ServedBlocks(tmp_path / "blocks").add([served("blue")])
    known = ServedBlocks(tmp_path / "blocks")
    known.add([])
    assert known.network_of("br100", ADDRESS) == "blue"
    known.add([served("red")])
    assert ServedBlocks(tmp_path / "blocks").network_of("br100", ADDRESS) == "red"
    assert known.network_of("br200", ADDRESS) is None
