"""A network namespace of its own for a test: the test's thread is in it until the test ends."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lessor.agent.host.ovs import Ovsdb
from tests.agent.drivers.ovs_daemons import Ovs, open_vswitch

NEW_NET = 0x40000000  # CLONE_NEWNET
_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _shell(command: str) -> str:
    done = subprocess.run(
        ["/bin/sh", "-ec", command], capture_output=True, text=True, check=False, timeout=20
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


@contextmanager
def _own_namespace() -> Iterator[int]:
    """Be in a new namespace; yields an open file of it. It ends with the last socket in it."""
    with Path("/proc/thread-self/ns/net").open() as former:
        _checked(_libc.unshare(NEW_NET))
        with Path("/proc/thread-self/ns/net").open() as here:
            try:
                yield here.fileno()
            finally:
                _checked(_libc.setns(former.fileno(), NEW_NET))


@contextmanager
def _inside(namespace: int) -> Iterator[None]:
    with Path("/proc/thread-self/ns/net").open() as former:
        _checked(_libc.setns(namespace, NEW_NET))
        try:
            yield
        finally:
            _checked(_libc.setns(former.fileno(), NEW_NET))


@pytest.fixture
def netns() -> Iterator[int]:
    """The test runs in a fresh network namespace, with nothing in it but lo, up."""
    with _own_namespace() as here:
        _shell("ip link set lo up")
        yield here


@pytest.fixture
def sh(netns: int) -> Callable[[str], str]:
    """Runs a shell line where the test is (its namespace) and returns what it prints."""
    return _shell


@pytest.fixture
def peer(netns: int) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """A second namespace, for what is at the other end of the wire: `with peer(): ...`."""
    with _own_namespace() as namespace:
        _shell("ip link set lo up")
        with _inside(netns):
            yield lambda: _inside(namespace)


class _Faulty:
    """An IPRoute whose n-th change of the host is refused, or is the last thing that is done."""

    def __init__(self, ip: IPRoute, at: int, kill: bool) -> None:
        self._ip, self._at, self._kill = ip, at, kill
        self.changes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ip, name)

    def link(self, command: str, **arguments: Any) -> Any:
        if command == "get":
            return self._ip.link(command, **arguments)
        return self._change(lambda: self._ip.link(command, **arguments))

    def addr(self, command: Any, **arguments: Any) -> Any:
        return self._change(lambda: self._ip.addr(command, **arguments))

    def route(self, command: Any, **arguments: Any) -> Any:
        return self._change(lambda: self._ip.route(command, **arguments))

    def brport(self, command: str, **arguments: Any) -> Any:
        return self._change(lambda: self._ip.brport(command, **arguments))

    def _change(self, make: Callable[[], Any]) -> Any:
        self.changes += 1
        if self.changes != self._at:
            return make()
        if not self._kill:
            raise NetlinkError(16, "injected")
        with contextlib.suppress(NetlinkError):
            make()
        raise KeyboardInterrupt


@pytest.fixture
def failing(ip: IPRoute) -> Callable[[int, bool], Any]:
    """Makes a socket of which one change fails: `failing(n, kill)`.

    The n-th is refused with NetlinkError; with `kill` it is done and KeyboardInterrupt, which no
    product code handles, stands for the end of the process. `changes` counts.
    """
    return lambda at, kill: _Faulty(ip, at, kill)


@pytest.fixture
def ip(netns: int) -> Iterator[IPRoute]:
    """A netlink socket of the test's namespace."""
    with IPRoute() as opened:
        yield opened


@pytest.fixture
def ovs(netns: int, tmp_path: Path) -> Iterator[Ovs]:
    """Open vSwitch, of this test only, in its namespace."""
    folder = tmp_path / "ovs"
    folder.mkdir()
    with open_vswitch(folder) as running:
        yield running


@pytest.fixture
def db(ovs: Ovs) -> Iterator[Ovsdb]:
    """A connection to the database of `ovs`."""
    opened = Ovsdb(ovs.connection)
    yield opened
    opened.close()
