import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Self

import pytest

from lessor.agent.server.reporter import Reporter, Status
from lessor.errors import Conflict, LessorError, Unavailable
from lessor.model import PortReport, Problem, Report

X = Problem(text="x", since=1, seen=1)
WIRED = PortReport(revision=3, wired=True)
ME = Report(run_id="r", previous_run_id="p", unconfirmed_run_ids=("a", "b"))


class Server:
    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.fails: list[LessorError] = []

    async def report(self, report: Report) -> None:
        if self.fails:
            raise self.fails.pop(0)
        self.reports.append(report)


class Case:
    def __init__(self, interval_s: float = 60) -> None:
        self.server = Server()
        self.events_sent = True
        self.confirmed = 0
        self.reporter = Reporter(
            self.server,
            ME,
            interval_s,
            events_sent=lambda: self.events_sent,
        )
        self.reporter.confirmed.subscribe(self.confirm)

    def confirm(self) -> None:
        self.confirmed += 1

    async def say(self, status: Status, reports: int) -> None:
        """Say it, and wait until so many reports have arrived in all."""
        self.reporter.say(status)
        await self.until(lambda: len(self.server.reports) >= reports)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.005)

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.reporter.run())
        return self

    async def __aexit__(self, *args: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def test_only_what_is_new_is_said() -> None:
    async def main() -> None:
        async with Case() as case:
            await case.say(Status(epoch="e", ports={"a": WIRED}, problems=(X,)), 1)
            await case.say(Status(epoch="e", ports={"a": WIRED, "b": WIRED}, problems=(X,)), 2)
            first, second = case.server.reports
            assert (first.ports, first.problems) == ({"a": WIRED}, (X,))
            assert (second.ports, second.problems) == ({"b": WIRED}, None)

    asyncio.run(main())


def test_a_row_that_changed_is_said_again_though_all_is_as_before() -> None:
    async def main() -> None:
        async with Case() as case:
            await case.say(Status(epoch="e", ports={"a": WIRED}), 1)
            again = PortReport(revision=4, wired=True)
            await case.say(Status(epoch="e", ports={"a": again}), 2)
            assert case.server.reports[1].ports == {"a": again}

    asyncio.run(main())


def test_a_report_that_was_not_taken_is_sent_again() -> None:
    async def main() -> None:
        async with Case() as case:
            case.server.fails.append(Unavailable("away"))
            case.reporter.say(Status(epoch="e", ports={"a": WIRED}))
            await case.until(lambda: not case.server.fails)
            case.reporter.nudge()
            await case.until(lambda: bool(case.server.reports))
            assert case.server.reports[0].ports == {"a": WIRED}

    asyncio.run(main())


def test_what_is_applied_is_said_after_the_lease_events_of_the_time_before() -> None:
    async def main() -> None:
        async with Case() as case:
            case.events_sent = False
            await case.say(Status(epoch="e", applied={"n": 5}, settled=6), 1)
            assert (case.server.reports[0].applied, case.server.reports[0].settled) == ({}, 0)
            case.events_sent = True
            case.reporter.nudge()
            await case.until(lambda: len(case.server.reports) == 2)
            assert (case.server.reports[1].applied, case.server.reports[1].settled) == ({"n": 5}, 6)

    asyncio.run(main())


def test_what_the_host_is_settled_to_is_said_once_and_again_when_it_got_further() -> None:
    async def main() -> None:
        async with Case() as case:
            for number, settled in enumerate((5, 5, 0, 5, 7), 1):
                await case.say(Status(epoch="e", settled=settled), number)
            assert [report.settled for report in case.server.reports] == [5, 0, 0, 0, 7]

    asyncio.run(main())


def test_runs_before_are_named_in_every_report_until_one_is_taken() -> None:
    async def main() -> None:
        async with Case() as case:
            case.server.fails += [Unavailable("away"), Unavailable("away")]
            with pytest.raises(Unavailable):
                await case.reporter.introduce()
            case.reporter.nudge()
            await case.until(lambda: not case.server.fails)
            assert case.confirmed == 0
            await case.say(Status(), 1)
            await case.say(Status(), 2)
            assert [r.unconfirmed_run_ids for r in case.server.reports] == [("a", "b"), ()]
            assert [r.previous_run_id for r in case.server.reports] == ["p", "p"]
            assert case.confirmed == 1

    asyncio.run(main())


def test_another_store_is_told_everything() -> None:
    async def main() -> None:
        async with Case() as case:
            await case.say(Status(epoch="e", ports={"a": WIRED}, applied={"n": 5}), 1)
            await case.say(Status(epoch="f", ports={"a": WIRED}, applied={"n": 5}), 2)
            assert case.server.reports[1].ports == {"a": WIRED}
            assert case.server.reports[1].applied == {"n": 5}
            assert [report.epoch for report in case.server.reports] == ["e", "f"]

    asyncio.run(main())


def test_a_problem_that_ended_with_the_first_view_is_taken_back() -> None:
    async def main() -> None:
        async with Case() as case:
            await case.say(Status(problems=(X,)), 1)
            await case.say(Status(epoch="e"), 2)
            assert [report.problems for report in case.server.reports] == [(X,), ()]

    asyncio.run(main())


def test_a_host_name_taken_by_another_ends_the_run() -> None:
    async def main() -> None:
        async with Case() as case:
            case.server.fails.append(Conflict("host h1 has another agent"))
            case.reporter.nudge()
            with pytest.raises(Conflict):
                await case.task

    asyncio.run(main())


def test_what_the_server_has_forgotten_is_said_again_even_if_that_fails_once() -> None:
    async def main() -> None:
        async with Case() as case:
            both = Status(epoch="e", ports={"a": WIRED, "b": WIRED})
            await case.say(both, 1)
            case.server.fails.append(Unavailable("away"))
            case.reporter.forget(["a"])
            await case.until(lambda: not case.server.fails)
            case.reporter.nudge()  # the next heartbeat
            await case.until(lambda: len(case.server.reports) >= 2)
            assert case.server.reports[1].ports == {"a": WIRED}
            await case.say(Status(epoch="e", ports={"a": WIRED, "b": WIRED}, problems=(X,)), 3)
            assert case.server.reports[2].ports == {}

    asyncio.run(main())


def test_problems_that_stand_are_said_again_with_each_heartbeat() -> None:
    async def main() -> None:
        async with Case(interval_s=0.2) as case:
            await case.say(Status(epoch="e", problems=(X,)), 1)
            later = replace(X, seen=9)
            case.reporter.say(Status(epoch="e", problems=(later,)))
            await case.until(lambda: (later,) in [one.problems for one in case.server.reports])
            quick = case.server.reports[1]
            assert quick.problems in {None, (later,)}

    asyncio.run(main())


def test_a_look_that_finds_the_same_is_no_news() -> None:
    async def main() -> None:
        async with Case() as case:
            await case.say(Status(epoch="e", problems=(X,)), 1)
            await case.say(Status(epoch="e", problems=(replace(X, seen=9),)), 2)
            assert case.server.reports[1].problems is None

    asyncio.run(main())
