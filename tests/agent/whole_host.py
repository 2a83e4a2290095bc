"""A whole host under its agent, in a network namespace: all drivers, and operations that fail."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import signal
import tempfile
import time
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from lessor.agent import kit
from lessor.agent.drivers import bridges
from lessor.agent.drivers.dnsmasq import program
from lessor.agent.drivers.dnsmasq.driver import DnsmasqDriver
from lessor.agent.drivers.dnsmasq.process import Process, find_all
from lessor.agent.drivers.uplink import Uplink
from lessor.agent.host.nft import Nft
from lessor.agent.host.run import run
from lessor.agent.host.tun import SET_DEVICE, SET_PERSISTENT
from lessor.agent.outcome import Outcome
from lessor.agent.reconcile import Reconciler
from lessor.core.dnsmasq.command import Paths
from lessor.core.plan.desired import Planner
from lessor.errors import CommandError
from lessor.lab.wait import wait_for
from lessor.metadata import listeners
from lessor.metadata.listeners import MetadataListeners
from lessor.model import View
from lessor.settings import AgentSettings, FlatMapping
from tests.metadata.metadata_fakes import FakeServer, app, ports, running_loop

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
BRIDGE = "br100"
TAP_REQUESTS = (SET_DEVICE, SET_PERSISTENT)
OPERATORS = """
ip link set lo up
ip link add eth0 type veth peer name wire0; ip link set eth0 up; ip link set wire0 up
ip link add eth1 type veth peer name wire1; ip link set eth1 up; ip link set wire1 up
ip addr add 192.0.2.10/24 dev eth0; ip route add default via 192.0.2.1
ip addr add 198.51.100.10/24 dev eth1; ip addr add 198.51.100.11/24 dev eth1
ip route add 10.9.0.0/16 via 198.51.100.1 src 198.51.100.11
ip link add op0 type bridge; ip link set op0 up; ip addr add 172.16.0.1/24 dev op0
nft add table inet operator
nft add chain inet operator seen '{ type filter hook forward priority 0; policy accept; }'
nft add rule inet operator seen ip saddr 172.16.0.0/24 counter accept
iptables -A INPUT -s 203.0.113.7/32 -j DROP
iptables -t nat -A POSTROUTING -s 172.16.0.0/24 -o eth0 -j MASQUERADE
"""
SEEN = (
    "ip -d addr; ip route show table all; ip -6 route show table all; ip rule; "
    "nft list ruleset; iptables-save"
)


class Killed(BaseException):  # no Exception: nothing of the product may handle it
    """The agent dies."""


class Steps:
    """What the agent does to the host, one step after the other; one of them may go wrong."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.at = 0
        self.kill = True

    def arm(self, at: int, *, kill: bool) -> None:
        """Let step number `at` from now fail: refused by the host, or the agent dies before it."""
        self.done.clear()
        self.at, self.kill = at, kill

    def disarm(self) -> int:
        """Let nothing fail; return how many steps there were."""
        self.at = 0
        return len(self.done)

    def around(self, name: str, real: Any, refusal: Callable[[], Exception]) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            self.done.append(f"{name} {args[:3]} {more}")
            if len(self.done) == self.at:
                raise Killed(self.done[-1]) if self.kill else refusal()
            return real(*args, **more)

        return call


class Netlink:
    """An IPRoute whose changes are steps."""

    def __init__(self, steps: Steps) -> None:
        self._ip = IPRoute()
        refusal = partial(NetlinkError, 16, "injected")
        self.addr, self.route, self.brport, self._link = (
            steps.around(name, getattr(self._ip, name), refusal)
            for name in ("addr", "route", "brport", "link")
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ip, name)

    def link(self, command: str, **arguments: Any) -> Any:
        act = self._ip.link if command == "get" else self._link
        return act(command, **arguments)


