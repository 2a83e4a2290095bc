"""What must hold whatever fails. Pure functions of what was recorded; each returns a Result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from tests.campaign.history import (
    ACKED,
    FOREVER,
    NAKED,
    Exchange,
    Fill,
    LeaseHeld,
    NicLife,
    PortRecord,
    Reading,
    Result,
    Sighting,
    result,
)

Row = dict[str, Any]
Key = tuple[str, str]  # network and address, or network and MAC
EXPIRY_TOLERANCE_S = 3.0  # the store has whole seconds, and dnsmasq counts from its own look
OWN = ("network:",)  # device_owner of ports that the server makes itself


# --- DHCP -----------------------------------------------------------------------------------------


def own_address_only(ports: Sequence[PortRecord], exchanges: Sequence[Exchange]) -> Result:
    """A VM is only ever given its port's address."""
    by_mac = {(port.network, port.mac): port for port in ports if port.mac}
    acks = [one for one in exchanges if one.outcome == ACKED]
    wrong = (
        f"{one.vm} ({one.mac}) was given {one.address} on {one.network} at {one.ended:.1f}; its port has "
        f"{by_mac[one.network, one.mac].address or 'none'}"
        for one in acks
        if by_mac[one.network, one.mac].address != one.address
    )
    return result("every ACK has the address of the VM's port", len(acks), wrong)


def never_refused(ports: Sequence[PortRecord], exchanges: Sequence[Exchange]) -> Result:
    """A VM whose port exists is never told NAK."""
    by_mac = {(port.network, port.mac): port for port in ports if port.mac}
    naks = [one for one in exchanges if one.outcome == NAKED]
    wrong = (
        f"{one.vm} ({one.mac}) on {one.network} got a NAK for {one.address} at {one.ended:.1f}"
        for one in naks
        if by_mac[one.network, one.mac].surely_there(one.asked, one.ended)
    )
    return result("no NAK to a VM whose port exists", len(exchanges), wrong)


def not_reused_early(ports: Sequence[PortRecord], exchanges: Sequence[Exchange]) -> Result:
    """As soon as an address has a new port, its former VM gets no lease of it any more."""
    owners = _owners(ports)
    acks = [one for one in exchanges if one.outcome == ACKED]
    wrong = (
        f"{one.vm} ({one.mac}) was given {one.address} on {one.network} at {one.ended:.1f}, which is "
        f"port {other.name}'s ({other.mac}) since {other.made:.1f}"
        for one in acks
        for other in owners.get((one.network, one.address), ())
        if other.mac != one.mac and other.surely_there(one.asked, one.ended)
    )
    return result("no lease of an address that has a new port", len(acks), wrong)


def asked_too_late(ports: Sequence[PortRecord], exchanges: Sequence[Exchange]) -> int:
    """Count how often a VM without a port asked while its address had a new one, as it may try."""
    mine = {(port.network, port.mac): port.address for port in ports if port.mac}
    owners = _owners(ports)
    return sum(
        other.mac != one.mac and other.surely_there(one.asked, one.ended)
        for one in exchanges
        for other in owners.get((one.network, mine[one.network, one.mac]), ())
    )


def one_on_the_wire(
    ports: Sequence[PortRecord],
    sightings: Sequence[Sighting],
    snapshots: Sequence[Sequence[Row]] = (),
    nics: Sequence[NicLife] = (),
) -> Result:
    """An address that has a port is answered for by no former VM.

    Where its VM did not answer itself, a flow did, of a host that does not know yet that the port
    was deleted (`stale_answers`): nobody has its address.
    """
    stale = {(seen, mac) for seen, mac in stale_answers(ports, sightings, nics)}
    wrong = (
        f"{seen.address} on {seen.network} at {seen.ended:.1f} is answered by {mac} ({_known_as(mac, snapshots)}); it is port "
        f"{owner.name}'s ({owner.mac})"
        for seen, mac, owner in former_answers(ports, sightings)
        if (seen, mac) not in stale
    )
    return result(
        "no former VM answers for an address that has a new port",
        sum(bool(seen.macs) for seen in sightings),
        wrong,
    )


