"""The files that dnsmasq reads: reservations, options and names, as text.

All reservations of the last reload are in one file; those since then are in further files, which go
live by inotify. Their names carry a hash of the content, so that none is ever changed. Options
go by tag: `subnet-ID` of a range, `port-ID` of a reservation, which wins. Only ports with options
of their own have a `set:` tag, for dnsmasq 2.90 dies at SIGHUP once it has served such a host.

Source: semantics.md A8.1, B8; dnsmasq(8).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from hashlib import sha256
from ipaddress import IPv4Address, IPv4Network

from lessor.core.state import DhcpRange, DhcpServer, Reservation
from lessor.net.address import Address, Block, place
from lessor.net.dhcp_options import CLIENT_ID, DNS_SERVER, ROUTER, ROUTES, SIADDR, TFTP_SERVERS
from lessor.net.labels import is_domain, is_label

NO_DNS = (IPv4Address("0.0.0.0"),)  # noqa: S104 - as only name server: announce none (LP 1950686)
EVERYWHERE = IPv4Network("0.0.0.0/0")
# Of a named host without an IPv6 address dnsmasq looks for one in all names that it knows, host by
# host, at each file that comes: with 5,000 reservations that took up to 15 ms. DHCPv4 reads none.
NO_IPV6 = "[100::]"  # of the block that is for discarding (RFC 6666)
MAX_LINE = 1000  # bytes; dnsmasq reads 1025 and would take the rest for a line of its own
CHUNK = 500  # characters of our own note in a comment line
CLIENT_IDS = (CLIENT_ID.name, str(CLIENT_ID.number))  # it says by which one a host is known
BOOT_SERVERS = tuple(name for one in TFTP_SERVERS for name in (one.name, str(one.number)))
_OPTION = re.compile(r"((?:tag:[\w-]+,)*)([A-Za-z][A-Za-z0-9+-]*|[0-9]{1,3})", re.ASCII)
_MAC = re.compile(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}")
_ADDRESS = re.compile(r",(\d+\.\d+\.\d+\.\d+)(?:,|$)")
_SAFE_ID = re.compile(r"[\w:.*-]+", re.ASCII)


def hosts_text(reservations: Iterable[Reservation]) -> str:
    """Return reservations as dnsmasq reads them, by address.

    Each is our note of it in comments, then its line. `read_notes` reads the notes: a restarted
    agent knows from them what is loaded.
    """
    return "".join(
        _host_text(one) for one in sorted(reservations, key=lambda one: place(one.address))
    )


def hosts_file(reservations: Collection[Reservation]) -> tuple[str, str]:
    """Return name and text of one file for reservations that come together.

    dnsmasq compares all its leases with all reservations for each file that it reads.
    """
    return _file_of(reservations, hosts_text(reservations))


def names_file(reservations: Collection[Reservation]) -> tuple[str, str]:
    """Return name and text of one file for the names of reservations."""
    return _file_of(reservations, reserved_names(reservations))


def _file_of(reservations: Collection[Reservation], text: str) -> tuple[str, str]:
    first = min((one.address for one in reservations), key=place)
    return f"{first}-{sha256(text.encode()).hexdigest()[:12]}", text


def read_notes(text: str) -> Iterator[Reservation]:
    """Yield the reservations that a file was made from.

    Raises:
        ValueError: it isn't one of ours, or not whole.
    """
    note = ""
    for line in text.splitlines():
        if line.startswith("#"):
            note += line[1:]
        else:
            yield _read_note(note)
            note = ""
    if note:
        raise ValueError(f"the file ends within {note!r}")


def read_reservations(text: str) -> set[tuple[str, str]]:
    """Return (MAC, address) of the lines of a file of reservations."""
    lines = (line for line in text.splitlines() if not line.startswith("#"))
    found = ((_MAC.match(line), _ADDRESS.search(line)) for line in lines)
    return {(mac[0].lower(), address[1]) for mac, address in found if mac and address}


def is_tagged(reservation: Reservation) -> bool:
    """Tell whether its line has a `set:` tag, with which a SIGHUP is deadly."""
    return not reservation.router or any(name not in CLIENT_IDS for name, _ in reservation.options)


def opts_files(server: DhcpServer) -> dict[str, str]:
    """Return all option files by name: one a range, one a tagged reservation."""
    files = range_files(server)
    for one in server.reservations.values():
        if is_tagged(one):
            files[f"port-{one.port_id}"] = port_options(one, server)
    return files


def range_files(server: DhcpServer) -> dict[str, str]:
    """Return the option files of the ranges, by name."""
    return {range_tag(r): _lines(_range_options(r)) for r in server.ranges}


def port_options(reservation: Reservation, server: DhcpServer) -> str:
    """Return the options of one port. They win over those of its range.

    A value ends where its line does (LP 1939733), an option that isn't one, or is longer than
    dnsmasq reads in one piece, is left out.
    """
    tag = f"tag:port-{reservation.port_id}"
    lines = []
    if not reservation.router:
        lines.append(f"{tag},{ROUTER.number}")
        routes = next((r.routes for r in server.ranges if r.subnet_id == reservation.subnet_id), ())
        lines += _route_options(tag, routes)
    lines += _own_options(tag, reservation)
    return _lines(lines)


def names_text(server: DhcpServer) -> str:
    """Return the further names in the form of /etc/hosts."""
    fit = ((address, _names(*name.split(".", 1))) for address, name in server.names)
    return "".join(f"{address}\t{names}\n" for address, names in fit if names)


def reserved_names(reservations: Iterable[Reservation]) -> str:
    """Return the names of reservations in the form of /etc/hosts; they need no lease."""
    ordered = sorted(reservations, key=lambda one: place(one.address))
    named = ((one.address, _names(one.hostname, one.domain)) for one in ordered)
    return "".join(f"{address}\t{names}\n" for address, names in named if names)


def _names(name: str, domain: str = "") -> str:
    """Return a name with its domain and without, as /etc/hosts has them; "": it is none."""
    if not is_label(name):
        return ""
    return f"{name}.{domain} {name}" if is_domain(f"{name}.{domain}") else name


def _host_text(reservation: Reservation) -> str:
    note = json.dumps(
        [
            reservation.port_id,
            reservation.network_id,
            reservation.subnet_id,
            reservation.mac,
            str(reservation.address),
            reservation.hostname,
            reservation.domain,
            reservation.options,
            reservation.router,
        ]
    )
    chunks = [f"#{note[at : at + CHUNK]}" for at in range(0, len(note), CHUNK)]
    return "\n".join([*chunks, host_line(reservation), ""])


def _read_note(note: str) -> Reservation:
    fields = json.loads(note)
    if not isinstance(fields, list):
        raise ValueError(f"not a list: {note}")  # noqa: TRY004 - the text is wrong, not its type
    port, network, subnet, mac, address, name, domain, options, router = fields
    return Reservation(
        port_id=port,
        network_id=network,
        subnet_id=subnet,
        mac=mac,
        address=IPv4Address(address),
        hostname=name,
        domain=domain,
        options=tuple((key, value) for key, value in options),
        router=router,
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines if len(line.encode()) <= MAX_LINE)


def host_line(reservation: Reservation) -> str:
    """Return a reservation as dnsmasq reads it."""
    fields = [reservation.mac]
    identity = client_id(reservation)
    if identity:
        fields.append(f"id:{identity}")
    if is_label(reservation.hostname):
        domain = f".{reservation.domain}" if is_domain(reservation.domain) else ""
        fields += [reservation.hostname + domain, NO_IPV6]
    fields.append(str(reservation.address))
    if is_tagged(reservation):
        fields.append(f"set:port-{reservation.port_id}")
    return ",".join(fields)


def client_id(reservation: Reservation) -> str:
    """Return the client-id that a port is known by, "" if it is known by its MAC only."""
    for name, value in reservation.options:
        if name in CLIENT_IDS and len(value) <= MAX_LINE // 2 and _SAFE_ID.fullmatch(value):
            return value
    return ""


def range_tag(range_: DhcpRange) -> str:
    """Name the tag of what is of this range."""
    return f"subnet-{range_.subnet_id}"


def _range_options(range_: DhcpRange) -> Iterator[str]:
    """Options of a range; without a router's value dnsmasq would name itself."""
    tag = f"tag:{range_tag(range_)}"
    router, dns = f"{tag},{ROUTER.number}", f"{tag},{DNS_SERVER.number}"
    yield f"{router},{range_.router}" if range_.router else router
    if range_.dns == NO_DNS:
        yield dns
    elif range_.dns:
        yield ",".join([dns, *map(str, range_.dns)])
    routes = range_.routes
    if routes and range_.router and all(block != EVERYWHERE for block, _ in routes):
        routes = (*routes, (EVERYWHERE, range_.router))  # 121 silences 3 (RFC 3442), so it has it
    yield from _route_options(tag, routes)


