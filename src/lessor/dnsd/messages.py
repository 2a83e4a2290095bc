"""Messages between the agent and the process, on its control socket. Each gets one answer.

A server's settings are in a file that the agent writes (`files.py`), for only that is read as root;
its names come in messages, and are in the process's own table.
"""

from __future__ import annotations

import msgspec

from lessor.core.dns.zone import Entry, Zone

VERSION = 1  # of these messages and of the files
MAX_ENTRIES = 400  # of a message: a few milliseconds, and less than the socket takes


class _Message(msgspec.Struct, tag=True, array_like=True, forbid_unknown_fields=True):
    """A message; its class is its first element."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """A server without its names. `namespace`: that its sockets are in; "": the host's own."""

    name: str
    namespace: str
    zone: Zone


class Hello(_Message):
    """Which servers are there?"""


class Sockets(_Message):
    """Some sockets of a server, as descriptors; `Open` uses all that have come."""

    server: str


class Open(_Message):
    """Serve with these settings. Without new sockets, on those before."""

    header: Header


class Close(_Message):
    """Serve no more, and forget the server."""

    server: str


class Change(_Message):
    """Drop names of a server, then add others. `complete`: then it has all that it should."""

    server: str
    drop: tuple[Entry, ...]
    put: tuple[Entry, ...]
    complete: bool


class Dump(_Message):
    """Which names has a server? `after`: where the page begins."""

    server: str
    after: int


class Resolvers(_Message):
    """The host's own name servers are these."""

    addresses: tuple[str, ...]


class Status(_Message):
    """What became of the questions to a server?"""

    server: str


class ServerState(msgspec.Struct, frozen=True, array_like=True):
    """A server of the process."""

    name: str
    revision: int
    complete: bool
    serves: bool


class Servers(_Message):
    """The answer to `Hello`.

    Attributes:
        version: of these messages.
        program: version of the program that runs.
        problems: what went wrong at the start, and what is wrong with the table.
    """

    version: int
    program: str
    states: tuple[ServerState, ...]
    problems: tuple[str, ...]


class Done(_Message):
    """It is done; the server has this revision now."""

    revision: int


class Names(_Message):
    """The answer to `Dump`. `next`: where the next page begins; None: it was the last one."""

    entries: tuple[Entry, ...]
    next: int | None


class Counts(_Message):
    """The answer to `Status`. `silent`: upstream servers that have not answered lately."""

    open: int
    counts: dict[str, int]
    silent: tuple[str, ...]


class Refused(_Message):
    """It can't be done, for this reason."""

    reason: str


OfAgent = Hello | Sockets | Open | Close | Change | Dump | Resolvers | Status
OfProcess = Servers | Done | Names | Counts | Refused

encode = msgspec.msgpack.Encoder().encode
READ_BY_PROCESS: msgspec.msgpack.Decoder[OfAgent] = msgspec.msgpack.Decoder(OfAgent)
READ_BY_AGENT: msgspec.msgpack.Decoder[OfProcess] = msgspec.msgpack.Decoder(OfProcess)
READ_HEADER: msgspec.msgpack.Decoder[Header] = msgspec.msgpack.Decoder(Header)
