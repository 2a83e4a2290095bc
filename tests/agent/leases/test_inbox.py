from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.agent.leases.inbox import Inbox
from tests.agent.unprivileged import NOBODY, as_nobody

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs programs as nobody")


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        made = Inbox(Path(folder) / "hook", NOBODY.pw_gid)
        made.make()
        yield made


def may(inbox: Inbox, script: str) -> bool:
    """Do something as the hook does, in its folder."""
    return as_nobody(script, inbox.folder) is not None


def test_the_hook_adds_to_the_file(inbox: Inbox) -> None:
    assert may(inbox, 'echo one >>"$1"/current; echo two >>"$1"/current')
    assert inbox.current.read_text() == "one\ntwo\n"


@pytest.mark.parametrize(
    "script",
    [
        pytest.param('cat "$1"/current', id="read"),
        pytest.param('ls "$1"', id="list"),
        pytest.param('>"$1"/other', id="make"),
        pytest.param('rm -f "$1"/current', id="remove"),
        pytest.param('ln -sf /etc/passwd "$1"/current', id="replace"),
        pytest.param('chmod 0666 "$1"/current', id="open"),
        pytest.param('touch -d 2001-01-01 "$1"/current', id="date"),
    ],
)
def test_it_may_do_nothing_else(inbox: Inbox, script: str) -> None:
    assert not may(inbox, script)
    assert [path.name for path in inbox.folder.iterdir()] == ["current"]


def test_a_late_hook_writes_to_the_file_that_it_opened(inbox: Inbox) -> None:
    with inbox.current.open("ab", buffering=0) as late:
        taken = inbox.folder / "taken"
        taken.hardlink_to(inbox.current)
        inbox.renew()
        late.write(b"late")
        assert may(inbox, 'echo next >>"$1"/current')
    assert (taken.read_text(), inbox.current.read_text()) == ("late", "next\n")


def test_what_others_did_is_mended(inbox: Inbox) -> None:
    os.chown(inbox.current, 0, 0)
    inbox.folder.chmod(0o700)
    assert not may(inbox, 'echo one >>"$1"/current')
    inbox.make()
    assert may(inbox, 'echo one >>"$1"/current')
    inbox.current.unlink()
    inbox.current.symlink_to("/dev/null")
    before = Path("/dev/null").stat()
    inbox.make()
    assert stat.S_ISREG(inbox.current.lstat().st_mode)
    assert Path("/dev/null").stat() == before
