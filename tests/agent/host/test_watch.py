import asyncio
import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from lessor.agent.host.watch import NetlinkWatch

pytestmark = pytest.mark.lab

NEW_NET = 0x40000000  # CLONE_NEWNET


@pytest.fixture
def netns() -> Iterator[None]:
    """The test is in a fresh network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open() as former:
        assert libc.unshare(NEW_NET) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(former.fileno(), NEW_NET) == 0


class Told:
    """Counts the calls and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.calls = 0
        self._event = asyncio.Event()

    def __call__(self) -> None:
        self.calls += 1
        self._event.set()

    async def once_more(self) -> None:
        await asyncio.wait_for(self._event.wait(), 5)
        self._event.clear()


async def watch_while(*changes: tuple[str, dict[str, object]]) -> list[int]:
    told, counts = Told(), []
    task = asyncio.create_task(NetlinkWatch(told, gather_s=0.05).run())
    try:
        for kind, arguments in changes:
            await asyncio.to_thread(add, kind, arguments)
            await told.once_more()
            counts.append(told.calls)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return counts


def test_links_addresses_and_routes_are_told(netns: None) -> None:
    counts = asyncio.run(
        watch_while(
            ("link", {"ifname": "v0", "kind": "veth", "peer": {"ifname": "v1"}}),
            ("addr", {"index": 1, "address": "192.0.2.1", "prefixlen": 24}),
            ("route", {"dst": "198.51.100.0/24", "type": "unreachable"}),
        )
    )
    assert counts == sorted(set(counts))


def test_a_burst_is_told_once(netns: None) -> None:
    async def burst() -> int:
        told = Told()
        watch = NetlinkWatch(told, gather_s=0.2)
        await asyncio.to_thread(make_many, 20)
        task = asyncio.create_task(watch.run())
        await told.once_more()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return told.calls

    assert asyncio.run(burst()) == 1


def test_dropped_messages_are_told_too(netns: None) -> None:
    async def overrun() -> int:
        told = Told()
        watch, same = NetlinkWatch(told), NetlinkWatch(told)
        for one in (watch, same):
            one._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        await asyncio.to_thread(make_many, 50)
        with pytest.raises(OSError, match="No buffer space"):
            same._socket.recv(1)
        same.close()
        task = asyncio.create_task(watch.run())
        await told.once_more()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return told.calls

    assert asyncio.run(overrun()) >= 1


def add(kind: str, arguments: dict[str, object]) -> None:
    with IPRoute() as ip:
        getattr(ip, kind)("add", **arguments)


def make_many(count: int, prefix: str = "v") -> None:
    with IPRoute() as ip:
        for n in range(count):
            ip.link("add", ifname=f"{prefix}{n}", kind="veth", peer={"ifname": f"{prefix}p{n}"})
