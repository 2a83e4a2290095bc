"""An agent that is killed at any step leaves what the next one can finish."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lessor.agent.host.run import run
from lessor.core.state import DhcpServer
from tests.agent.drivers.dnsmasq_host import (
    Host,
    host_in_namespace,
    reserve,
    server,
)

pytestmark = pytest.mark.lab


@pytest.fixture
def host() -> Iterator[Host]:
    with host_in_namespace() as made:
        yield made


class Killed(BaseException):
    """The agent dies."""


class Steps:
    """Counts what the driver does to the host, and kills the agent before one."""

    def __init__(self, host: Host, patch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.kill_at = -1
        for owner, name in (
            (Path, "replace"),
            (Path, "unlink"),
            (Path, "touch"),
            (Path, "rename"),
            (Path, "mkdir"),
            (signal, "pidfd_send_signal"),
            (shutil, "rmtree"),
        ):
            patch.setattr(owner, name, self._around(name, getattr(owner, name)))
        host.run = self._around("run", run)

    def _around(self, name: str, real: Any) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            self._count(name)
            return real(*args, **more)

        return call

    def _count(self, name: str) -> None:
        self.done.append(name)
        if len(self.done) == self.kill_at:
            raise Killed(name)


CHURN: dict[str, tuple[list[DhcpServer], list[DhcpServer]]] = {
    "start": ([], [server(reserve(5), reserve(6, router=False))]),
    "add": ([server(reserve(5))], [server(reserve(5), reserve(6, router=False))]),
    "change": (
        [server(reserve(5), reserve(6), reserve(7))],
        [server(reserve(8, at=5), reserve(6, at=66), reserve(7))],
    ),
    "change-tagged": (
        [server(reserve(5, router=False), reserve(6))],
        [server(reserve(8, at=5), reserve(6, options=(("42", "10.0.0.8"),)))],
    ),
    "restart": ([server(reserve(5))], [server(reserve(5), lease_time=77)]),
    "delete": ([server(reserve(5), reserve(6))], []),
}


@pytest.mark.parametrize("case", CHURN)
def test_killed_at_any_step_it_converges(
    host: Host, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = CHURN[case]
    at = 1
    while True:
        host.bring(*before)
        for one in before:
            for reservation in one.reservations.values():
                assert host.client(reservation.mac).acquire()
        if before:
            host.wait_for(lambda: len(host.held()) == len(before[0].reservations))
        killed = kill_once(host, after, at, monkeypatch)
        assert_converges(host, after)
        if not killed:
            assert at > 3
            return
        at += 1 + at // 8
        host.bring()
        host.start_agent()


def kill_once(
    host: Host, after: list[DhcpServer], at: int, monkeypatch: pytest.MonkeyPatch
) -> bool:
    with monkeypatch.context() as patch:
        steps = Steps(host, patch)
        steps.kill_at = at
        host.clock = lambda: time.monotonic() + 1000
        try:
            host.once(*after)
        except Killed:
            killed = True
        else:
            killed = False
    host.run = run
    host.clock = time.monotonic
    if killed:
        host.start_agent()
    return killed


def assert_converges(host: Host, after: list[DhcpServer]) -> None:
    host.bring(*after)
    assert host.once(*after) == []
    assert len(host.pids()) == len(after)
    for one in after:
        for reservation in one.reservations.values():
            reply = host.client(reservation.mac).acquire()
            assert reply
            assert reply.address == reservation.address
    if not after:
        assert list(host.root.iterdir()) == []
        assert host.held() == {}
