"""A terminal with a shell, as somebody who follows a page has it: typed at, and read."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

LINES, COLUMNS = 40, 120
# the quotes in the words keep what is typed from being taken for what is said
SETTINGS = "cd; PS1=; PS2=; set +H; trap 'echo failed\"\"-command' ERR"
FAILED = "failed-command"  # what is printed then
CONTROL = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|c|[()][A-Z0-9])|\r")


class Terminal:
    """A shell on a terminal of 120 columns."""

    def __init__(self, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        self._fd, theirs = pty.openpty()
        _set_up(theirs)
        self._shell = subprocess.Popen(
            argv, stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environment)
        )
        os.close(theirs)
        self._seen = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._prompts = 0
        self.run(SETTINGS)

    def run(self, text: str, timeout_s: float = 60, *, may_fail: bool = False) -> str:
        """Type commands, wait until they have ended, and return what they printed.

        Raises:
            AssertionError: one failed, and none may.
            TimeoutError: they have not ended.
        """
        self._prompts += 1
        end = f"ready-{self._prompts}"
        before = len(self._seen)
        self.type(f"{text}\necho ready''-{self._prompts}")
        said = self.wait(
            lambda seen: end in seen or (FAILED in seen and not may_fail), timeout_s, before
        )
        assert may_fail or FAILED not in said, f"{text}\n{said}"
        return said.partition(end)[0]

    def type(self, text: str) -> None:
        """Type lines and look at nothing."""
        os.write(self._fd, f"{text}\n".encode())

    def press_control(self, letter: str) -> None:
        """Press a key with Ctrl."""
        os.write(self._fd, bytes([ord(letter.upper()) - 64]))

    def wait(self, enough: Callable[[str], bool], timeout_s: float, since: int = 0) -> str:
        """Read until what has been seen is enough, and return it.

        Raises:
            TimeoutError: it isn't, after `timeout_s`.
        """
        end = time.monotonic() + timeout_s
        while not enough(self._seen[since:]):
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise TimeoutError(f"after {timeout_s:g} s the terminal says: {self._seen[since:]}")
        return self._seen[since:]

    @property
    def length(self) -> int:
        """How much has been seen: `since` for what is still to come."""
        return len(self._seen)

    def _read(self, timeout_s: float) -> bool:
        if not select.select([self._fd], [], [], timeout_s)[0]:
            return False
        try:
            said = os.read(self._fd, 65536)
        except OSError:  # EIO: the other side is closed
            return False
        self._seen += CONTROL.sub("", self._decode(said))
        return True

    def close(self) -> None:
        """Close it; what runs in it gets SIGHUP."""
        os.close(self._fd)
        self._shell.kill()
        self._shell.wait(10)


def _set_up(fd: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    settings = termios.tcgetattr(fd)
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(fd, termios.TCSANOW, settings)
