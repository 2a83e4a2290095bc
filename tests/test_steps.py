import pytest

from lessor.errors import Conflict, LessorError, Pending
from lessor.steps import each, tried


def conflict() -> None:
    raise Conflict("br-int exists")


def two_failures() -> None:
    raise ExceptionGroup("2 flows failed", [Pending("waits", key="tap1"), LessorError("refused")])


def full_disk() -> None:
    raise OSError(28, "No space left on device")


def test_a_failed_step_holds_up_no_other() -> None:
    done: list[str] = []
    with pytest.raises(ExceptionGroup, match="2 bridges failed") as caught:
        each([conflict, lambda: done.append("br-tun"), full_disk], "bridges")
    assert done == ["br-tun"]
    assert [type(error) for error in caught.value.exceptions] == [Conflict, OSError]


def test_steps_that_all_work_raise_nothing() -> None:
    each([lambda: None, lambda: 1], "bridges")


def test_a_group_of_one_step_counts_as_its_failures() -> None:
    with pytest.raises(ExceptionGroup, match="3 flows failed") as caught:
        each([two_failures, conflict], "flows")
    assert [type(error) for error in caught.value.exceptions] == [Pending, LessorError, Conflict]


def test_a_fault_of_the_program_is_no_failure_of_a_step() -> None:
    with pytest.raises(ZeroDivisionError):
        tried(lambda: 1 // 0)
