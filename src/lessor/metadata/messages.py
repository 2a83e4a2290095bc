"""What the agent and the process that serves guests say to each other.

Two Unix sockets: one hands connections over (a number and a descriptor, a datagram each), the other
carries messages, each with its length before it. The agent trusts nothing that it reads there: a
message of the process has a size, a shape, and is about a connection that the agent accepted.
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
MOST_BODY = 4 * 255  # bytes: nova keeps a password, all that is posted, in four columns of 255
OF_PROCESS = 64 << 10  # bytes of one message of the process
OF_AGENT = 64 << 20  # of the agent: user data are in them

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
    """Of the process: it has given up its rights, and serves."""


class Pong(_Message):
    """Of the process: the answer to `Ping`."""


class Left(_Message):
    """Of the process: a connection has ended, or was not taken."""

    connection: _Number


class AskFacts(_Message):
    """Of the process: who made a connection, and what is known of that VM.

    `forwarded`: what X-Forwarded-For names last; it counts with `use_forwarded_for` alone.
    """

    connection: _Number
    number: _Number
    forwarded: _Address | None = None


class KeepPassword(_Message):
    """Of the process: what the VM of a connection posted."""

    connection: _Number
    number: _Number
    password: _Password
    forwarded: _Address | None = None


class AskNova(_Message):
    """Of the process: a request for Nova. `headers`: of `proxy.PASSED_HEADERS`, lower case."""

    connection: _Number
    number: _Number
    method: Literal["GET", "HEAD", "POST"]
    target: _Target
    body: _Body = b""
    accept: _Header | None = None
    content_type: _Header | None = None
    forwarded: _Address | None = None


class Note(_Message):
    """Of the process: for the log."""

    connection: _Number
    event: Literal["failed", "x-instance-id"]
    text: _Text = ""


class Settings(_Message):
    """Of the agent, first: how to serve. `domain`: what host names end in.

    `head_s`: from one answer (or the connection's start) to the end of the next request's head;
    `answer_s`: from there to the end of the answer.
    """

    domain: str
    use_forwarded_for: bool = False
    proxy: bool = False
    head_s: float = HEAD_S
    answer_s: float = ANSWER_S


class Ping(_Message):
    """Of the agent: a question whether the process still works."""


class Finish(_Message):
    """Of the agent: end a connection after the answer that is under way."""

    connection: int


class Answer(_Message):
    """Of the agent, to the question with this number: facts as JSON, or what the VM is told."""

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
    """Return a message as it is sent."""
    said = _ENCODER.encode(message)
    return _LENGTH.pack(len(said)) + said


class Frames(asyncio.Protocol, Generic[M]):
    """The socket of messages, at one of its ends.

    Args:
        decoder: of what is heard.
        most: bytes that one message may have.
        heard: called with each message; Invalid: it may not be said.
        ended: called once, with what was wrong; "": the other end has gone.
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

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - why it ended doesn't count
        """End."""
        self._ended(self._wrong)

    def data_received(self, data: bytes) -> None:
        """Hear the messages that are whole."""
        self._buffer += data
        try:
            while (said := self._next()) is not None:
                self._heard(self._read(said))
        except Invalid as error:
            self._wrong = f"it broke the rules: {error}"
            self.hang_up()

    def say(self, message: OfProcess | OfAgent) -> None:
        """Send a message; nothing where the other end has gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(framed(message))

    def hang_up(self) -> None:
        """Close the socket; what is not sent yet is dropped."""
        self._buffer.clear()
        if self._transport is not None:
            self._transport.abort()

    def _read(self, said: bytes) -> M:
        try:
            return self._decoder.decode(said)
        except (msgspec.MsgspecError, ValueError) as error:
            raise Invalid(f"a message is malformed: {error}") from error

    def _next(self) -> bytes | None:
        """Take a message from the buffer; None: none is whole."""
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
