from structlog.testing import CapturingLogger

from lessor.agent.kinds import Done
from lessor.agent.outcome import Outcome, Problem
from lessor.agent.passlog import PassLog
from lessor.core.diff import Unsound


class Log:
    def __init__(self) -> None:
        self._captured = CapturingLogger()
        self._log = PassLog(self._captured)

    def tell(self, *problems: Problem, **outcome: dict[str, object]) -> list[tuple[object, ...]]:
        """Return the lines of one pass: level, event, and the fields that this test is about."""
        before = len(self._captured.calls)
        self._log.tell(Outcome(problems=list(problems), **outcome), 0.5)  # type: ignore[arg-type]
        return [
            (call.method_name, call.args[0], call.kwargs.get("tries"))
            for call in self._captured.calls[before:]
        ]

    @property
    def last(self) -> dict[str, object]:
        return dict(self._captured.calls[-1].kwargs)


def failed(message: str = "no", *, pending: bool = False) -> Problem:
    return Problem("taps", "a", message, pending=pending)


def test_a_pass_without_changes_says_nothing() -> None:
    assert Log().tell() == []


def test_what_was_done_is_said_with_counts_and_some_names() -> None:
    log = Log()
    names = tuple("abcdefg")
    assert log.tell(done={"taps": Done(created=names, deleted=("x",))}) == [
        ("info", "applied", None)
    ]
    assert log.last == {
        "kind": "taps",
        "created": 7,
        "replaced": 0,
        "deleted": 1,
        "names": ["a", "b", "c", "d", "e", "and 3 more"],
        "took_ms": 500,
    }


def test_repaired_drift_is_a_warning_with_names() -> None:
    log = Log()
    assert log.tell(put_back={"taps": ["a"]}) == [("warning", "put back", None)]
    assert log.last.get("why") == "somebody else changed it"
    broken: dict[str, object] = {"taps": {"a": Unsound(None, "the host takes part in IPv6 on a")}}
    log.tell(put_back={"taps": ["a"]}, before=broken)
    assert log.last.get("why") == "the host takes part in IPv6 on a"
    assert log.last["names"] == ["a"]


def test_a_failure_that_lasts_is_said_at_doubling_distances() -> None:
    log = Log()
    said = [line for number in range(1, 20) for line in log.tell(failed(f"pid {number} failed"))]
    assert said == [
        ("warning", "apply failed", None),
        ("warning", "still failing", 4),
        ("warning", "still failing", 8),
        ("warning", "still failing", 16),
    ]


def test_another_failure_and_one_that_comes_again_are_said_at_once() -> None:
    log = Log()
    log.tell(failed("no"))
    assert log.tell(failed("another reason")) == [("warning", "apply failed", None)]
    log.tell()
    assert log.tell(failed("another reason")) == [("warning", "apply failed", None)]


def test_what_waits_is_said_once() -> None:
    log = Log()
    said = [log.tell(failed(f"{n / 10} s left", pending=True)) for n in range(20)]
    assert [line for lines in said for line in lines] == [("info", "pending", None)]
