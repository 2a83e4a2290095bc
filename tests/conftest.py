"""What of the tests has to run in one process, where several share the work (`scripts/test`).

A file's tests share fixtures of the module, labs among them; so does what stands on one of the labs
that a whole session keeps, one for each gateway_firewall.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put each test into its group."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def _group(item: pytest.Item) -> str:
    if "lab_with" not in getattr(item, "fixturenames", ()):
        return item.nodeid.partition("::")[0]
    return "iptables" if "[iptables" in item.nodeid else "nftables"
