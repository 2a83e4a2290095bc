from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from lessor.agent.drivers.dnsmasq.alarm import Alarm
from tests.agent.unprivileged import NOBODY, as_nobody

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="runs programs as nobody")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def alarm(folder: Path) -> Alarm:
    made = Alarm(folder / "lessor/alarms/br100", NOBODY.pw_gid)
    made.arm()
    return made


def raise_it(path: Path) -> None:
    """Do what the hook does when it can't spool an event, as its user."""
    as_nobody('true 2>/dev/null >"$1"', path)


def test_the_hook_raises_it_without_rights_as_often_as_events_are_lost(alarm: Alarm) -> None:
    for _ in range(2):
        assert not alarm.raised()
        raise_it(alarm.path)
        assert alarm.raised()
        alarm.arm()
        assert alarm.raised(), "another agent has not heard of it"
        alarm.clear()


def test_it_takes_no_room(folder: Path, alarm: Alarm) -> None:
    place = alarm.path.parent
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k,mode=755", "t", place], check=True)
    try:
        alarm.arm()
        with (place / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
        assert os.statvfs(place).f_bfree == 0
        raise_it(alarm.path)
        assert alarm.raised()
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def test_what_is_not_there_is_not_raised_and_is_made_again(alarm: Alarm) -> None:
    alarm.remove()
    assert not alarm.raised()
    raise_it(alarm.path)
    assert not alarm.path.exists(), "hooks make no files there"
    alarm.set()
    alarm.arm()
    assert not alarm.raised()
    raise_it(alarm.path)
    assert alarm.raised()


def test_one_that_a_hook_of_before_raised_is_heard(alarm: Alarm) -> None:
    alarm.path.unlink()
    alarm.path.touch()
    assert alarm.raised()
    alarm.arm()
    assert alarm.raised()
