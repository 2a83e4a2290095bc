"""What a tour of a network reads on a host, and how its pieces are checked by it.

Nothing here knows what the drivers remember: what is compared is what the usual programs print.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lessor.core.diagnosis.dhcp import DhcpStatus
from lessor.core.state import DhcpServer, MetadataListener
from lessor.model import Piece

NOTHING = "nothing"
_COUNTS = re.compile(r"table=(\d+), n_packets=(\d+), n_bytes=(\d+)")
_MATCH = re.compile(r"priority=\d+,?([^ ]*) actions=(.*)")
_OUTPUT = re.compile(r'output:"?([A-Za-z_][\w.-]*)"?')
_GOTO = re.compile(r"resubmit\(,(\d+)\)|goto_table:(\d+)")


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow as ovs-ofctl prints it, with its counters."""

    table: int
    packets: int
    bytes: int
    match: frozenset[str]
    outputs: frozenset[str]  # names of ports
    tables: frozenset[int]  # that it goes on to

    @property
    def counters(self) -> str:
        """Return its counters as text."""
        return f"{self.packets} packets, {self.bytes} bytes"


@dataclass(frozen=True, slots=True)
class Device:
    """A network device, as ip(8) lists it."""

    mac: str
    mtu: int
    up: bool
    master: str = ""
    addresses: tuple[str, ...] = ()  # with prefix length


@dataclass(frozen=True, slots=True)
class Port:
    """A port of an OVS bridge."""

    bridge: str
    tag: int | None
    remote: str = ""  # a tunnel's far end
    peer: str = ""  # a patch port's other end
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All that was looked at. Devices are by namespace ("": the host's own), then by name."""

    namespaces: Collection[str] = ()
    devices: Mapping[str, Mapping[str, Device]] = field(default_factory=dict)
    routers: Mapping[str, str] = field(default_factory=dict)  # default routes, by namespace
    listening: Mapping[str, Collection[int]] = field(default_factory=dict)  # TCP, by namespace
    bridges: Collection[str] = ()  # of OVS
    ports: Mapping[str, Port] = field(default_factory=dict)
    flows: Mapping[str, tuple[Flow, ...]] = field(default_factory=dict)  # by bridge
    dhcp: DhcpStatus | None = None  # of the network's DHCP server; None: it has none here
    rulesets: Collection[str] = ()  # "bridge lessor", "inet lessor"


def read_flows(printed: str) -> tuple[Flow, ...]:
    """Read what `ovs-ofctl --names dump-flows` prints."""
    return tuple(flow for line in printed.splitlines() if (flow := _flow(line)) is not None)


def _flow(line: str) -> Flow | None:
    counts, parts = _COUNTS.search(line), _MATCH.search(line)
    if counts is None or parts is None:
        return None
    match, actions = parts.groups()
    table, packets, size = map(int, counts.groups())
    return Flow(
        table,
        packets,
        size,
        match=frozenset(match.replace('"', "").split(",")),
        outputs=frozenset(_OUTPUT.findall(actions)),
        tables=frozenset(int(a or b) for a, b in _GOTO.findall(actions)),
    )


# --- pieces that any kind of network may have -----------------------------------------------------


def piece(what: str, name: str, should: str, found: str, command: str, *, ok: bool) -> Piece:
    """Return a piece; found "" is nothing."""
    return Piece(
        what=what, name=name, should=should, found=found or NOTHING, ok=ok, command=command
    )


def flow_piece(
    seen: Seen,
    what: str,
    bridge: str,
    table: int,
    match: Iterable[str],
    *,
    outputs: Iterable[str] = (),
    goto: int | None = None,
) -> Piece:
    """Check the flow of a table that has all of `match`, by where it sends frames."""
    wanted = list(match)
    has = frozenset(wanted)
    there = next(
        (f for f in seen.flows.get(bridge, ()) if f.table == table and has <= f.match), None
    )
    leads = _leads(frozenset(outputs), goto)
    found = _leads(there.outputs, min(there.tables, default=None)) if there else ""
    ok = there is not None and there.outputs == frozenset(outputs)
    if goto is not None:
        ok = there is not None and goto in there.tables
    return piece(
        what,
        f"{bridge} table {table} {','.join(wanted)}",
        leads,
        f"{found}; {there.counters}" if there else "",
        f"ovs-ofctl --names dump-flows {bridge} table={table},{','.join(wanted)}",
        ok=ok,
    )


def _leads(outputs: frozenset[str], goto: int | None) -> str:
    if goto is not None:
        return f"to table {goto}"
    return f"to {', '.join(sorted(outputs))}" if outputs else "dropped"


def device_piece(
    seen: Seen,
    what: str,
    name: str,
    *,
    namespace: str = "",
    mac: str = "",
    mtu: int | None = None,
    master: str = "",
) -> Piece:
    """Check a device: there, up, and as wanted."""
    have = seen.devices.get(namespace, {}).get(name)
    wanted = {"mac": mac, "mtu": mtu or "", "on": master}
    should = ", ".join(["up", *(f"{key} {value}" for key, value in wanted.items() if value)])
    found, ok = "", False
    if have is not None:
        is_ = {"mac": have.mac, "mtu": have.mtu, "on": have.master}
        shown = [f"{key} {is_[key] or 'nothing'}" for key, value in wanted.items() if value]
        found = ", ".join(["up" if have.up else "down", *shown])
        ok = have.up and all(is_[key] == value for key, value in wanted.items() if value)
    inside = f"ip netns exec {namespace} " if namespace else ""
    return piece(what, name, should, found, f"{inside}ip addr show {name}", ok=ok)


def address_piece(seen: Seen, name: str, wanted: Iterable[str], namespace: str = "") -> Piece:
    """Check the addresses of a device: it has all of these."""
    should = list(wanted)
    have = seen.devices.get(namespace, {}).get(name)
    found = have.addresses if have else ()
    inside = f"ip netns exec {namespace} " if namespace else ""
    return piece(
        "addresses",
        name,
        ", ".join(should),
        ", ".join(found),
        f"{inside}ip -4 addr show {name}",
        ok=set(should) <= set(found),
    )


def dhcp_pieces(found: DhcpStatus, server: DhcpServer) -> Iterator[Piece]:
    """Check a DHCP server: its process, and that it has all reservations."""
    inside = f" in {server.namespace}" if server.namespace else ""
    yield piece(
        found.program,
        server.name,
        f"running{inside}",
        found.process,
        found.process_command,
        ok=found.serves,
    )
    wanted = {(one.mac, str(one.address)) for one in server.reservations.values()}
    known, total = len(wanted & found.reservations), len(wanted)
    what, place = found.store
    yield piece(
        what,
        place,
        f"{total} reservations",
        f"{known} of {total}" if found.process else "",
        found.reservations_command,
        ok=bool(found.process) and known == total,
    )


def metadata_piece(seen: Seen, listener: MetadataListener) -> Piece:
    """Check the metadata listener: a process listens on its port."""
    listens = listener.port in seen.listening.get(listener.namespace, ())
    inside = f"ip netns exec {listener.namespace} " if listener.namespace else ""
    return piece(
        "metadata",
        f"{listener.interface} port {listener.port}",
        "listening",
        "listening" if listens else "",
        f"{inside}ss -ltn sport = :{listener.port}",
        ok=listens,
    )
