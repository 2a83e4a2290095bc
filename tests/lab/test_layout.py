from __future__ import annotations

from pathlib import Path

import pytest

from lessor.errors import Invalid
from lessor.lab.layout import read_layout
from lessor.lab.state import HostSpec
from lessor.lab.underlay import Underlay

WHOLE = """
underlay_mtu = 1500
underlay_ip = 6
[[host]]
name = "net"
kind = "network"
number = 2
[[host]]
name = "old"
overlay = false
flags = { report_interval = "2" }
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return path


def test_a_layout_names_hosts_and_wire(tmp_path: Path) -> None:
    layout = read_layout(written(tmp_path, WHOLE))
    assert layout.hosts == (
        HostSpec(name="net1", network_host=True, overlay=True),
        HostSpec(name="net2", network_host=True, overlay=True),
        HostSpec(name="old", flags={"report_interval": "2"}),
    )
    assert layout.underlay == Underlay(mtu=1500, ip_version=6)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "host", id="no-host"),
        pytest.param("host = []", "length >= 1", id="none"),
        pytest.param('[[host]]\nname = "a"\nkind = "router"', "router", id="kind"),
        pytest.param('[[host]]\nname = "a"\nnumber = 0', ">= 1", id="number"),
        pytest.param('[[host]]\nname = "a"\nsize = 1', "size", id="unknown"),
        pytest.param("[[host]", "lab.toml", id="not-toml"),
        pytest.param('underlay_mtu = 10\n[[host]]\nname = "a"', "underlay_mtu 10", id="mtu"),
    ],
)
def test_a_layout_that_cannot_be_is_refused_in_a_sentence(
    text: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=why):
        read_layout(written(tmp_path, text))
