"""The line of an event is the one that `core.leases` reads."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lessor.core.lease_line import NONE, lease_line, line_client_id, line_name
from lessor.core.leases import LiveLease, event_line, parse_line

LEASE = LiveLease(IPv4Address("10.0.0.5"), "fa:16:3e:00:00:01", 1_800_000_000.0, "vm1", "01:fa")


def test_a_line_is_that_of_the_lease() -> None:
    line = lease_line("br1", 12.345, "add", LEASE.mac, "10.0.0.5", 1_800_000_000, "01:fa", "vm1")
    assert line == event_line("br1", 12.345, "add", LEASE)
    event = parse_line(line, 1, 100.0, 1e12)
    assert event is not None
    assert (event.address, event.hostname, event.client_id) == (LEASE.address, "vm1", "01:fa")
    assert event.expires_at == LEASE.expires_at


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "ä", "x" * 256, "*"])
def test_a_name_that_would_break_the_line_is_left_out(name: str) -> None:
    assert line_name(name) == NONE


@pytest.mark.parametrize("client_id", ["", "1", "01:", "zz", "01 02"])
def test_a_client_id_that_would_break_the_line_is_left_out(client_id: str) -> None:
    assert line_client_id(client_id) == NONE
