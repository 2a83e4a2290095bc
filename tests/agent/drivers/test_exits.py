"""The end of a dnsmasq's process is noticed."""

from __future__ import annotations

import asyncio
import os
import subprocess

from lessor.agent.drivers.exits import DeathWatch


def test_the_end_of_each_process_of_a_server_is_noticed() -> None:
    with (
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as main,
        subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE) as helper,
    ):
        asyncio.run(watch(main, helper))


async def watch(*programs: subprocess.Popen[bytes]) -> None:
    pidfds = {os.pidfd_open(one.pid): "br100" for one in programs}
    died = asyncio.Event()
    watching = asyncio.create_task(DeathWatch(lambda: pidfds, died.set).run())
    for one in programs:
        died.clear()
        await asyncio.sleep(0)
        assert one.stdin
        one.stdin.close()
        await asyncio.wait_for(died.wait(), 10)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    for pidfd in pidfds:
        os.close(pidfd)