def _route_options(tag: str, routes: tuple[tuple[Block, Address], ...]) -> Iterator[str]:
    last = sorted(routes, key=lambda route: route[0] == EVERYWHERE)
    if last:
        value = ",".join(f"{block},{hop}" for block, hop in last)
        yield from (f"{tag},{option.number},{value}" for option in ROUTES)


def _own_options(tag: str, reservation: Reservation) -> Iterator[str]:
    for name, value in (*reservation.options, *_boot_server(reservation)):
        read = _OPTION.fullmatch(name)
        if read is None or name in CLIENT_IDS:
            continue
        tags, option = read.groups()
        number = option if option.isdigit() else f"option:{option}"
        line = re.split(r"[\r\n\0]", value, maxsplit=1)[0]
        yield f"{tags}{tag},{number},{line}" if line else f"{tags}{tag},{number}"


def _boot_server(reservation: Reservation) -> Iterator[tuple[str, str]]:
    """Yield the field that firmware boots from, siaddr, where options name a TFTP server only.

    Firmware asks the address in siaddr for its file; few read options 66 and 150. Without one
    dnsmasq puts itself there.

    Source: RFC 2131, table 1 ("next server to use in bootstrap"); RFC 5859 (option 150).
    """
    if any(name == SIADDR.name for name, _ in reservation.options):
        return
    named = (value for name, value in reservation.options if name in BOOT_SERVERS)
    firsts = (value.split(",", 1)[0].strip() for value in named)
    yield from [(SIADDR.name, first) for first in firsts if _is_address(first)][:1]


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