def _known_as(mac: str, snapshots: Sequence[Sequence[Row]]) -> str:
    """Tell which ports had a MAC whenever the store was looked at."""
    rows = [row for rows in snapshots for row in rows if row["mac_address"] == mac]
    names = (f"{row['name']} {row['device_owner']} on {row['binding:host_id']}" for row in rows)
    return "; ".join(dict.fromkeys(names)) or "never in the store when that was looked at"


def former_answers(
    ports: Sequence[PortRecord], sightings: Sequence[Sighting]
) -> Iterator[tuple[Sighting, str, PortRecord]]:
    """Yield each answer of another MAC than that of the port that surely has the address."""
    owners = _owners(ports)
    for seen in sightings:
        for owner in owners.get((seen.network, seen.address), ()):
            if owner.surely_there(seen.asked, seen.ended):
                yield from ((seen, mac, owner) for mac in seen.macs if mac != owner.mac)


def stale_answers(
    ports: Sequence[PortRecord], sightings: Sequence[Sighting], nics: Sequence[NicLife]
) -> Iterator[tuple[Sighting, str]]:
    """Yield the former answers of ports whose VM did not give them itself."""
    known = {(port.network, port.mac) for port in ports}
    given: dict[Key, list[float]] = defaultdict(list)
    for nic in nics:
        given[nic.network, nic.mac] += nic.answered
    for seen, mac, _ in former_answers(ports, sightings):
        key = seen.network, mac
        if key in known and not any(seen.asked <= at <= seen.ended for at in given[key]):
            yield seen, mac


def _owners(ports: Sequence[PortRecord]) -> dict[Key, list[PortRecord]]:
    owners: dict[Key, list[PortRecord]] = defaultdict(list)
    for port in ports:
        if port.address and port.made is not None:
            owners[port.network, port.address].append(port)
    return owners


# --- the store ------------------------------------------------------------------------------------


def held_once(ports: Sequence[PortRecord]) -> Result:
    """Nobody is given an address while somebody else surely has it."""
    wrong = []
    owners = _owners(ports)
    for (network, address), many in owners.items():
        many.sort(key=lambda port: port.made or 0)
        wrong += [
            f"{address} on {network} was {first.name}'s and {second.name}'s at {second.made:.1f}"
            for first, second in pairwise(many)
            if first.surely_there(second.made or 0, second.made or 0)
        ]
    return result("no address is two ports' at once", sum(map(len, owners.values())), wrong)


def unique_in_store(snapshots: Sequence[Sequence[Row]]) -> Result:
    """No two ports of a network have one address or one MAC, and each has its address."""
    wrong = [line for rows in snapshots for line in _doubles(rows)]
    checked = sum(map(len, snapshots))
    return result("no address and no MAC twice in the store", checked, dict.fromkeys(wrong))


def _doubles(rows: Sequence[Row]) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    for row in rows:
        fixed = [one["ip_address"] for one in row["fixed_ips"]]
        if not fixed:
            yield f"port {row['id']} ({row['name']}) has no address"
        for what in (row["mac_address"], *fixed):
            other = seen.setdefault((row["network_id"], what), row["id"])
            if other != row["id"]:
                yield f"{what} is that of ports {other} and {row['id']} of network {row['network_id']}"


def creates_kept(ports: Sequence[PortRecord], rows: Sequence[Row]) -> Result:
    """An acknowledged port whose deletion nobody asked for is there, as it was acknowledged."""
    there = {row["id"]: row for row in rows}
    due = [port for port in ports if port.made is not None and port.drop_asked is None]
    wrong = [line for port in due for line in _differs(port, there.get(port.port_id))]
    return result("acknowledged creates and updates are in the store", len(due), wrong)


def _differs(port: PortRecord, row: Row | None) -> Iterator[str]:
    if row is None:
        yield f"port {port.name} ({port.port_id}), acknowledged at {port.made:.1f}, is lost"
        return
    addresses = [one["ip_address"] for one in row["fixed_ips"]]
    if (addresses, row["mac_address"]) != ([port.address], port.mac):
        yield f"port {port.name} has {addresses}, {row['mac_address']}; was {port.address}, {port.mac}"
    if row["description"] not in port.descriptions:
        yield f"port {port.name} is described as {row['description']!r}, not {port.descriptions}"


