"""The bodies of agents' requests: read once, and brought into bounds.

An agent is believed no more than a stranger: what it says is shown to operators and tenants, and
kept. Texts and lists are cut and numbers limited, not refused: an honest agent with an odd VM or
clock behind it would say the same again for ever. Refused is what has no form at all, and a tunnel
end that can be none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from lessor import wire
from lessor.errors import Invalid
from lessor.model import (
    LATEST,
    Holding,
    Holdings,
    HostBlock,
    LeaseBatch,
    LeaseEvent,
    Piece,
    PortReport,
    Problem,
    Report,
    ViewRequest,
)
from lessor.net.address import Address
from lessor.net.blocks import is_tunnel_end
from lessor.store.hosts.problems import STRAY

MIB = 1 << 20
# Bodies, in bytes. A host may have all 65,000 ports of a network, and their leases.
VIEW_BYTES, REPORT_BYTES, TOUR_BYTES = 8 * MIB, 32 * MIB, 32 * MIB
LEASE_BYTES, HOLDINGS_BYTES = 8 * MIB, 64 * MIB
PASSWORD_BYTES = 16 << 10

# Texts, in characters.
ID, NAME, WORD, SENTENCE = 64, 255, 32, 500
CLIENT_ID = 3 * 255 - 1  # octets as dnsmasq prints them: RFC 2132 section 9.14
MAC = 17

# Entries of lists.
EVENTS = 5000  # of a batch; agents send 1,000
RUNS = 100
PHYSICAL_NETWORKS, COUNTS = 200, 50
NETWORKS, PORTS, PIECES = 20_000, 200_000, 200_000
PROBLEMS, PROBLEM_IDS = 200, 20


MOST_COUNT = (1 << 53) - 1  # whole numbers that every JSON reader keeps (RFC 8259 section 6)
MOST_REVISION = (1 << 62) - 1
LONGEST_INTERVAL_S = 86400.0
_COUNT_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_STRAY = re.compile(rf"{STRAY}tap[0-9a-f]{{8}}-[0-9a-f]{{2}}", re.ASCII)

V = TypeVar("V")


class PasswordBody(Struct):
    """What a guest posted as its password, encrypted."""

    instance_id: str
    password: str


def view(body: bytes) -> ViewRequest:
    """Read what an agent has of its view; it is compared, and never kept."""
    return wire.decode(body, ViewRequest)


def password(body: bytes) -> PasswordBody:
    """Read a guest's password.

    Raises:
        Invalid: it has no form, or a character that no text has.
    """
    posted = wire.decode(body, PasswordBody)
    if "\0" in posted.instance_id + posted.password:
        raise Invalid("a password has no NUL characters")
    return posted


def leases(body: bytes) -> LeaseBatch:
    """Read a batch of lease events.

    Raises:
        Invalid: it has no form, too many events, or a number that no spool reaches.
    """
    batch = wire.decode(body, LeaseBatch)
    if len(batch.events) > EVENTS:
        raise Invalid(f"{len(batch.events)} lease events in one batch; {EVENTS} are taken at most")
    if any(not 0 <= event.seq <= MOST_COUNT for event in batch.events):
        raise Invalid(f"a lease event's seq is not between 0 and {MOST_COUNT}")
    events = tuple(map(_event, batch.events))
    return replace(batch, epoch=_text(batch.epoch, ID), events=events)


def holdings(body: bytes) -> Holdings:
    """Read what is in use on a host."""
    said = wire.decode(body, Holdings)
    return replace(
        said,
        epoch=_text(said.epoch, ID),
        ports=tuple(map(_holding, said.ports)),
        leases=tuple(map(_event, said.leases)),
    )


def pieces(body: bytes) -> list[Piece]:
    """Read what a host says of a network."""
    return [_piece(one) for one in islice(wire.decode(body, list[Piece]), PIECES)]


def report(body: bytes) -> Report:
    """Read a heartbeat with what changed.

    Raises:
        Invalid: it has no form, or no packet can be sent to its tunnel end.
    """
    said = wire.decode(body, Report)
    _check_end(said.local_ip)
    return replace(
        said,
        run_id=_text(said.run_id, ID),
        previous_run_id=_text(said.previous_run_id, ID),
        unconfirmed_run_ids=_texts(said.unconfirmed_run_ids, RUNS, ID),
        started_at=_time(said.started_at),
        version=_text(said.version, ID),
        physical_networks=_texts(said.physical_networks, PHYSICAL_NETWORKS, NAME),
        availability_zone=_text(said.availability_zone, NAME),
        server=_text(said.server, NAME),
        datapath_type=_text(said.datapath_type, WORD),
        epoch=_text(said.epoch, ID),
        ports={_text(key, ID): _port(word) for key, word in _some(said.ports, PORTS)},
        applied={_text(key, ID): _revision(at) for key, at in _some(said.applied, NETWORKS)},
        settled=_revision(said.settled),
        problems=None if said.problems is None else _problems(said.problems),
        counts=_counts(said.counts),
        report_interval=min(max(said.report_interval, 0.0), LONGEST_INTERVAL_S),
        unserved=None if said.unserved is None else _reasons(said.unserved),
        blocks=None if said.blocks is None else tuple(map(_block, said.blocks)),
    )


# --- parts ----------------------------------------------------------------------------------------


def _event(event: LeaseEvent) -> LeaseEvent:
    return replace(
        event,
        action=_text(event.action, WORD),
        server="",
        network_id=_text(event.network_id, ID),
        mac_address=_text(event.mac_address, MAC + 1),  # one more: what is too long stays malformed
        expires_at=None if event.expires_at is None else _time(event.expires_at),
        at=_time(event.at),
        hostname=_text(event.hostname, NAME),
        client_id=_text(event.client_id, CLIENT_ID),
    )


def _holding(one: Holding) -> Holding:
    return Holding(_text(one.network_id, ID), one.address, _text(one.mac_address, MAC + 1))


def _piece(one: Piece) -> Piece:
    return replace(
        one,
        what=_text(one.what, NAME),
        name=_text(one.name, NAME),
        should=_text(one.should, SENTENCE),
        found=_text(one.found, SENTENCE),
        command=_text(one.command, SENTENCE),
    )


def _port(word: PortReport) -> PortReport:
    if 0 <= word.revision <= MOST_REVISION and not word.pending:  # as most are
        return word
    return replace(word, revision=_revision(word.revision), pending=_text(word.pending, SENTENCE))


def _problems(said: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return problems within bounds; a stray tap has the name of a port's tap."""
    named = (one for one in said if not one.key.startswith(STRAY) or _STRAY.fullmatch(one.key))
    return tuple(
        replace(
            one,
            text=_text(one.text, SENTENCE),
            key=_text(one.key, SENTENCE),
            since=_time(one.since),
            seen=_time(one.seen),
            networks=_texts(one.networks, PROBLEM_IDS, ID),
            ports=_texts(one.ports, PROBLEM_IDS, ID),
        )
        for one in islice(named, PROBLEMS)
    )


