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


def test_leases_expire_in_their_order() -> None:
    leases = Leases()
    for last, until in ((1, 10.0), (2, 20.0), (3, None)):
        leases.record(Event(Action.GRANTED, bytes((10, 0, 0, last)), MAC, b"", until, 0.0))
    leases.record(Event(Action.RENEWED, bytes((10, 0, 0, 1)), MAC, b"", 30.0, 5.0))
    assert list(leases.expired(19.0)) == []
    (event,) = leases.expired(25.0)
    assert (event.action, event.address[3], event.until) == (Action.EXPIRED, 2, 20.0)
    leases.record(event)
    assert list(leases.expired(25.0)) == []
    assert not leases.holds(bytes((10, 0, 0, 2)), MAC, 15.0)
    assert leases.holds(bytes((10, 0, 0, 3)), MAC, 1e9)


def test_an_unknown_lease_may_be_there_until_all_are_known() -> None:
    address = bytes((10, 0, 0, 1))
    leases = Leases(complete=False)
    assert leases.may_hold(address, MAC, 0.0)
    leases.record(Event(Action.GRANTED, address, MAC, b"", 10.0, 0.0))
    assert not leases.may_hold(address, bytes(6), 0.0)
    assert not Leases().may_hold(address, MAC, 0.0)


def test_an_address_without_reservation_is_forgotten() -> None:
    address = bytes((10, 0, 0, 1))
    leases = Leases()
    leases.record(Event(Action.GRANTED, address, MAC, b"", 10.0, 0.0))
    leases.record(Event(Action.DECLINED, bytes((10, 0, 0, 2)), MAC, b"", 600.0, 0.0))
    leases.forget(address)
    leases.forget(bytes((10, 0, 0, 2)))
    assert leases == Leases()
