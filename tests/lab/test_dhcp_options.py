"""The real dnsmasq accepts each DHCP option that the API accepts: it omits malformed ones."""

from __future__ import annotations

import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from lessor.errors import Invalid
from lessor.model import DhcpOption
from lessor.net.dhcp_options import BY_NAME, CLIENT_ID, LAST, find
from lessor.net.dhcp_rules import check_options

VALUES = (
    "words", "10.0.0.1", "10.0.0.1,10.0.0.2", "10.0.0.0/24,10.0.0.1", "1.2.3", "1,2.3", "5", "-5",
    "300", "70000", "5000000000", "01:02:0a", "00:05", "a.example", "a,b", "-bad-..-", "words,10.0.0.1",
)  # fmt: skip
SERVER = (
    "dnsmasq -k --conf-file=/dev/null --interface=lo --dhcp-range=10.0.0.0,static --port=0 --user=root "
    "--log-facility=- --leasefile-ro"
)
LIMIT_S = 20

pytestmark = pytest.mark.lab


def passes(option: DhcpOption) -> bool:
    try:
        check_options([option])
    except Invalid:
        return False
    return True


def left_out(lines: list[str], folder: Path) -> list[str]:
    """Return the lines that dnsmasq complains about when it reads them."""
    file = folder / "options"
    file.write_text("".join(f"{line}\n" for line in lines))
    command = f"ip link set lo up; exec {SERVER} --dhcp-optsfile={file}"
    server = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", command], stderr=subprocess.PIPE, text=True
    )
    numbers: list[int] = []
    try:
        assert server.stderr is not None
        for said in server.stderr:
            if found := re.search(r"at line (\d+) of", said):
                numbers.append(int(found[1]))
            if f"read {file}" in said:
                break
        else:
            pytest.fail("dnsmasq ended before it had read its options")
    finally:
        server.terminate()
        server.communicate(timeout=LIMIT_S)
    return [lines[number - 1] for number in numbers]


def test_dnsmasq_takes_every_option_that_the_api_lets_pass(tmp_path: Path) -> None:
    names = [*BY_NAME, *(str(number) for number in range(1, LAST + 1))]
    options = [DhcpOption(name, value) for name, value in product(names, VALUES)]
    let_pass = [one for one in options if passes(one) and find(one.name) is not CLIENT_ID]
    lines = [
        f"tag:t{n},{o.name if o.name.isdecimal() else f'option:{o.name}'},{o.value}"
        for n, o in enumerate(let_pass)
    ]
    assert len(lines) > len(options) / 2
    assert left_out(lines, tmp_path) == []
    assert left_out(["tag:t,option:colour,red", *lines[:3]], tmp_path) == [
        "tag:t,option:colour,red"
    ]