def _counts(said: Mapping[str, int]) -> dict[str, int]:
    return {
        name: min(max(count, 0), MOST_COUNT)
        for name, count in _some(said, COUNTS)
        if _COUNT_NAME.fullmatch(name)
    }


def _reasons(said: Mapping[str, str]) -> dict[str, str]:
    return {_text(key, ID): _text(why, SENTENCE) for key, why in _some(said, NETWORKS)}


def _block(one: HostBlock) -> HostBlock:
    wire_ = _text(one.physical_network, NAME)
    return replace(one, detail=_text(one.detail, NAME), physical_network=wire_)


def _check_end(end: Address | None) -> None:
    """Raise Invalid unless a host's tunnels can end there."""
    if end is not None and not is_tunnel_end(end):
        raise Invalid(
            f"local_ip {end} is no address that tunnels can end at: it must be the host's on the "
            "network between hosts"
        )


# --- values ---------------------------------------------------------------------------------------


def _text(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters, without NUL, which PostgreSQL can't store."""
    return text.replace("\0", "")[:longest]


def _texts(texts: Iterable[str], most: int, longest: int) -> tuple[str, ...]:
    return tuple(_text(text, longest) for text in islice(texts, most))


def _some(values: Mapping[str, V], most: int) -> Iterable[tuple[str, V]]:
    return islice(values.items(), most)


def _time(seconds: float) -> float:
    return min(max(seconds, 0.0), LATEST)


def _revision(revision: int) -> int:
    return min(max(revision, 0), MOST_REVISION)
