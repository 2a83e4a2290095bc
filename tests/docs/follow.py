"""Follows a page of the documentation on a machine, as a reader would who believes every word."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from tests.docs.page import FIRST, Step, missing
from tests.docs.terminal import FAILED, Terminal

PATIENCE_S = 20  # with what takes a moment


class Reader:
    """Somebody with terminals.

    Args:
        open_terminal: opens one more, by its name.
    """

    def __init__(self, open_terminal: Callable[[str], Terminal]) -> None:
        self._open = open_terminal
        self._terminals: dict[str, Terminal] = {}
        self.seen: list[tuple[Step, str]] = []

    def follow(self, steps: Iterable[Step], timeout_s: float = 60) -> None:
        """Do one step after the other.

        Raises:
            AssertionError: a command failed, or what is shown was not said.
            TimeoutError: it took too long, or what is shown was never said.
        """
        for step in steps:
            self.seen.append((step, self._do(step, timeout_s)))

    def terminal(self, name: str = FIRST) -> Terminal:
        """Return the terminal of this name, opened if there is none."""
        if name not in self._terminals:
            self._terminals[name] = self._open(name)
        return self._terminals[name]

    def _do(self, step: Step, timeout_s: float) -> str:
        terminal = self.terminal(step.terminal)
        if step.key:
            terminal.press_control(step.key)
            return terminal.run("", timeout_s)
        if step.terminal == FIRST or step.again or not step.shown:
            end = time.monotonic() + (PATIENCE_S if step.again else 0)
            while True:  # what it asks after may not even be there yet
                said = terminal.run(step.typed, timeout_s, may_fail=step.again)
                lines = missing(step.shown, said)
                if not lines and FAILED not in said:
                    return said
                words = f"{step.typed}\ndoes not say\n{lines}\nbut\n{said}"
                assert time.monotonic() < end, words
        before = terminal.length
        terminal.type(step.typed)
        return terminal.wait(lambda said: not missing(step.shown, said), timeout_s, before)
