"""Answer DHCPv4 and BOOTP requests from fixed reservations: a pure function of a frame.

docs/design/dhcp-responder.md says message by message what is answered, why, and where dnsmasq does
otherwise. Silence is an answer as well: it has a note of its reason.

Source: RFC 2131, 4.3; RFC 4039 (rapid commit); RFC 951 and 1534 (BOOTP).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import NamedTuple

from lessor.core.dhcp.codes import CLIENT_ID, RAPID_COMMIT, REQUESTED, SERVER_ID, SUBNET, TYPE
from lessor.core.dhcp.leases import Action, Event, Leases
from lessor.core.dhcp.message import (
    EVERYBODY,
    NO_ADDRESS,
    REQUEST,
    SERVER_PORT,
    Malformed,
    Message,
    parse,
)
from lessor.core.dhcp.reply import ACK, OFFER, RAPID, booted, informed, leased, refused
from lessor.core.dhcp.table import INFINITE, Row, Table

ETHERNET = (1, 6)  # htype: Ethernet, and IEEE 802 networks, whose MACs are the same
MAC_SIZE = 6
QUARANTINE = 600.0  # seconds, as dnsmasq has it
# udhcpc renews by a socket that it closes at once: an earlier answer would go with it
RENEWAL_WAIT = 0.002  # seconds


class Note(Enum):
    """What an operator may want to know of a request: mostly why nothing was answered."""

    NOT_A_REQUEST = "not a request of a client with an Ethernet address"
    ELSEWHERE = "sent to another server's address"
    FOREIGN_MAC = "sent for another client by no relay of ours"
    TYPE = "a type of message that no server answers"
    UNKNOWN = "no reservation for this client"
    OTHER_SERVER = "the client chose another server"
    INCOMPLETE = "an address or a server identifier is missing"
    WRONG_ADDRESS = "about an address that is not the client's"
    NO_LEASE = "the client has no lease to release"
    QUARANTINED = "the address was declined lately"
    DECLINED = "the client found its address in use"
    REFUSED = "NAK sent"
    NO_ROOM = "options left out: the message is full"


class Outcome(NamedTuple):
    """What follows from a frame.

    Attributes:
        frames: to be sent.
        wait: seconds before they are.
        events: changes of leases, for `Leases.record` and whoever else keeps them.
        notes: why there is no answer, and what else is to be counted.
    """

    frames: tuple[bytes, ...] = ()
    wait: float = 0.0
    events: tuple[Event, ...] = ()
    notes: tuple[Note | Malformed, ...] = ()


class Request(NamedTuple):
    """A message of a client, with all that its answer depends on."""

    table: Table
    leases: Leases
    message: Message
    row: Row | None  # None: the client is unknown
    at: float


def answer(table: Table, leases: Leases, frame: bytes, now: float) -> Outcome:
    """Return what follows from a frame that came in at an interface.

    Args:
        table: of the interface.
        leases: as they are; the caller records the events of the outcome.
        frame: from its Ethernet header on.
        now: seconds since 1970.
    """
    message = parse(frame)
    if isinstance(message, Malformed):
        return Outcome(notes=(message,))
    refusal = _refusal(table, message)
    if refusal is not None:
        return Outcome(notes=(refusal,))
    kind = message.options.get(TYPE)
    handler = _HANDLERS.get(kind) if kind else _bootp
    if handler is None:
        return Outcome(notes=(Note.TYPE,))
    return handler(Request(table, leases, message, _reservation(table, message), now))


def _refusal(table: Table, message: Message) -> Note | None:
    """Return why a message is none of ours, or None.

    Only relays that are known speak for another client (docs/decisions/0035).
    """
    if (
        message.op != REQUEST
        or message.hlen != MAC_SIZE
        or message.htype not in ETHERNET
        or message.destination_port != SERVER_PORT
    ):
        return Note.NOT_A_REQUEST
    if message.destination != EVERYBODY and message.destination not in table.servers:
        return Note.ELSEWHERE
    own = message.giaddr == NO_ADDRESS and message.sender == message.chaddr[:MAC_SIZE]
    return None if own or message.sender in table.relays else Note.FOREIGN_MAC


def _reservation(table: Table, message: Message) -> Row | None:
    """Return the client's row: by its identifier where a port has one, else by its MAC."""
    rows = None
    if table.by_client:
        rows = table.by_client.get(message.options.get(CLIENT_ID, b""))
    rows = rows or table.by_mac.get(message.chaddr[:MAC_SIZE])
    if not rows:
        return None
    subnet = message.options.get(SUBNET, message.giaddr)
    if len(rows) == 1 and subnet == NO_ADDRESS:
        return rows[0]
    if subnet != NO_ADDRESS:  # RFC 3011; RFC 2131, 4.3.1
        rows = tuple(row for row in rows if row.first <= subnet <= row.last)
    wanted = {message.ciaddr, message.options.get(REQUESTED)}
    meant = [row for row in rows if row.address in wanted]
    return next(iter([*meant, *rows]), None)


def _discover(request: Request) -> Outcome:
    row = request.row
    if row is None:
        return Outcome(notes=(Note.UNKNOWN,))
    if request.leases.quarantined(row.address, request.at):
        return Outcome(notes=(Note.QUARANTINED,))
    if request.table.rapid_commit and RAPID_COMMIT in request.message.options:
        return _acknowledge(request, row, ACK + RAPID)
    frame, left_out = leased(request.table, request.message, row, OFFER)
    return Outcome((frame,), notes=(Note.NO_ROOM,) if left_out else ())


