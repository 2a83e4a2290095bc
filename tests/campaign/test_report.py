from __future__ import annotations

from tests.campaign.history import (
    ACKED,
    DONE,
    DORA,
    SILENT,
    UNKNOWN,
    Call,
    Exchange,
    FaultRun,
    History,
    VmSpan,
    result,
)
from tests.campaign.report import report

MAC = "fa:16:3e:00:00:0a"


def test_a_report_counts_faults_exchanges_calls_and_violations() -> None:
    history = History(
        faults=[FaultRun("power off", "net1", ("net1",), 1, 6), FaultRun("power off", "net2", ("net2",), 9, 12)],
        exchanges=[
            Exchange("vm", "net", MAC, DORA, 1, 2, ACKED), Exchange("vm", "net", MAC, DORA, 3, 4, SILENT),
            Exchange("vm", "net", MAC, DORA, 8, 9, ACKED),
        ],
        calls=[Call("create port", DONE, 1, 2, 201), Call("create port", UNKNOWN, 1, 2)],
        spans=[VmSpan("vm", MAC, "net", "flat", ("cmp1",), 2, 20)],
    )  # fmt: skip
    text = report("A run", history, [result("all is well", 7, ["it rains"])], {"seed": 3})
    for line in (
        "# A run", "| seed | 3 |", "| power off | 2 | 8 |", "| DORA | 2 | 1 | 0 |",
        "| create port | 1 | 0 | 1 |", "| all is well | 7 | 1 |", "* all is well: it rains",
        "Longest gap of a VM that no fault explains: 7.0 s (vm).",
    ):  # fmt: skip
        assert line in text.splitlines()


def test_a_report_of_a_good_run_has_no_violations() -> None:
    assert "## Violations" not in report("A run", History(), [result("all is well", 7)], {})
