"""The lab for tests: three hosts with agents and a server, made once for a module."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from lessor.lab.lab import Lab, usual_hosts
from lessor.lab.state import HostSpec
from tests.lab.stage import Stage, up

LAST_LINES = {"agent": 25, "server": 25, "serial": 25}  # of each log beside a failure
FEW_LINES = 5  # of the others


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what the lab's programs said last: elsewhere it may not come again."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        folders = {folder for value in item.funcargs.values() for folder in _folders(value)}
        for log in sorted(path for folder in folders for path in (folder / "log").glob("*.log")):
            last = LAST_LINES.get(log.stem.rpartition("-")[2], FEW_LINES)
            lines = log.read_text(errors="replace").splitlines()[-last:]
            if lines:
                report.sections.append((f"last of {log.name}", "\n".join(lines)))
    return report


def _folders(value: object) -> Iterator[Path]:
    if isinstance(value, Stage):
        value = value.lab
    if isinstance(value, Lab):
        yield value.folder


@pytest.fixture(scope="session", autouse=True)
def need_root(request: pytest.FixtureRequest) -> None:
    """Fail, not skip: a lab test that did not run has not passed."""
    marked = any(item.get_closest_marker("lab") for item in request.session.items)
    if marked and os.geteuid() != 0:
        pytest.fail("lab tests make namespaces: run them as root, or leave them out (-m 'not lab')")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One network host (net1) and two compute hosts (cmp1, cmp2), in sync."""
    lab = Lab.up(tmp_path_factory.mktemp("lab") / "lab", usual_hosts())
    yield lab
    lab.down()


# what is noticed there is noticed by itself, not by the full look that comes now and then
RARELY = {"resync_interval": "300"}
WEST = "west"  # the zone of net2; all others are in the default one
OVERLAY_HOSTS = [
    HostSpec(name="net1", network_host=True, overlay=True, flags=RARELY),
    HostSpec(
        name="net2",
        network_host=True,
        overlay=True,
        flags=RARELY | {"AGENT/availability_zone": WEST},
    ),
    HostSpec(name="cmp1", overlay=True),
    HostSpec(name="cmp2", overlay=True, flags=RARELY),
    HostSpec(name="cmp3", overlay=True, flags=RARELY),
]


@pytest.fixture(scope="module")
def overlay_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Two network hosts and three compute hosts, all with tunnel ends, in sync."""
    lab = Lab.up(tmp_path_factory.mktemp("overlay") / "lab", OVERLAY_HOSTS)
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def pair_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The same, but each network has its DHCP server twice."""
    flags = {"dhcp_agents_per_network": "2"}
    lab = Lab.up(tmp_path_factory.mktemp("pair") / "lab", OVERLAY_HOSTS, flags)
    yield lab
    lab.down()


@pytest.fixture(scope="session")
def lab_with(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Lab]]:
    """Return the lab of tests/lab/stage.py with a gateway_firewall; each starts only once."""
    labs: dict[str, Lab] = {}

    def get(firewall: str) -> Lab:
        if firewall not in labs:
            labs[firewall] = up(tmp_path_factory.mktemp(firewall) / "lab", firewall)
        return labs[firewall]

    yield get
    for lab in labs.values():
        lab.down()


@pytest.fixture
def stage(lab_with: Callable[[str], Lab]) -> Iterator[Stage]:
    """For what the firewall has no part in."""
    made = Stage(lab_with("nftables"), "nftables")
    yield made
    made.clean()


@pytest.fixture(params=["nftables", "iptables"])
def walled(request: pytest.FixtureRequest, lab_with: Callable[[str], Lab]) -> Iterator[Stage]:
    """For what each gateway_firewall has to do."""
    made = Stage(lab_with(request.param), request.param)
    yield made
    made.clean()
