"""Tells that something changed in Open vSwitch: its database, or ovs-vswitchd was restarted.

What changed isn't said: whoever is told looks again.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

from lessor.agent.ovs import Ovsdb

HELLO, ECHO_REQUEST, ECHO_REPLY = 0, 2, 3  # OpenFlow Switch Specification 1.4, A.1
VERSION = 5  # OpenFlow 1.4
_HEAD = struct.Struct("!BBHI")  # version, type, length, transaction


class OvsWatch:
    """Calls back, in the event loop, a little after the first of a burst of changes.

    Args:
        db: the database; it tells of changes from its first use on.
        switch: a bridge's socket ("/run/openvswitch/br-int.mgmt"): it breaks off when ovs-vswitchd
            ends.
        gather_s: how long a burst is gathered before the call.
        retry_s: how often ovs-vswitchd is looked for while it does not run.
    """

    def __init__(
        self, db: Ovsdb, switch: Path, *, gather_s: float = 0.02, retry_s: float = 0.5
    ) -> None:
        self._db = db
        self._switch = switch
        self._gather_s = gather_s
        self._retry_s = retry_s

    async def run(self, changed: Callable[[], None]) -> None:
        """Watch until cancelled; `changed` may be called without need."""
        loop = asyncio.get_running_loop()
        some = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(some.set)

        self._db.subscribe(tell)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch_switch(some))
                while True:
                    await some.wait()
                    await asyncio.sleep(self._gather_s)
                    some.clear()
                    changed()
        finally:
            self._db.unsubscribe(tell)

    async def _watch_switch(self, some: asyncio.Event) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._switch)
            except OSError:
                await asyncio.sleep(self._retry_s)
                continue
            some.set()
            try:
                await _listen(reader, writer)
            finally:
                writer.close()
            some.set()


async def _listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Keep an OpenFlow connection until the other end closes it."""
    writer.write(_HEAD.pack(VERSION, HELLO, _HEAD.size, 1))
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            _, kind, length, transaction = _HEAD.unpack(await reader.readexactly(_HEAD.size))
            body = await reader.readexactly(length - _HEAD.size)
            if kind == ECHO_REQUEST:
                writer.write(_HEAD.pack(VERSION, ECHO_REPLY, length, transaction) + body)
