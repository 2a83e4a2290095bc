"""Reservations as rows of ready bytes: options are encoded once, when a port comes or changes.

A row's `block` follows option 53 in every OFFER and ACK, whatever the client's parameter list says;
RFC 2131, 4.3.1 allows it, and a program in the kernel can send the same bytes.

Source: RFC 2131, 4.3.1 and table 3; semantics.md A8.1, B8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from lessor.core.dhcp.codes import (
    BROADCAST,
    DOMAIN,
    FILE,
    HOSTNAME,
    LEASE_TIME,
    NETMASK,
    ONLY_IPV6,
    RAPID_COMMIT,
    SERVER_ID,
    SNAME,
    T1,
    T2,
)
from lessor.core.dhcp.message import NO_FILE, NO_SNAME, option
from lessor.core.dhcp.table import INFINITE, Row, Table, insert, remove
from lessor.core.state import DhcpRange, DhcpServer, Reservation
from lessor.errors import Invalid
from lessor.net.address import Address
from lessor.net.dhcp_options import (
    CLIENT_ID,
    DNS_SERVER,
    MTU,
    ROUTER,
    ROUTES,
    SIADDR,
    TFTP_SERVERS,
    find,
)
from lessor.net.dhcp_values import addresses, encode, number, routes
from lessor.net.labels import is_domain, is_label

IPV4 = 4
NO_DNS = (IPv4Address("0.0.0.0"),)  # noqa: S104 - as only name server: announce none (LP 1950686)
EVERYWHERE = IPv4Network("0.0.0.0/0")
CLIENT_IDS = (CLIENT_ID.name, str(CLIENT_ID.number))


def table(
    server: DhcpServer,
    mac: bytes,
    *,
    relays: Iterable[bytes] = (),
    rapid_commit: bool = False,
) -> Table:
    """Return the rows of all reservations that are in an IPv4 range of the server."""
    made = Table(
        mac=mac,
        servers=frozenset(r.server.packed for r in server.ranges if r.cidr.version == IPV4),
        relays=frozenset(relays),
        rapid_commit=rapid_commit,
    )
    ranges = {r.subnet_id: r for r in server.ranges if r.cidr.version == IPV4}
    for one in server.reservations.values():
        if one.subnet_id in ranges:
            put(made, one, ranges[one.subnet_id], server.lease_time)
    return made


def put(made: Table, one: Reservation, range_: DhcpRange, lease_time: int) -> None:
    """Add a reservation, or replace the one of its address that has the same MAC and identifier."""
    drop(made, one)
    row, problems = ready(one, range_, lease_time)
    if problems:
        made.left_out[one.address] = problems
    insert(made, mac_of(one), client_ids(one), row)


def drop(made: Table, one: Reservation) -> None:
    """Remove a reservation, as it was put; nothing happens if it isn't there."""
    made.left_out.pop(one.address, None)
    remove(made, mac_of(one), client_ids(one), one.address.packed)


def mac_of(one: Reservation) -> bytes:
    """Return the MAC that a port is known by."""
    return bytes.fromhex(one.mac.replace(":", ""))


def ready(one: Reservation, range_: DhcpRange, lease_time: int) -> tuple[Row, tuple[str, ...]]:
    """Return the row of a reservation, and why options of its port were left out.

    Args:
        one: a reservation.
        range_: the range of its subnet.
        lease_time: seconds; negative: leases never expire.
    """
    own, problems = _own_options(one, range_.server)
    seconds = lease_time if 0 <= lease_time < INFINITE else INFINITE
    options = {
        SERVER_ID: range_.server.packed,
        LEASE_TIME: number(seconds, 4),
        **_times(seconds, own),
        **_of_range(range_, router=one.router),
        **_names(one, range_),
        MTU.number: number(range_.mtu, 2),
        **_routes(range_, router=one.router),
        **own,
    }
    siaddr = options.pop(SIADDR.number, b"") or range_.server.packed
    asked = {code: options.pop(code) for code in (ONLY_IPV6,) if code in options}
    row = Row(
        address=one.address.packed,
        server=range_.server.packed,
        siaddr=siaddr[:4],
        sname=_field(options.get(SNAME, b""), NO_SNAME),
        file=_field(options.get(FILE, b""), NO_FILE),
        block=_block(options),
        asked=_block(asked),
        lease_time=seconds,
        mtu=range_.mtu,
        first=range_.cidr.network_address.packed,
        last=range_.cidr.broadcast_address.packed,
    )
    return row, problems


