import errno
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from lessor.agent.host import unwritten


class Disk:
    """Writes files, unless it is told to refuse."""

    def __init__(self) -> None:
        self.refuses: int | None = None

    def write(self, path: Path, text: str) -> bool:
        def write() -> None:
            if self.refuses is not None:
                raise OSError(self.refuses, "refused")
            path.write_text(text)

        return unwritten.attempt(path, write)


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.refuses = None
    unwritten.retry()
    assert unwritten.problems() == []


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "is full: changes are not kept over a restart of the agent; free some"),
        (errno.EDQUOT, r"is full \(quota\): "),
        (errno.EROFS, "is read-only: "),
        (errno.EIO, "fails: "),
        (errno.EACCES, r"a can't be written \(refused\)"),
    ],
)
def test_what_can_not_be_written_is_said_with_its_path(
    tmp_path: Path, disk: Disk, code: int, sentence: str
) -> None:
    disk.refuses = code
    assert not disk.write(tmp_path / "a", "1")
    assert not disk.write(tmp_path / "b", "1")
    [first, *others] = unwritten.problems()
    assert re.search(f"{tmp_path}.*{sentence}", first)
    assert len(others) == (code == errno.EACCES)


def test_the_last_content_is_written_when_there_is_room(tmp_path: Path, disk: Disk) -> None:
    file = tmp_path / "a"
    disk.write(file, "old")
    disk.refuses = errno.ENOSPC
    disk.write(file, "1")
    disk.write(file, "2")
    unwritten.retry()
    assert unwritten.waits(file)
    assert file.read_text() == "old"
    disk.refuses = None
    unwritten.retry()
    assert not unwritten.waits(file)
    assert file.read_text() == "2"


def test_what_was_given_up_is_not_written(tmp_path: Path, disk: Disk) -> None:
    disk.refuses = errno.EIO
    disk.write(tmp_path / "a", "1")
    unwritten.forget(tmp_path / "a")
    disk.refuses = None
    unwritten.retry()
    assert not (tmp_path / "a").exists()
