"""The part of OpenFlow that watches our flows for changes.

A switch reports each flow that is removed or modified to a monitor. Unlike polling, it costs
nothing while nothing happens.

Source: OpenFlow Switch Specification 1.4, 7.3.5.17 (flow monitoring), A.1, A.3.5; OVS has it since
2.17, and the refusal of an older one is ignored.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Iterator

from lessor.core.openflow.flow_bundle import COOKIE

VERSION = 5  # OpenFlow 1.4
HELLO, ECHO_REQUEST, ECHO_REPLY, MULTIPART_REQUEST, MULTIPART_REPLY = 0, 2, 3, 18, 19
FLOW_MONITOR = 16  # a kind of multipart
REMOVED, MODIFIED, PAUSED, RESUMED = 2, 3, 5, 6
ANY, ALL_TABLES, TELL_REMOVED, TELL_MODIFIED = 0xFFFFFFFF, 0xFF, 1 << 2, 1 << 3
_HEAD = struct.Struct("!BBHI")  # version, type, length, transaction
_MULTIPART = struct.Struct("!HH4x")  # type, flags
_MONITOR = struct.Struct("!IIIHBBHH4x")  # id, port, group, flags, table, command, an empty match
_UPDATE = struct.Struct("!HH")  # length, event
_COOKIE_AT = struct.Struct("!16xQ")  # within a full update
_OURS = int(COOKIE, 16)


async def follow(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changed: Callable[[], None]
) -> None:
    """Call `changed` for flows of ours that were removed or modified, until the other end closes.

    Raises:
        OSError, IncompleteReadError: it closed.
    """
    writer.write(_message(HELLO, b"", 1))
    writer.write(_message(MULTIPART_REQUEST, _request(), 2))
    while True:
        _, kind, length, transaction = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        body = await reader.readexactly(length - _HEAD.size)
        if kind == ECHO_REQUEST:
            writer.write(_message(ECHO_REPLY, body, transaction))
        elif kind == MULTIPART_REPLY and _concerns_us(body):
            changed()


def _message(kind: int, body: bytes, transaction: int) -> bytes:
    return _HEAD.pack(VERSION, kind, _HEAD.size + len(body), transaction) + body


def _request() -> bytes:
    flags = TELL_REMOVED | TELL_MODIFIED
    empty_match = (1, 4)  # OXM; the length without padding
    asked = _MONITOR.pack(1, ANY, ANY, flags, ALL_TABLES, 0, *empty_match)
    return _MULTIPART.pack(FLOW_MONITOR, 0) + asked


def _concerns_us(body: bytes) -> bool:
    kind, _ = _MULTIPART.unpack_from(body)
    return kind == FLOW_MONITOR and any(_updates(body))


def _updates(body: bytes) -> Iterator[bool]:
    """Yield for each update whether it may be about a flow of ours: what was paused, may."""
    at = _MULTIPART.size
    while at + _UPDATE.size <= len(body):
        length, event = _UPDATE.unpack_from(body, at)
        if event in {REMOVED, MODIFIED}:
            yield _COOKIE_AT.unpack_from(body, at)[0] == _OURS
        else:
            yield event in {PAUSED, RESUMED}
        at += max(length, _UPDATE.size)