class SteppedNft(Nft):
    """An Nft whose calls are steps."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._stepped = steps.around("nft", super().__call__, lambda: CommandError("injected"))

    def __call__(self, *argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        answer: str = self._stepped(*argv, stdin=stdin, timeout_s=timeout_s)
        return answer


def inject(steps: Steps, patch: pytest.MonkeyPatch) -> None:
    """Make steps of all that drivers do: netlink, programs, files, signals, taps, sockets."""
    ioctl = fcntl.ioctl
    tap_step = steps.around("ioctl", ioctl, partial(OSError, 16, "injected"))
    patch.setattr(
        fcntl, "ioctl", lambda *args: (tap_step if args[1] in TAP_REQUESTS else ioctl)(*args)
    )
    full = partial(OSError, 28, "No space left on device (injected)")
    patch.setattr(kit, "IPRoute", lambda: Netlink(steps))
    patch.setattr(kit, "Nft", lambda: SteppedNft(steps))
    patch.setattr(kit, "run", steps.around("run", run, lambda: CommandError("injected")))
    patch.setattr(listeners, "bound", steps.around("bound", listeners.bound, full))
    for owner, name in (
        *((Path, name) for name in ("replace", "unlink", "touch", "rename", "mkdir", "write_text")),
        (signal, "pidfd_send_signal"),
        (shutil, "rmtree"),
        (bridges, "set_tx_checksum"),
    ):
        patch.setattr(owner, name, steps.around(name, getattr(owner, name), full))


class Server:
    """A server that answers, and is not asked for leases."""

    addresses = ()
    known_leases = None

    def reachable(self) -> bool:
        return True


class Host:
    """The host, and the agent that it has at the moment."""

    def __init__(self, folder: Path, loop: AbstractEventLoop, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._loop = loop
        self._ahead_s = 0.0
        self._metadata: MetadataListeners | None = None
        self.settings = AgentSettings(
            state_dir=folder / "state",
            networks_path=folder / "networks",
            host="net",
            my_ip=IPv4Address("192.0.2.10"),
            flat_mappings=(
                FlatMapping(physical_network="physnet1", bridge=BRIDGE, interface="eth1"),
            ),
        )
        dnsmasq = partial(DnsmasqDriver, runtime=folder / "run", clock=self._clock)
        patch.setattr(program, "DnsmasqDriver", dnsmasq)
        patch.setattr(bridges, "Uplink", partial(Uplink, clock=self._clock))
        called = program.Dnsmasq(self.settings, folder / "state/agent/spool").hook
        self.paths = Paths(folder / "networks" / BRIDGE, called.program, called.user)

    def _clock(self) -> float:
        """A minute goes by between two passes: nothing waits for its turn."""
        return time.monotonic() + self._ahead_s

    def start_agent(self) -> None:
        """A new agent that knows nothing but what is on disk."""
        self.end_agent()
        self._metadata = MetadataListeners(app(FakeServer([])).process(), self._loop, ports())
        leases = kit.lease_parts(self.settings)
        made = kit.agent_kit(self.settings, leases, Server(), self._metadata)
        self._drivers = made
        self._ip = made.kinds[1].driver._ip  # type: ignore[attr-defined]
        self._planner = Planner(self.settings)
        self._reconciler = Reconciler(made.kinds)

    def end_agent(self) -> None:
        """What the kernel does for a process that is gone."""
        if self._metadata:
            self._metadata.close()
            self._ip.close()
            self._drivers.close()
            self._metadata = None

    def once(self, view: View) -> Outcome:
        """One look at the whole host."""
        self._ahead_s += 700
        self._reconciler.suspect()
        return self._reconciler.apply(self._planner.desired(view).state)

    def sh(self, command: str) -> str:
        return run("sh", "-ec", command)

    def seen(self) -> str:
        """All that an operator may have put there, as he sees it."""
        text = self.sh(SEEN)
        text = re.sub(r"(?m)^# .*\n|\[\d+:\d+\]|\w+_timer +[0-9.]+", "", text)
        return re.sub(r"packets \d+ bytes \d+", "", text)

    def servers(self) -> list[Process]:
        found = find_all(self.paths)
        for process in found:
            process.close()
        return found

    def stop_all(self) -> None:
        self.end_agent()
        for process in find_all(self.paths):
            process.stop()
            process.close()


@contextmanager
def whole_host(patch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with an operator's own things, in a network namespace that this process enters."""
    folder = Path(tempfile.mkdtemp(prefix="lessor-whole-"))
    folder.chmod(0o755)  # dnsmasq reads its files as nobody
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    assert LIBC.unshare(CLONE_NEWNET) == 0
    try:
        run("sh", "-ec", OPERATORS)
        wait_for(lambda: " tentative" not in run("ip", "-6", "addr"), 30, "IPv6 has settled")
        with running_loop() as loop:
            host = Host(folder, loop, patch)
            try:
                yield host
            finally:
                host.stop_all()
    finally:
        assert LIBC.setns(home, CLONE_NEWNET) == 0
        os.close(home)
        with suppress(FileNotFoundError):
            shutil.rmtree(folder)
