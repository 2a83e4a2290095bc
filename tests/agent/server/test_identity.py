import os
from pathlib import Path

import pytest

from lessor.agent.server.identity import MAX_UNCONFIRMED, RunId, claim
from lessor.errors import Conflict


def test_a_second_agent_in_one_folder_is_refused(tmp_path: Path) -> None:
    lock = claim(tmp_path)
    assert lock is not None
    with pytest.raises(Conflict, match="another agent of this machine runs with") as caught:
        claim(tmp_path)
    assert "give this one another" not in str(caught.value)
    os.close(lock)
    again = claim(tmp_path)
    assert again is not None
    os.close(again)


def test_a_run_is_the_successor_of_the_last_confirmed_one(tmp_path: Path) -> None:
    first = RunId(tmp_path)
    assert (first.confirmed, first.unconfirmed) == ("", ())
    first.confirm()
    second = RunId(tmp_path)
    assert (second.confirmed, second.unconfirmed) == (first.value, ())


def test_runs_that_were_killed_before_they_were_confirmed_may_have_been_taken(
    tmp_path: Path,
) -> None:
    first = RunId(tmp_path)
    first.confirm()
    killed = tuple(RunId(tmp_path).value for _ in range(5))
    assert RunId(tmp_path).unconfirmed == killed
    last = RunId(tmp_path)
    assert last.confirmed == first.value
    last.confirm()
    assert (RunId(tmp_path).confirmed, RunId(tmp_path).unconfirmed[:-1]) == (last.value, ())


def test_as_many_unconfirmed_runs_are_known_as_a_report_may_have(tmp_path: Path) -> None:
    runs = [RunId(tmp_path).value for _ in range(MAX_UNCONFIRMED + 3)]
    assert RunId(tmp_path).unconfirmed == tuple(runs[-MAX_UNCONFIRMED:])


def test_the_file_of_a_former_version_is_read(tmp_path: Path) -> None:
    (tmp_path / "run-id").write_text("a")
    (tmp_path / "run-id.tried").write_text("b")
    run = RunId(tmp_path)
    assert (run.confirmed, run.unconfirmed) == ("a", ("b",))
