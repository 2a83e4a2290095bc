"""The lab for tests: three hosts with agents and a server, made once for a module."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from lessor.lab.lab import Lab, usual_hosts


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
