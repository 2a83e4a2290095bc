import asyncio
from collections.abc import Callable
from typing import Self

import pytest

from lessor.agent.reporter import Reporter, Status
from lessor.errors import Conflict, LessorError, Unavailable
from lessor.model import PortReport, Report

WIRED = PortReport(revision=3, wired=True)
ME = Report(run_id="r")


class Server:
    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.fails: list[LessorError] = []

    async def report(self, report: Report) -> None:
        if self.fails:
            raise self.fails.pop(0)
        self.reports.append(report)


class Case:
    def __init__(self) -> None:
        self.server = Server()
        self.events_sent = True
        self.told: set[str] = set()
        self.reporter = Reporter(
            self.server, ME, 60, events_sent=lambda: self.events_sent, told=self.told.update
        )

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
            await case.say(Status(epoch="e", ports={"a": WIRED}, problems=("x",)), 1)
            await case.say(Status(epoch="e", ports={"a": WIRED, "b": WIRED}, problems=("x",)), 2)
            first, second = case.server.reports
            assert (first.ports, first.problems) == ({"a": WIRED}, ("x",))
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
            await case.say(Status(epoch="e", applied={"n": 5}), 1)
            assert (case.server.reports[0].applied, case.told) == ({}, set())
            case.events_sent = True
            case.reporter.nudge()
            await case.until(lambda: len(case.server.reports) == 2)
            assert (case.server.reports[1].applied, case.told) == ({"n": 5}, {"n"})

    asyncio.run(main())


def test_another_store_is_told_everything() -> None:
    async def main() -> None:
        async with Case() as case:
            await case.say(Status(epoch="e", ports={"a": WIRED}, applied={"n": 5}), 1)
            await case.say(Status(epoch="f", ports={"a": WIRED}, applied={"n": 5}), 2)
            assert case.server.reports[1].ports == {"a": WIRED}
            assert case.server.reports[1].applied == {"n": 5}

    asyncio.run(main())


def test_a_problem_that_ended_with_the_first_view_is_taken_back() -> None:
    async def main() -> None:
        async with Case() as case:
            await case.say(Status(problems=("no answer yet",)), 1)
            await case.say(Status(epoch="e"), 2)
            assert [report.problems for report in case.server.reports] == [("no answer yet",), ()]

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
            await case.say(Status(epoch="e", ports={"a": WIRED, "b": WIRED}, problems=("x",)), 3)
            assert case.server.reports[2].ports == {}

    asyncio.run(main())