def deletes_kept(ports: Sequence[PortRecord], rows: Sequence[Row]) -> Result:
    """What was deleted stays deleted."""
    there = {row["id"] for row in rows}
    due = [port for port in ports if port.dropped is not None and port.port_id]
    wrong = (
        f"port {port.name} ({port.port_id}), deleted at {port.dropped:.1f}, is there"
        for port in due
        if port.port_id in there
    )
    return result("acknowledged deletes stay deleted", len(due), wrong)


def nothing_unasked(ports: Sequence[PortRecord], rows: Sequence[Row]) -> Result:
    """Every port is one that somebody asked for, once; or the server's own."""
    asked = {port.name for port in ports}
    theirs = [row for row in rows if not row["device_owner"].startswith(OWN)]
    names = [row["name"] for row in theirs]
    wrong = [f"nobody asked for port {name!r}" for name in names if name not in asked]
    wrong += [
        f"port {name!r} is there {names.count(name)} times"
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    return result("no port that nobody asked for", len(theirs), wrong)


def readings_right(ports: Sequence[PortRecord], readings: Sequence[Reading]) -> Result:
    """What was acknowledged is seen by every later reader, of whichever server."""
    by_id = {port.port_id: port for port in ports if port.port_id}
    wrong = []
    for one in readings:
        port = by_id[one.port_id]
        if not one.there and port.surely_there(one.asked, one.answered):
            wrong.append(
                f"port {port.name}, made at {port.made:.1f}, is not shown at {one.answered:.1f}"
            )
        if one.there and (port.dropped or FOREVER) < one.asked:
            wrong.append(
                f"port {port.name}, deleted at {port.dropped:.1f}, is shown at {one.answered:.1f}"
            )
    return result("a reader sees what was acknowledged before", len(readings), wrong)


# --- at the end -----------------------------------------------------------------------------------


def leases_match(held: Sequence[LeaseHeld], rows: Sequence[Row]) -> Result:
    """The store's live leases are those that VMs have, by address, MAC and expiry."""
    live = defaultdict(list)
    for row in rows:
        live[row["network_id"], row["mac_address"]].append(row)
    wrong = [line for one in held for line in _lease_differs(one, live[one.network, one.mac])]
    addresses = [(row["network_id"], row["address"]) for row in rows]
    wrong += [
        f"{addresses.count(key)} live leases of {key[1]} on {key[0]}"
        for key in dict.fromkeys(addresses)
        if addresses.count(key) > 1
    ]
    return result("every VM's lease is in the store with its time", len(held), wrong)


def _lease_differs(held: LeaseHeld, rows: Sequence[Row]) -> Iterator[str]:
    who = f"{held.vm} ({held.mac}) has {held.address}"
    if len(rows) != 1:
        yield f"{who}; the store has {len(rows)} live leases of it"
        return
    if rows[0]["address"] != held.address:
        yield f"{who}; the store has {rows[0]['address']}"
    late = seconds(rows[0]["expires_at"]) - held.expires_wall
    if abs(late) > EXPIRY_TOLERANCE_S:
        yield f"{who}; in the store it expires {late:+.0f} s away from that"


def seconds(told: str) -> float:
    """Read the API's time, 2026-01-01T00:00:00Z."""
    return datetime.fromisoformat(told).timestamp()


def all_given_out(fills: Sequence[Fill]) -> Result:
    """Every address that nobody has can be given out."""
    wrong = (
        f"{one.network}: {one.taken} addresses could be given out, {one.expected} are free"
        for one in fills
        if one.taken != one.expected
    )
    return result("all free addresses can be given out", sum(one.expected for one in fills), wrong)


def nothing(invariant: str, found: Mapping[str, str]) -> Result:
    """Nothing was found: by place, what was found there."""
    return result(invariant, len(found), (f"{key}: {text}" for key, text in found.items() if text))
