from pathlib import Path

import pytest

from lessor.agent.drivers.dnsmasq.inotify import make_room
from lessor.errors import LessorError


@pytest.mark.parametrize(
    ("limit", "servers", "after"),
    [
        pytest.param(128, 1, 128, id="few"),
        pytest.param(128, 64, 128, id="just-enough"),
        pytest.param(128, 65, 256, id="one-too-many"),
        pytest.param(128, 200, 512, id="many"),
        pytest.param(8192, 200, 8192, id="never-lowered"),
    ],
)
def test_the_limit_is_raised_before_it_is_reached(
    tmp_path: Path, limit: int, servers: int, after: int
) -> None:
    file = tmp_path / "max_user_instances"
    file.write_text(f"{limit}\n")
    make_room(servers, file)
    assert int(file.read_text()) == after


def test_a_limit_that_stays_is_said_with_what_would_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "max_user_instances"
    file.write_text("128\n")

    def refuse(self: Path, text: str) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(LessorError, match=r"200 DHCP servers need 264 .*max_user_instances to 512"):
        make_room(200, file)
