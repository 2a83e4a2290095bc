"""The lab for tests: three hosts with agents and a server, made once for a module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lessor.lab.lab import Lab, usual_hosts
from lessor.lab.state import HostSpec


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


OVERLAY_HOSTS = [
    *(HostSpec(name=name, network_host=True, overlay=True) for name in ("net1", "net2")),
    *(HostSpec(name=name, overlay=True) for name in ("cmp1", "cmp2", "cmp3")),
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
