"""Messages between the agent and lessor-dhcpd, one packet each; every one is answered.

The agent does not trust the process, which reads what guests send: an answer is checked for its
shape and size.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from lessor.errors import Invalid

PROTOCOL = 1
BATCH = 128  # reservations in one message: 2 ms of the process's time
PAGE = 256  # servers, or clients, in one answer
MAX_LEASES = 512  # in one message

Name = Annotated[str, msgspec.Meta(pattern=r"\A[^\s/.][^\s/]{0,63}\Z")]  # of a server, in events
_Text = Annotated[str, msgspec.Meta(max_length=255)]
_Fingerprint = Annotated[str, msgspec.Meta(max_length=128)]
_Hostname = Annotated[str, msgspec.Meta(max_length=255, pattern=r"\A[A-Za-z0-9_.-]*\Z")]
_Address = Annotated[bytes, msgspec.Meta(min_length=4, max_length=4)]
_Mac = Annotated[bytes, msgspec.Meta(min_length=6, max_length=6)]
_ClientId = Annotated[bytes, msgspec.Meta(max_length=255)]
_Ids = Annotated[tuple[_ClientId, ...], msgspec.Meta(max_length=8)]
_Blob = Annotated[bytes, msgspec.Meta(max_length=60_000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class _Value(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A part of a message."""


class _Message(_Value, tag=True, frozen=True):
    """A message; its class is its first element."""


class Device(_Value, frozen=True):
    """The interface of a server.

    Attributes:
        interface: its name.
        namespace: the namespace it is in; "": the host's own.
        mark: of the packets that are sent.
        marked: only packets with this mark are heard.
    """

    interface: Annotated[str, msgspec.Meta(min_length=1, max_length=15)]
    namespace: _Text = ""
    mark: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)] = 0
    marked: bool = False


class Header(_Value, frozen=True):
    """A server, without its reservations.

    Attributes:
        name: as lease events have it.
        device: where it listens.
        servers: its addresses, each a server identifier.
        layout: of its rows; rows of another one are not served.
        fingerprint: of what its driver wants to recognize.
        relays: MACs that may speak for other clients.
        rapid_commit: a DISCOVER that asks for it gets an ACK (RFC 4039).
        rate: messages a second of one client in the long run.
        burst: messages of one client at once.
    """

    name: Name
    device: Device
    servers: tuple[_Address, ...]
    layout: _Count
    fingerprint: _Fingerprint = ""
    relays: tuple[_Mac, ...] = ()
    rapid_commit: bool = False
    rate: _Seconds = 20.0
    burst: _Seconds = 40.0


class Entry(_Value, frozen=True):
    """A reservation: its ready row, and the reservation itself for whoever asks.

    Attributes:
        address: one address has one reservation.
        mac: of the client.
        clients: identifiers that it is known by.
        hostname: for its lease events.
        row: as `core.dhcp.packed` packs it.
        reservation: JSON; the process doesn't read it.
    """

    address: _Address
    mac: _Mac
    clients: _Ids
    hostname: _Hostname
    row: _Blob
    reservation: _Blob


class Held(_Value, frozen=True):
    """A live lease. `expires_at`: seconds since 1970; None: never."""

    address: _Address
    mac: _Mac
    client_id: _ClientId
    expires_at: _Seconds | None


class Hello(_Message, frozen=True):
    """Asks who is there, and for the servers whose names follow `after`."""

    protocol: int = PROTOCOL
    after: str = ""


class Open(_Message, frozen=True):
    """Adds a server, or changes its header; its sockets come along, or none: then they stay."""

    header: Header


class Close(_Message, frozen=True):
    """Removes a server with its reservations and leases."""

    name: Name


class Put(_Message, frozen=True):
    """Adds reservations, or replaces those of the same addresses."""

    name: Name
    entries: Annotated[tuple[Entry, ...], msgspec.Meta(max_length=BATCH)]


class Drop(_Message, frozen=True):
    """Removes reservations and their leases."""

    name: Name
    addresses: Annotated[tuple[_Address, ...], msgspec.Meta(max_length=BATCH)]


