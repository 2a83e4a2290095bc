from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from lessor import logs
from lessor.printable import printable, printable_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b2J", r"\x9b2J"),
        ("a\rb", r"a\rb"),
        ("abc\u202edcb", r"abc\u202edcb"),
        ("a\u200bb\U000e0041c", r"a\u200bb\U000e0041c"),
        ("red\nblue\tgrün ✓", "red\nblue\tgrün ✓"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_line_stays_one_line() -> None:
    assert printable_line("red\nblue\t\x1b") == r"red\nblue\t\x1b"


@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    left = printable(text)
    assert not {c for c in left if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160}
    assert printable(left) == left


def test_a_log_line_shows_a_name_and_does_not_obey_it(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup()
    try:
        structlog.get_logger().warning("pending", name="\x1b[2Jgone")
    finally:
        structlog.reset_defaults()  # of the whole process: the next test begins without it
    said = capsys.readouterr().err
    assert "\x1b[2J" not in said
    assert r"\x1b[2Jgone" in said
