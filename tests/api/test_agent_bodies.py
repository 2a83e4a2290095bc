"""Bodies of agents are parsed within limits; databases and dates can represent all values."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lessor.api import agent_bodies
from lessor.model import LATEST, LeaseEvent, Report


def report(**said: Any) -> Report:
    return agent_bodies.report(json.dumps({"run_id": "r"} | said).encode())


def event(**said: Any) -> LeaseEvent:
    known = {"seq": 1, "action": "add", "network_id": "n", "address": "10.0.0.2"}
    one = known | {"mac_address": "fa:16:3e:00:00:01"} | said
    return agent_bodies.leases(json.dumps({"epoch": "e", "events": [one]}).encode()).events[0]


def test_no_text_has_a_nul() -> None:
    """PostgreSQL keeps none: one would have the whole batch refused."""
    assert event(hostname="a\0b", client_id="\0").hostname == "ab"
    assert report(version="1\0", physical_networks=["\0p"]).physical_networks == ("p",)


@pytest.mark.parametrize("seconds", [1e300, -1e300])
def test_times_are_of_the_calendar(seconds: float) -> None:
    kept = LATEST if seconds > 0 else 0.0
    assert report(started_at=seconds).started_at == kept
    assert (event(at=seconds).at, event(expires_at=seconds).expires_at) == (kept, kept)


def test_lists_end() -> None:
    many = {f"n{n}": n for n in range(agent_bodies.NETWORKS + 1)}
    assert len(report(applied=many).applied) == agent_bodies.NETWORKS
    assert len(report(counts=many).counts) == agent_bodies.COUNTS


def test_counts_are_numbers_by_plain_names() -> None:
    said = {"ports": (1 << 64) - 1, "networks": -5, "dhcp driver": 1, "": 1, "A": 1, "leases": 3}
    assert report(counts=said).counts == {"ports": (1 << 53) - 1, "networks": 0, "leases": 3}


def test_a_stray_tap_has_the_name_of_a_ports_tap() -> None:
    taps = ["tap01234567-89", "a", "tap01234567-8", "tap01234567-89\n", "tap0123456g-89"]
    said = report(problems=[{"text": "t", "key": f"stray {tap}"} for tap in taps])
    assert [one.key for one in said.problems or ()] == ["stray tap01234567-89"]


def test_a_malformed_mac_stays_so() -> None:
    assert event(mac_address="fa:16:3e:00:00:01" + "x" * 5000).mac_address == "fa:16:3e:00:00:01x"
