import os
from pathlib import Path

import pytest

from lessor.agent.identity import RunId, claim
from lessor.errors import Conflict


def test_a_second_agent_in_one_folder_is_refused(tmp_path: Path) -> None:
    lock = claim(tmp_path)
    with pytest.raises(Conflict, match="another agent runs with"):
        claim(tmp_path)
    os.close(lock)
    os.close(claim(tmp_path))


def test_a_run_is_the_successor_of_the_last_confirmed_one(tmp_path: Path) -> None:
    first = RunId(tmp_path)
    assert first.previous == ("",)
    first.confirm()
    assert RunId(tmp_path).previous == (first.value,)


def test_a_run_killed_before_it_was_confirmed_may_have_been_taken(tmp_path: Path) -> None:
    first = RunId(tmp_path)
    first.confirm()
    second = RunId(tmp_path)
    assert RunId(tmp_path).previous == (second.value, first.value)