def client_ids(one: Reservation) -> tuple[bytes, ...]:
    """Return the client identifiers that a port is known by; () if by its MAC only.

    Octets are written as 01:0a:ff, anything else is text. Some clients put a zero before a text, as
    the type that it has none of.
    """
    value = next((value for name, value in one.options if name in CLIENT_IDS), "*")
    if value in ("", "*"):  # dnsmasq's word for: by MAC
        return ()
    if ":" in value:
        try:
            return (bytes(int(octet, 16) for octet in value.split(":")),)
        except ValueError:
            pass
    return value.encode(), b"\0" + value.encode()


def _block(options: Mapping[int, bytes]) -> bytes:
    return b"".join(option(code, value) for code, value in options.items() if value)


def _times(seconds: int, own: dict[int, bytes]) -> dict[int, bytes]:
    """Return T1 and T2: the port's own if they lie before the lease's end, else the usual ones.

    Source: RFC 2131, 4.4.5 (0.5 and 0.875 of the lease, T1 before T2).
    """
    given = [int.from_bytes(own.pop(code, b""), "big") for code in (T1, T2)]
    if seconds == INFINITE:
        return {}
    t1, t2 = given[0] or seconds // 2, given[1] or seconds * 7 // 8
    if not t1 < t2 < seconds:
        t1, t2 = seconds // 2, seconds * 7 // 8
    return {T1: number(t1, 4), T2: number(t2, 4)}


def _of_range(range_: DhcpRange, *, router: bool) -> dict[int, bytes]:
    """Return the options of a subnet; the server answers DNS unless it is told of another."""
    dns = () if range_.dns == NO_DNS else range_.dns or (range_.server,)
    return {
        NETMASK: range_.cidr.netmask.packed,
        BROADCAST: range_.cidr.broadcast_address.packed,
        ROUTER.number: range_.router.packed if range_.router and router else b"",
        DNS_SERVER.number: addresses(dns),
    }


def _names(one: Reservation, range_: DhcpRange) -> dict[int, bytes]:
    named = is_label(one.hostname)
    domains = [one.domain if named else "", range_.domain]
    domain = next((name for name in domains if is_domain(name)), "")
    return {DOMAIN: domain.encode(), HOSTNAME: one.hostname.encode() if named else b""}


def _routes(range_: DhcpRange, *, router: bool) -> dict[int, bytes]:
    """Return 121 and 249 with the default route last: 121 silences 3 (RFC 3442)."""
    given = sorted(range_.routes, key=lambda route: route[0] == EVERYWHERE)
    if given and router and range_.router and given[-1][0] != EVERYWHERE:
        given.append((EVERYWHERE, range_.router))
    return {one.number: routes(given) for one in ROUTES}


def _own_options(one: Reservation, server: Address) -> tuple[dict[int, bytes], tuple[str, ...]]:
    """Return a port's own options by number, and what was left out. They win over its range's."""
    options: dict[int, bytes] = {}
    problems: list[str] = []
    for name, value in one.options:
        if name in CLIENT_IDS:
            continue
        try:
            code = _number(name)
            options[code] = encode(find(name), value, server) if value else b""
        except Invalid as error:
            problems.append(str(error))
    if SIADDR.number not in options:
        options.update(_boot_server(one))
    return options, tuple(problems)


def _number(name: str) -> int:
    code = find(name).number
    if code == RAPID_COMMIT:
        raise Invalid("DHCP option 80 is about the exchange itself: the DHCP server sets it")
    return code


def _boot_server(one: Reservation) -> Iterator[tuple[int, bytes]]:
    """Yield siaddr where options name a TFTP server only: firmware asks the address there."""
    names = {name for each in TFTP_SERVERS for name in (each.name, str(each.number))}
    for name, value in one.options:
        if name in names:
            try:
                yield SIADDR.number, IPv4Address(value.split(",", 1)[0].strip()).packed
            except ValueError:
                continue
            return


def _field(value: bytes, empty: bytes) -> bytes:
    """Return the field of a header with this text; empty if it is too long for it with its end."""
    text = value.rstrip(b"\0")
    return text.ljust(len(empty), b"\0") if 0 < len(text) < len(empty) else empty
