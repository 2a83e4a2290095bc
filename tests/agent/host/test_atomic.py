import errno
from pathlib import Path

import pytest

from lessor.agent.host.atomic import atomic_write


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_replaced_whole(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "view.json"
    for content in (b"{}", b'{"epoch": "e"}'):
        atomic_write(file, content, durable=durable)
        assert file.read_bytes() == content
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("durable", [True, False])
def test_on_a_full_disk_the_file_stays_as_it_was(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "view.json"
    file.write_bytes(b"{}")
    (tmp_path / ".view.json.new").symlink_to("/dev/full")
    with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is looked at
        atomic_write(file, b"x" * 4096, durable=durable)
    assert caught.value.errno == errno.ENOSPC
    assert file.read_bytes() == b"{}"


def test_a_file_has_the_mode_asked_for_before_anybody_sees_it(tmp_path: Path) -> None:
    atomic_write(tmp_path / "hook", b"#!/bin/sh\n", durable=False, mode=0o755)
    assert (tmp_path / "hook").stat().st_mode & 0o777 == 0o755