class Dump(_Message, frozen=True):
    """Asks for the reservations whose addresses follow `after`."""

    name: Name
    after: bytes = b""


class Seed(_Message, frozen=True):
    """Tells of live leases that are not known since a restart; `complete`: there are no others."""

    name: Name
    leases: Annotated[tuple[Held, ...], msgspec.Meta(max_length=MAX_LEASES)]
    complete: bool = False


class Status(_Message, frozen=True):
    """Asks for the counters of a server."""

    name: Name


class ServerState(_Value, frozen=True):
    """A server as the process has it.

    Attributes:
        name: its name.
        revision: raised by every change; 0: nothing is loaded, feed it again.
        fingerprint: of its header.
        attached: it listens on its interface.
        complete: its leases from before a restart are known.
    """

    name: Name
    revision: _Count
    fingerprint: _Fingerprint
    attached: bool
    complete: bool


class Welcome(_Message, frozen=True):
    """Answers `Hello`; `version` is the one that it was started with.

    Attributes:
        pid: of the process.
        version: of the program.
        servers: in the order of their names.
        more: there are others.
        problem: why the table on disk was begun again; "": it wasn't.
    """

    pid: _Count
    version: _Text
    servers: Annotated[tuple[ServerState, ...], msgspec.Meta(max_length=PAGE)]
    more: bool
    problem: _Text = ""


class Done(_Message, frozen=True):
    """A change was made.

    Attributes:
        revision: of the server.
        unsaved: why it is not on disk yet; "": it is.
    """

    revision: _Count
    unsaved: _Text = ""


class Page(_Message, frozen=True):
    """Reservations, as their JSON by address.

    Attributes:
        revision: of the server; if it changes meanwhile, ask again from the start.
        reservations: by address, in order; b"": its text is lost, put it again.
        more: ask on after the last address; none came: ask the same again.
    """

    revision: _Count
    reservations: dict[_Address, _Blob]
    more: bool


class Figures(_Message, frozen=True):
    """Counters of a server since the start of the process.

    Attributes:
        since: start of the process, in seconds since 1970.
        reservations: in memory.
        leases: live ones.
        heard: messages.
        answered: messages that were answered.
        notes: messages by what was noted of them.
        clients: the same by MAC, of the last clients with which something was noted.
        unreported: lease events that could not be written yet, and why.
        lost: lease events that found no room in memory either.
        unsaved: changes that could not be written to disk yet.
    """

    since: _Seconds
    reservations: _Count
    leases: _Count
    heard: _Count
    answered: _Count
    notes: dict[_Text, _Count]
    clients: Annotated[dict[_Mac, dict[_Text, _Count]], msgspec.Meta(max_length=PAGE)]
    unreported: _Count
    unreported_why: _Text
    lost: _Count
    unsaved: _Count


class Refused(_Message, frozen=True):
    """Nothing was changed, and why."""

    reason: Annotated[str, msgspec.Meta(max_length=1000)]
    kind: Literal["malformed", "unknown"] = "malformed"


Question = Hello | Open | Close | Put | Drop | Dump | Seed | Status
Answer = Welcome | Done | Page | Figures | Refused

M = TypeVar("M")
_ENCODER = msgspec.msgpack.Encoder()
QUESTION: msgspec.msgpack.Decoder[Question] = msgspec.msgpack.Decoder(Question)
ANSWER: msgspec.msgpack.Decoder[Answer] = msgspec.msgpack.Decoder(Answer)
HEADER: msgspec.msgpack.Decoder[Header] = msgspec.msgpack.Decoder(Header)
DEVICE: msgspec.json.Decoder[Device] = msgspec.json.Decoder(Device)


def encode(value: msgspec.Struct) -> bytes:
    """Return a message, or a part of one, as it is sent."""
    return _ENCODER.encode(value)


def read(decoder: msgspec.msgpack.Decoder[M], data: bytes) -> M:
    """Return the message in these bytes.

    Raises:
        Invalid: they are none.
    """
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Invalid(f"a message is malformed: {error}") from error
