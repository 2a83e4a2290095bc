import asyncio
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lessor.agent.leases.forwarder import LeaseForwarder
from lessor.agent.leases.inbox import Inbox
from lessor.agent.leases.spool import Spool
from lessor.agent.leases.whereabouts import Whereabouts
from lessor.core.leases import LiveLease
from lessor.core.state import DhcpRange, DhcpServer
from lessor.errors import LessorError, Unavailable
from lessor.model import LeaseBatch

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


class Table:
    """Notes the numbers of the spool's events; `full` is a full disk."""

    def __init__(self, spool: Spool) -> None:
        self.spool = spool
        self.noted: list[int] = []
        self.full = False

    def catch_up(self) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        after = self.noted[-1] if self.noted else 0
        self.noted += [event.seq for event in self.spool.read(after=after)]


class Case:
    def __init__(self, folder: Path) -> None:
        self.server, self.spool = Server(), Spool(folder / "spool", Inbox(folder / "hook"))
        self.table = Table(self.spool)
        self.sent = 0
        self.forwarder = self.over(self.server)

    def over(self, server: Server) -> LeaseForwarder:
        forwarder = LeaseForwarder(server, self.spool, self.table, self.network_of)
        forwarder.sent = self.count
        return forwarder

    def network_of(self, instance: str, _: IPv4Address) -> str | None:
        return {"br100": "blue"}.get(instance)

    def count(self) -> None:
        self.sent += 1

    def add(self, *actions: str, instance: str = "br100") -> None:
        for action in actions:
            lease = LiveLease(ADDRESS, "fa:16:3e:00:00:01", 2e9)
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


def test_events_reach_the_table_and_the_server_and_leave_the_spool(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.add("add", "old", "del")
    case.until(lambda: not case.forwarder.pending())
    assert case.server.applied == [(1, "add"), (2, "old"), (3, "del")]
    assert case.table.noted == [1, 2, 3]


def test_what_comes_while_others_are_sent_is_in_the_table_before_it_is_cut(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.server.meanwhile = [lambda: case.add("old"), lambda: case.add("del")]
    case.add("add")
    case.until(lambda: len(case.server.applied) == 3 and not case.forwarder.pending())
    assert case.table.noted == [1, 2, 3]


def test_server_away_keeps_events_in_the_spool_and_the_table_up_to_date(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.server.fails = [Unavailable("away")] * 9
    case.add("add")
    case.until(lambda: bool(case.forwarder.problem))
    assert (case.table.noted, case.forwarder.pending(), case.sent) == ([1], True, 0)
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


def test_events_that_can_not_be_noted_are_not_cut(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.table.full = True
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
    Whereabouts(tmp_path / "blocks").learn([served("blue")])
    known = Whereabouts(tmp_path / "blocks")
    known.learn([])
    assert known.network_of("br100", ADDRESS) == "blue"
    known.learn([served("red")])
    assert Whereabouts(tmp_path / "blocks").network_of("br100", ADDRESS) == "red"
    assert known.network_of("br200", ADDRESS) is None
