"""Has DNS know the names of new ports, gathered: a VM's first DISCOVER waits for no name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

GATHER_S = 1.0  # a new port has its name after so long at most, or with its lease


async def write_names(
    write: Callable[[], bool], thread: Executor, look: Callable[[], None]
) -> None:
    """Call `write` every second, until cancelled.

    Args:
        write: puts names in place; returns whether there is something to see.
        thread: the one in which drivers are called.
        look: called when there is.
    """
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(GATHER_S)
        if await loop.run_in_executor(thread, write):
            look()
