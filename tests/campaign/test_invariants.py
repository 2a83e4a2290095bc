"""Each invariant is kept by a right history and broken by a wrong one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.campaign import invariants
from tests.campaign.history import (
    ACKED,
    DORA,
    NAKED,
    RENEW,
    SILENT,
    Exchange,
    Fill,
    LeaseHeld,
    NicLife,
    PortRecord,
    Reading,
    Result,
    Sighting,
)

NET = "net"
MAC_A, MAC_B = "fa:16:3e:00:00:0a", "fa:16:3e:00:00:0b"
EXPIRY = "2026-01-01T00:02:00Z"


def port(name: str = "a", **more: Any) -> PortRecord:
    """Made at 10, with .5."""
    known = {"port_id": f"id-{name}", "mac": MAC_A, "address": "10.0.0.5", "made": 10.0}
    return PortRecord(name, NET, 9.0, **{**known, **more})


def later(name: str = "b", **more: Any) -> PortRecord:
    """The next owner of .5, from 30 on."""
    return port(name, **{"mac": MAC_B, "made": 30.0, **more})


def exchange(at: float, outcome: str = ACKED, **more: Any) -> Exchange:
    known = {"vm": "vm", "network": NET, "mac": MAC_A, "what": RENEW, "address": "10.0.0.5"}
    return Exchange(**{**known, "asked": at - 0.1, "ended": at, "outcome": outcome, **more})


def row(name: str = "a", **more: Any) -> dict[str, Any]:
    known = {
        "id": f"id-{name}", "name": name, "network_id": NET, "mac_address": MAC_A, "description": "",
        "fixed_ips": [{"ip_address": "10.0.0.5"}], "device_owner": "",
    }  # fmt: skip
    return {**known, **more}


def lease(**more: Any) -> dict[str, Any]:
    known = {"network_id": NET, "mac_address": MAC_A, "address": "10.0.0.5", "expires_at": EXPIRY}
    return {**known, **more}


def kept(found: Result) -> bool:
    return found.checked > 0 and not found.violations


def broken(found: Result, words: str) -> bool:
    return len(found.violations) == 1 and words in found.violations[0]


def test_a_vm_with_another_address_than_its_ports_is_found() -> None:
    check = invariants.own_address_only
    assert kept(check([port()], [exchange(12)]))
    assert broken(check([port()], [exchange(12, address="10.0.0.6")]), "was given 10.0.0.6")


def test_a_nak_to_a_vm_whose_port_exists_is_found() -> None:
    check = invariants.never_refused
    nak = exchange(12, NAKED)
    assert broken(check([port()], [nak]), "got a NAK")
    assert kept(check([port()], [exchange(12), exchange(13, SILENT)]))
    assert kept(check([port(drop_asked=11.9)], [nak]))


def test_a_lease_of_an_address_that_has_a_new_port_is_found() -> None:
    check = invariants.not_reused_early
    ports = [port(drop_asked=20.0, dropped=21.0), later()]
    assert kept(check(ports, [exchange(29)]))
    assert broken(check(ports, [exchange(31)]), "which is port b's")
    assert kept(check(ports, [exchange(31, mac=MAC_B)]))
    assert kept(check(ports, [exchange(30.05)])), "asked before, answered after: nobody knows"


def test_it_is_counted_how_often_a_vm_without_a_port_asked() -> None:
    ports = [port(drop_asked=20.0, dropped=21.0), later()]
    late = [exchange(29, SILENT), exchange(31, SILENT), exchange(31, mac=MAC_B)]
    assert invariants.asked_too_late(ports, late) == 1


def test_a_former_vm_that_is_still_on_the_wire_is_found() -> None:
    def check(
        ports: list[PortRecord],
        seen: list[Sighting],
        rows: list[list[dict[str, Any]]] | None = None,
    ) -> Result:
        return invariants.one_on_the_wire(ports, seen, rows or [], [NicLife(NET, MAC_A, (31.1,))])

    ports = [port(drop_asked=20.0, dropped=21.0, host="cmp1"), later()]

    def seen(at: float, *macs: str) -> list[Sighting]:
        return [Sighting(NET, "10.0.0.5", at, at + 0.3, macs)]

    assert kept(check(ports, seen(31.0, MAC_B)))
    assert check(ports, seen(31.0)).checked == 0, "nobody answered"
    assert broken(check(ports, seen(31.0, MAC_A)), "; it is port b's")
    known = [[row(device_owner="network:dhcp", **{"binding:host_id": "net1"})]]
    told = check(ports, seen(31.0, MAC_A), known)
    assert broken(told, f"answered by {MAC_A} (a network:dhcp on net1)")
    assert broken(check(ports, seen(31.0, MAC_A, MAC_B)), f"answered by {MAC_A}")
    assert broken(check(ports[1:], seen(31.0, MAC_A)), "answered by"), "of no port at all"
    assert kept(check(ports, seen(29.0, MAC_A))), "it has no new port yet"


def test_a_host_that_answers_in_the_place_of_a_vm_is_counted_and_no_more() -> None:
    ports = [port(drop_asked=20.0, dropped=21.0, host="cmp1"), later()]
    seen = [Sighting(NET, "10.0.0.5", 31.0, 31.3, (MAC_A,))]

    def check(*nics: NicLife) -> Result:
        return invariants.one_on_the_wire(ports, seen, [], nics)

    assert broken(check(NicLife(NET, MAC_A, (20.0, 31.1))), f"answered by {MAC_A}")
    assert kept(check(NicLife(NET, MAC_A, (20.0, 30.9, 31.4)))), "nobody asked for that at 31.0"
    assert kept(check(NicLife("other", MAC_A, (31.1,)))), "of another network"
    assert len(list(invariants.stale_answers(ports, seen, []))) == 1


def test_an_address_of_two_ports_at_once_is_found() -> None:
    check = invariants.held_once
    assert kept(check([port(drop_asked=20.0), later()]))
    assert broken(check([port(), later()]), "was a's and b's at 30.0")
    assert kept(check([port(), later(made=None)])), "nobody knows whether b was ever made"


def test_doubles_in_the_store_are_found() -> None:
    check = invariants.unique_in_store
    other = row("b", mac_address=MAC_B, fixed_ips=[{"ip_address": "10.0.0.6"}])
    assert kept(check([[row(), other]]))
    assert kept(check([[row(), {**row("b"), "network_id": "other"}]])), "of two networks"
    assert broken(check([[row(), {**other, "mac_address": MAC_A}]]), MAC_A)
    assert broken(check([[row(), {**other, "fixed_ips": row()["fixed_ips"]}]]), "10.0.0.5 is that")
    assert broken(check([[{**row(), "fixed_ips": []}]]), "has no address")


def test_a_lost_create_is_found() -> None:
    check = invariants.creates_kept
    assert kept(check([port()], [row()]))
    assert broken(check([port()], []), "is lost")
    assert broken(check([port()], [row(mac_address=MAC_B)]), "was 10.0.0.5")
    assert check([port(drop_asked=20.0), port(made=None)], []).checked == 0


def test_a_lost_update_is_found() -> None:
    check = invariants.creates_kept
    assert broken(check([port(descriptions=("new",))], [row(description="old")]), "'old'")
    unknown = port(descriptions=("old", "new"))
    assert kept(check([unknown], [row(description="old")]))
    assert kept(check([unknown], [row(description="new")]))


def test_a_deleted_port_that_is_there_is_found() -> None:
    check = invariants.deletes_kept
    gone = port(drop_asked=20.0, dropped=21.0)
    assert kept(check([gone], []))
    assert broken(check([gone], [row()]), "deleted at 21.0, is there")
    assert check([port(drop_asked=20.0)], [row()]).checked == 0


def test_a_port_that_nobody_asked_for_is_found() -> None:
    check = invariants.nothing_unasked
    own = row("dhcp", device_owner="network:dhcp")
    assert kept(check([port()], [row(), own]))
    assert broken(check([], [row(), own]), "nobody asked for port 'a'")
    assert broken(check([port()], [row(), row(id="again")]), "is there 2 times")


def test_a_stale_reader_is_found() -> None:
    check = invariants.readings_right
    gone = port(drop_asked=20.0, dropped=21.0)

    def read(asked: float, *, there: bool) -> list[Reading]:
        return [Reading("id-a", asked, asked + 0.1, there)]

    assert kept(check([gone], read(12, there=True)))
    assert broken(check([gone], read(12, there=False)), "is not shown")
    assert kept(check([gone], read(20.5, there=True)))
    assert kept(check([gone], read(20.5, there=False)))
    assert broken(check([gone], read(22, there=True)), "is shown at")


def test_a_lease_that_the_store_has_not_or_otherwise_is_found() -> None:
    check = invariants.leases_match
    held = LeaseHeld("vm", NET, MAC_A, "10.0.0.5", invariants.seconds(EXPIRY) + 1)
    assert kept(check([held], [lease()]))
    assert broken(check([held], []), "0 live leases of it")
    assert broken(check([held], [lease(address="10.0.0.6")]), "the store has 10.0.0.6")
    late = replace(held, expires_wall=held.expires_wall + 60)
    assert broken(check([late], [lease()]), "expires -61 s away")
    two = [lease(), lease(mac_address=MAC_B)]
    assert broken(check([held], two), "2 live leases of 10.0.0.5")


def test_an_address_that_is_lost_is_found() -> None:
    check = invariants.all_given_out
    assert kept(check([Fill("red", 50, 50)]))
    assert broken(check([Fill("red", 50, 49)]), "49 addresses could be given out, 50 are free")
    assert broken(check([Fill("red", 50, 51)]), "51 addresses")


def test_what_is_found_on_a_host_is_told_with_its_place() -> None:
    assert kept(invariants.nothing("plans", {"net1": "", "net2": ""}))
    assert broken(invariants.nothing("plans", {"net1": "", "net2": "a tap"}), "net2: a tap")


def test_a_dora_counts_as_any_other_exchange() -> None:
    assert broken(
        invariants.own_address_only([port()], [exchange(12, what=DORA, address="10.0.0.9")]),
        "10.0.0.9",
    )
