from __future__ import annotations

import json

import pytest

from bench import table
from bench.figure import Figure, Limit, Peer, of_repeats, p50_p99, quantile


def figure(value: float, **more: object) -> Figure:
    return Figure(what="port create", value=value, unit="ms", n=10, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "expected", "met"),
    [
        pytest.param(401, Limit(400, least=True), True, id="a rate above the least"),
        pytest.param(399, Limit(400, least=True), False, id="a rate below it"),
        pytest.param(99, Limit(100), True, id="a time within the most"),
        pytest.param(101, Limit(100), False, id="a time beyond it"),
        pytest.param(29, Limit(3, of_ratio=True), True, id="a ratio within the most"),
        pytest.param(31, Limit(3, of_ratio=True), False, id="a ratio beyond it"),
    ],
)
def test_a_figure_is_judged_by_its_own_limit(value: float, expected: Limit, met: bool) -> None:
    assert figure(value, peer=Peer("other", 10), expected=expected).met is met


def test_a_figure_of_which_nothing_was_expected_is_not_judged() -> None:
    assert figure(1).met is None


def test_repeats_show_their_median_and_extremes() -> None:
    one = of_repeats("port create", [3, 1, 2], "ms", 30)
    assert (one.value, one.low, one.high, one.n) == (2, 1, 3, 30)


def test_a_quantile_is_a_value_that_was_measured() -> None:
    assert quantile([5, 1, 4, 2, 3], 0.5) == 3
    assert quantile(list(range(100)), 0.99) == 99


def test_durations_are_told_in_milliseconds_and_only_the_slow_end_is_judged() -> None:
    p50, p99 = p50_p99("answer", [0.001, 0.002, 0.5], expected_p99=Limit(100))
    assert (p50.value, p50.met) == (2, None)
    assert (p99.value, p99.met) == (500, False)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.01234, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (1234.5, "1,234")]
)
def test_a_number_has_the_digits_that_count(value: float, shown: str) -> None:
    assert table.number(value) == shown


def test_a_missed_expectation_stands_out_in_the_table() -> None:
    slow = figure(20, peer=Peer("/bin/true", 5), expected=Limit(3, of_ratio=True))
    assert table.text([slow]).splitlines()[1].split() == [
        *("port", "create", "20.0", "ms", "10", "5.00", "ms", "(/bin/true)", "4.00x"),
        *("<=", "3.00x:", "MISSED"),
    ]


def test_programs_are_told_ratio_and_verdict_too() -> None:
    (row,) = json.loads(table.as_json([figure(20, peer=Peer("other", 10))]))
    assert (row["value"], row["ratio"], row["met"]) == (20, 2, None)
