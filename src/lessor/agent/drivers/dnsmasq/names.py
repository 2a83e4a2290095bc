"""Writes the names of new ports for DNS, gathered: a VM's first DISCOVER waits for no name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

GATHER_S = 1.0  # until a new port has its name, unless its lease brings it earlier


async def write_names(
    write: Callable[[], bool], thread: Executor, look: Callable[[], None]
) -> None:
    """Call `write` every second, until cancelled.

    Args:
        write: writes names; returns whether there is something to observe.
        thread: the one that calls drivers.
        look: called after something to observe.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(GATHER_S)
        if await loop.run_in_executor(thread, write):
            look()
