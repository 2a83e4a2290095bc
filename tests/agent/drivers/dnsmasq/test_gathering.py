"""Names of new ports are written in the thread of the drivers, and what that shows is looked at."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lessor.agent.drivers.dnsmasq import names

LIMIT_S = 10


def test_there_is_a_look_whenever_there_is_something_to_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "GATHER_S", 0.001)
    told = iter([False, True, False, True])
    threads: set[str] = set()
    looks: list[int] = []
    calls = 0

    def write() -> bool:
        nonlocal calls
        calls += 1
        threads.add(threading.current_thread().name)
        return next(told)

    async def main() -> None:
        done = asyncio.Event()

        def look() -> None:
            looks.append(calls)
            if len(looks) > 1:
                done.set()

        with ThreadPoolExecutor(1, "drivers") as thread:
            task = asyncio.create_task(names.write_names(write, thread, look))
            async with asyncio.timeout(LIMIT_S):
                await done.wait()
            task.cancel()

    asyncio.run(main())
    assert looks == [2, 4]
    assert threads == {"drivers_0"}
