"""Answers that have been given, to give them again: all of them but the id of the question.

They are about names of VMs only, and as current as those: whatever changes a server's answers gives
it another mark, under which nothing is found yet. Answers of upstream servers are not among them.
"""

from __future__ import annotations

import itertools

GENERATION = 1 << 15  # answers, some 12 MB; of the two generations the older one goes as a whole
MAX_QUESTION = 300  # octets: one with a long option is not asked twice
_ID = 2  # octets

_marks = itertools.count()


class ReadyAnswers:
    """The answers of all servers of a host."""

    def __init__(self) -> None:
        self._young: dict[tuple[int, bytes], bytes] = {}
        self._old: dict[tuple[int, bytes], bytes] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, mark: int, message: bytes) -> bytes | None:
        """Return the answer to a message."""
        key = (mark, message[_ID:])
        answer = self._young.get(key) or self._old.get(key)
        return None if answer is None else message[:_ID] + answer

    def put(self, mark: int, message: bytes, answer: bytes) -> None:
        """Remember an answer."""
        if len(message) > MAX_QUESTION:
            return
        if len(self._young) >= GENERATION:
            self._young, self._old = {}, self._young
        self._young[mark, message[_ID:]] = answer[_ID:]


def new_mark() -> int:
    """Return a mark that no answer has."""
    return next(_marks)
