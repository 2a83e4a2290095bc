from __future__ import annotations

import pytest

from lessor.dnsd import ready as module
from lessor.dnsd.ready import MAX_QUESTION, ReadyAnswers, new_mark

QUESTION = b"\0\1question"
ANSWER = b"\0\1answer"


def test_an_answer_is_given_again_with_the_id_of_the_question() -> None:
    ready, mark = ReadyAnswers(), new_mark()
    assert ready.get(mark, QUESTION) is None
    ready.put(mark, QUESTION, ANSWER)
    assert ready.get(mark, b"\7\7question") == b"\7\7answer"
    assert ready.get(mark, b"\7\7Question") is None


def test_under_another_mark_there_is_none() -> None:
    ready, mark = ReadyAnswers(), new_mark()
    ready.put(mark, QUESTION, ANSWER)
    assert ready.get(new_mark(), QUESTION) is None


def test_its_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GENERATION", 5)
    ready, mark = ReadyAnswers(), new_mark()
    for n in range(100):
        ready.put(mark, b"\0\0" + bytes((n,)), ANSWER)
        assert len(ready) <= 10
        assert ready.get(mark, b"\0\0" + bytes((n,))) == b"\0\0answer"
        assert n < 5 or ready.get(mark, b"\0\0" + bytes((n - 5,)))
    ready.put(mark, bytes(MAX_QUESTION + 1), ANSWER)
    assert ready.get(mark, bytes(MAX_QUESTION + 1)) is None
