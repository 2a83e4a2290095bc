"""Leases change by events."""

from __future__ import annotations

from lessor.core.dhcp.leases import Action, Event, Lease, Leases

ADDRESS, MAC, OTHER = b"\x0a\0\0\1", b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"


def event(action: Action, until: float | None, at: float = 100.0) -> Event:
    return Event(action, ADDRESS, MAC, b"id", until, at)


def test_a_granted_lease_is_held_until_its_end() -> None:
    leases = Leases()
    leases.record(event(Action.GRANTED, 200.0))
    assert leases.live == {ADDRESS: Lease(MAC, b"id", 200.0)}
    assert leases.holds(ADDRESS, MAC, 199.0)
    assert not leases.holds(ADDRESS, MAC, 200.0)
    assert not leases.holds(ADDRESS, OTHER, 199.0)


def test_a_renewed_lease_is_held_longer() -> None:
    leases = Leases()
    leases.record(event(Action.GRANTED, 200.0))
    leases.record(event(Action.RENEWED, 300.0))
    assert leases.holds(ADDRESS, MAC, 299.0)


def test_a_lease_without_end_is_held_for_ever() -> None:
    leases = Leases()
    leases.record(event(Action.GRANTED, None))
    assert leases.holds(ADDRESS, MAC, 1e12)


def test_a_released_lease_is_held_no_more() -> None:
    leases = Leases()
    leases.record(event(Action.GRANTED, 200.0))
    leases.record(event(Action.RELEASED, None))
    assert leases == Leases()


def test_a_declined_address_is_quarantined_until_its_end() -> None:
    leases = Leases()
    leases.record(event(Action.GRANTED, 200.0))
    leases.record(event(Action.DECLINED, 700.0))
    assert leases.live == {}
    assert leases.quarantined(ADDRESS, 699.0)
    assert not leases.quarantined(ADDRESS, 700.0)
