"""Watches Open vSwitch: its database, our flows, and the end of ovs-vswitchd.

The call does not say what changed: its receiver looks again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from lessor.agent.host import openflow
from lessor.agent.host.ovs import Ovsdb


class OvsWatch:
    """Calls back, in the event loop, a little after the first of a burst of changes.

    Args:
        db: the database; it tells of changes from its first use on.
        switches: sockets of bridges ("/run/openvswitch/br-int.mgmt"): they tell of flows, and break
            off when ovs-vswitchd ends.
        flows_changed: called before `changed` when flows may be other ones.
        gather_s: how long a burst is gathered before the call.
        retry_s: how often ovs-vswitchd is looked for while it does not run.
    """

    def __init__(
        self,
        db: Ovsdb,
        switches: Sequence[Path],
        flows_changed: Callable[[], None],
        *,
        gather_s: float = 0.02,
        retry_s: float = 0.5,
    ) -> None:
        self._db = db
        self._switches = tuple(switches)
        self._flows_changed = flows_changed
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
                for switch in self._switches:
                    tasks.create_task(self._watch_switch(switch, some))
                while True:
                    await some.wait()
                    await asyncio.sleep(self._gather_s)
                    some.clear()
                    changed()
        finally:
            self._db.unsubscribe(tell)

    async def _watch_switch(self, switch: Path, some: asyncio.Event) -> None:
        def other() -> None:
            self._flows_changed()
            some.set()

        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(switch)
            except OSError:
                await asyncio.sleep(self._retry_s)
                continue
            other()
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await openflow.follow(reader, writer, other)
            finally:
                writer.close()
            other()