def _request(request: Request) -> Outcome:
    """Answer a REQUEST in the state that its fields show (RFC 2131, table 4).

    A client that names us, by server identifier or by destination, is ours: it hears a NAK also
    where nothing is known of it. Another one that is unknown may be another server's: silence.
    """
    message = request.message
    chosen, requested = message.options.get(SERVER_ID), message.options.get(REQUESTED)
    known = message.ciaddr if message.ciaddr != NO_ADDRESS else None
    if chosen is not None and chosen not in request.table.servers:
        return Outcome(notes=(Note.OTHER_SERVER,))
    if chosen is not None:  # selecting
        return _decide(request, requested or known, chosen)
    if known is None:  # init-reboot
        return _decide(request, requested, None)
    if message.giaddr == NO_ADDRESS and message.destination != EVERYBODY:
        return _decide(request, known, message.destination)._replace(wait=RENEWAL_WAIT)
    return _decide(request, known, None)  # rebinding


def _decide(request: Request, wanted: bytes | None, us: bytes | None) -> Outcome:
    """Acknowledge the client's own address, refuse another; `us`: the client named this server."""
    row = request.row
    if wanted is None:
        return Outcome(notes=(Note.INCOMPLETE,))
    if row is None:
        return _refuse(request, us, "no reservation") if us else Outcome(notes=(Note.UNKNOWN,))
    if wanted != row.address:
        return _refuse(request, us or row.server, "wrong address")
    if request.leases.quarantined(wanted, request.at):
        return _refuse(request, us or row.server, "address declined")
    return _acknowledge(request, row, ACK)


def _acknowledge(request: Request, row: Row, kind: bytes) -> Outcome:
    message = request.message
    frame, left_out = leased(request.table, message, row, kind)
    until = None if row.lease_time == INFINITE else request.at + row.lease_time
    event = _event(request, row, _granted(request, row), until)
    return Outcome((frame,), 0.0, (event,), (Note.NO_ROOM,) if left_out else ())


def _granted(request: Request, row: Row) -> Action:
    mac = request.message.chaddr[:MAC_SIZE]
    held = request.leases.holds(row.address, mac, request.at)
    return Action.RENEWED if held else Action.GRANTED


def _event(request: Request, row: Row, action: Action, until: float | None) -> Event:
    message = request.message
    client = message.options.get(CLIENT_ID, b"")
    return Event(action, row.address, message.chaddr[:MAC_SIZE], client, until, request.at)


def _refuse(request: Request, server: bytes, why: str) -> Outcome:
    frame = refused(request.table, request.message, server, why)
    return Outcome((frame,), notes=(Note.REFUSED,))


def _decline(request: Request) -> Outcome:
    options, row = request.message.options, request.row
    if row is None:
        return Outcome(notes=(Note.UNKNOWN,))
    if options.get(SERVER_ID) not in request.table.servers:
        return Outcome(notes=(Note.OTHER_SERVER,))
    if options.get(REQUESTED) != row.address:
        return Outcome(notes=(Note.WRONG_ADDRESS,))
    event = _event(request, row, Action.DECLINED, request.at + QUARANTINE)
    return Outcome(events=(event,), notes=(Note.DECLINED,))


def _release(request: Request) -> Outcome:
    message, row = request.message, request.row
    if row is None:
        return Outcome(notes=(Note.UNKNOWN,))
    if message.options.get(SERVER_ID) not in request.table.servers:
        return Outcome(notes=(Note.OTHER_SERVER,))
    if message.ciaddr != row.address:
        return Outcome(notes=(Note.WRONG_ADDRESS,))
    if not request.leases.may_hold(row.address, message.chaddr[:MAC_SIZE], request.at):
        return Outcome(notes=(Note.NO_LEASE,))
    return Outcome(events=(_event(request, row, Action.RELEASED, None),))


def _inform(request: Request) -> Outcome:
    message, row = request.message, request.row
    if row is None:
        return Outcome(notes=(Note.UNKNOWN,))
    if message.ciaddr == NO_ADDRESS:
        return Outcome(notes=(Note.INCOMPLETE,))
    if not row.first <= message.ciaddr <= row.last:
        return Outcome(notes=(Note.WRONG_ADDRESS,))
    frame, left_out = informed(request.table, message, row)
    return Outcome((frame,), notes=(Note.NO_ROOM,) if left_out else ())


def _bootp(request: Request) -> Outcome:
    """Answer BOOTP: such a client never renews, so its lease never ends (RFC 1534, 2)."""
    row = request.row
    if row is None:
        return Outcome(notes=(Note.UNKNOWN,))
    if request.leases.quarantined(row.address, request.at):
        return Outcome(notes=(Note.QUARANTINED,))
    frame = booted(request.table, request.message, row)
    event = _event(request, row, _granted(request, row), None)
    return Outcome((frame,), events=(event,))


_HANDLERS: Mapping[bytes, Callable[[Request], Outcome]] = {
    b"\1": _discover,
    b"\3": _request,
    b"\4": _decline,
    b"\7": _release,
    b"\x08": _inform,
}
