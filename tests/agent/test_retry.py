"""When the agent looks at its host again."""

from __future__ import annotations

from lessor.agent.outcome import Problem
from lessor.agent.retry import Retry

FAILED = Problem("taps", "tap1", "no such device", pending=False)
WAITS = Problem("bridges", "br100", "eth1 is missing", pending=True)
DUE = Problem("dhcp_servers", "br100", "reloads in 0.4 s", pending=True, retry_s=0.4)


def test_nothing_to_do_waits_for_the_full_look() -> None:
    assert Retry().after([], 30) == 30


def test_what_waits_for_somebody_else_has_no_turn_of_its_own() -> None:
    assert Retry().after([WAITS], 30) == 30


def test_what_is_due_has_its_turn_then() -> None:
    assert Retry().after([WAITS, DUE], 30) == 0.4


def test_a_failure_is_tried_again_soon_and_at_the_latest_after_5_s() -> None:
    retry = Retry()
    assert [retry.after([FAILED, WAITS], 30) for _ in range(7)] == [1, 2, 4, 5, 5, 5, 5]


def test_after_a_pass_without_failure_the_next_one_is_tried_soon_again() -> None:
    retry = Retry()
    for problems in ([FAILED], [FAILED], [WAITS]):
        retry.after(problems, 30)
    assert retry.after([FAILED], 30) == 1


def test_a_failure_does_not_put_off_what_is_due() -> None:
    assert Retry().after([FAILED, DUE], 30) == 0.4
    assert Retry().after([FAILED], 0.5) == 0.5
