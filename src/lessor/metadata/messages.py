"""Messages between the agent and the guest process.

There are two Unix sockets: one passes connections (a datagram with a number and a descriptor each),
the other messages, each after its length. The agent does not trust the process: it checks a
message's size, its shape, and that it is about a connection that the agent accepted.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from lessor.errors import Invalid
from lessor.metadata.http import Response

HANDED = struct.Struct("=Q")  # the number of a connection
_LENGTH = struct.Struct("=I")
HEAD_S, ANSWER_S = 5.0, 40.0
HEADERS = 16 << 10  # bytes of a request's line and headers
MOST_BODY = 4 * 255  # bytes: nova stores a password, the only body, in four columns of 255
OF_PROCESS = 64 << 10  # maximum bytes of one message of the process
OF_AGENT = 64 << 20  # the same of the agent, with user data

_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Address = Annotated[str, msgspec.Meta(max_length=64)]
_Header = Annotated[str, msgspec.Meta(max_length=HEADERS)]
_Target = Annotated[bytes, msgspec.Meta(max_length=HEADERS)]
_Body = Annotated[bytes, msgspec.Meta(max_length=MOST_BODY)]
_Password = Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_BODY)]
_Text = Annotated[str, msgspec.Meta(max_length=200)]


class _Message(msgspec.Struct, tag=True, array_like=True, forbid_unknown_fields=True):
    """A message; its class is its first element."""


class Ready(_Message):
    """From the process: it has dropped its rights, and serves."""


class Pong(_Message):
    """From the process: the answer to `Ping`."""


class Left(_Message):
    """From the process: a connection has ended, or was not accepted."""

    connection: _Number


class AskFacts(_Message):
    """From the process: a request for the rows of a connection's VM.

    `forwarded`: the last address of X-Forwarded-For; used only with `use_forwarded_for`.
    """

    connection: _Number
    number: _Number
    forwarded: _Address | None = None


class KeepPassword(_Message):
    """From the process: the password that the VM of a connection posted."""

    connection: _Number
    number: _Number
    password: _Password
    forwarded: _Address | None = None


class AskNova(_Message):
    """From the process: a request for Nova. `headers`: of `proxy.PASSED_HEADERS`, lower case."""

    connection: _Number
    number: _Number
    method: Literal["GET", "HEAD", "POST"]
    target: _Target
    body: _Body = b""
    accept: _Header | None = None
    content_type: _Header | None = None
    forwarded: _Address | None = None


class Note(_Message):
    """From the process: a log event."""

    connection: _Number
    event: Literal["failed", "x-instance-id"]
    text: _Text = ""


class Settings(_Message):
    """From the agent, first: settings of the service. `domain`: suffix of host names.

    `head_s`: from one answer (or the connection's start) to the end of the next request's head;
    `answer_s`: from there to the end of the answer.
    """

    domain: str
    use_forwarded_for: bool = False
    proxy: bool = False
    head_s: float = HEAD_S
    answer_s: float = ANSWER_S


class Ping(_Message):
    """From the agent: checks whether the process still works."""


class Finish(_Message):
    """From the agent: end a connection after the current answer."""

    connection: int


class Answer(_Message):
    """From the agent, to the question with this number: rows as JSON, or a response for the VM."""

    number: int
    facts: bytes = b""
    response: Response | None = None


Question = AskFacts | KeepPassword | AskNova
OfProcess = Ready | Pong | Left | Note | Question
OfAgent = Settings | Ping | Finish | Answer

M = TypeVar("M")
_ENCODER = msgspec.msgpack.Encoder()
READ_BY_AGENT: msgspec.msgpack.Decoder[OfProcess] = msgspec.msgpack.Decoder(OfProcess)
READ_BY_PROCESS: msgspec.msgpack.Decoder[OfAgent] = msgspec.msgpack.Decoder(OfAgent)


def framed(message: OfProcess | OfAgent) -> bytes:
    """Return a message in its form on the socket."""
    said = _ENCODER.encode(message)
    return _LENGTH.pack(len(said)) + said


class Frames(asyncio.Protocol, Generic[M]):
    """One end of the socket for messages.

    Args:
        decoder: decoder of received messages.
        most: maximum bytes of one message.
        heard: called with each message; raises Invalid for one that is not allowed.
        ended: called once, with the error; "": the other end has closed the socket.
    """

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[M],
        most: int,
        heard: Callable[[M], None],
        ended: Callable[[str], None],
    ) -> None:
        self._decoder = decoder
        self._most = most
        self._heard = heard
        self._ended = ended
        self._wrong = ""
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason is unused
        """End."""
        self._ended(self._wrong)

    def data_received(self, data: bytes) -> None:
        """Process all complete messages."""
        self._buffer += data
        try:
            while (said := self._next()) is not None:
                self._heard(self._read(said))
        except Invalid as error:
            self._wrong = f"protocol error: {error}"
            self.hang_up()

    def say(self, message: OfProcess | OfAgent) -> None:
        """Send a message; does nothing if the other end has closed the socket."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(message))

    def hang_up(self) -> None:
        """Close the socket; unsent messages are dropped."""
        self._buffer.clear()
        if self._transport is not None:
            self._transport.abort()

    def _read(self, said: bytes) -> M:
        try:
            return self._decoder.decode(said)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Invalid(f"a message is malformed: {error}") from error

    def _next(self) -> bytes | None:
        """Take a message from the buffer; None: none is complete."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > self._most:
            raise Invalid(f"a message has {length} bytes; the maximum is {self._most}")
        end = _LENGTH.size + length
        if len(self._buffer) < end:
            return None
        said = bytes(memoryview(self._buffer)[_LENGTH.size : end])
        del self._buffer[:end]
        return said
