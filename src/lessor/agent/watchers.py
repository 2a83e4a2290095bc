"""The watchers that make an agent look at its host again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from lessor.agent.host.wake import FolderWatch
from lessor.agent.host.watch import NetlinkWatch
from lessor.agent.kinds import Event
from lessor.agent.kit import Kit
from lessor.agent.overlay import watch_namespaces

Task = Callable[[], Coroutine[Any, Any, None]]


class Look(Protocol):
    """Has the kinds looked at that an event wakes."""

    def __call__(self, *events: Event) -> None:
        """Take an event, in the event loop."""


def watchers(kit: Kit, thread: Executor, look: Look) -> list[Task]:
    """Return the watchers of a host; each runs until cancelled.

    Args:
        kit: what is watched.
        thread: the one in which drivers are called.
        look: is called with the event.
    """
    kit.dhcp.changed.subscribe(partial(look, "dhcp"))
    tasks: list[Task] = [
        NetlinkWatch(partial(look, "netlink")).run,
        partial(kit.dhcp.run, thread),
    ]
    if overlay := kit.overlay:
        tasks += [
            partial(overlay.watch, partial(look, "ovs")),
            partial(overlay.alive.run, partial(look, "ovs")),
            partial(watch_namespaces, partial(look, "netns")),
        ]
    return tasks


async def watch_spool(folder: Path, changed: Callable[[], None]) -> None:
    """Call `changed` after each lease event that is added, until cancelled."""
    watch = FolderWatch(folder)
    try:
        while True:
            await watch.changed()
            changed()
    finally:
        watch.close()
