"""Checks that found something are repeated soon; the others are not."""

from __future__ import annotations

from collections.abc import Iterator

from lessor.agent.diagnosis.inspection import AGAIN_S, Inspection
from lessor.core.plan.desired import Desired
from lessor.core.state import HostState

DESIRED = Desired(HostState())


class Host:
    def __init__(self) -> None:
        self.now = 100.0
        self.full = True
        self.looks = 0

    def disk(self, _: Desired) -> Iterator[str]:
        self.looks += 1
        if self.full:
            yield "the disk is full"


def test_what_was_found_is_looked_at_again_soon_and_vanishes_once_mended() -> None:
    host = Host()
    inspection = Inspection([host.disk], lambda: host.now)
    inspection.look(DESIRED, full=True)
    assert [(one.text, one.seen) for one in inspection.problems()] == [("the disk is full", 100)]
    assert inspection.again_s == AGAIN_S
    host.full, host.now = False, 103.0
    inspection.look(DESIRED, full=False)
    assert [(one.text, one.seen) for one in inspection.problems()] == []
    assert inspection.again_s is None


def test_a_check_without_findings_waits_for_the_full_look() -> None:
    host = Host()
    host.full = False
    inspection = Inspection([host.disk])
    inspection.look(DESIRED, full=True)
    inspection.look(DESIRED, full=False)
    assert host.looks == 1
