"""What VMs get through their guards: TCP, small packets, round trips; in both modes.

Two VMs on one host, and two on two hosts, on networks with many other guarded taps. Nothing else
than a socket of Linux sends and hears. What is measured is the way through bridge or br-int with
our rules, on this machine: a ratio of two commits means something, a figure alone little.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address
from pathlib import Path

from bench.figure import Figure, of_repeats, quantile
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.state import HostSpec
from lessor.lab.vm import NetnsVm

HOSTS = ("cmp1", "cmp2")
OTHERS = 20  # VMs beside those that talk
PORT = 7000
CHUNK = 1 << 18
SMALL = bytes(18)  # the least of an Ethernet frame
TIMEOUT_S = 10
QUIET_S = 0.5  # without a packet: nothing more comes

Vm = tuple[Path, IPv4Address]  # its network namespace and its address


def measure(quick: bool) -> Iterator[Figure]:
    """Yield all of it."""
    folder = Path(tempfile.mkdtemp(prefix="lessor-bench-"))
    hosts = [HostSpec(name="net1", network_host=True, overlay=True)]
    hosts += [HostSpec(name=name, overlay=True) for name in HOSTS]
    lab = Lab.up(folder, hosts)
    try:
        for kind, cidr in (("flat", "10.64.0.0/16"), ("vxlan", "10.65.0.0/16")):
            network = lab.network(kind, cidr, kind=kind)
            vms = [_vm(lab, f"{kind}{at}", HOSTS[at == 2], network) for at in range(3 + OTHERS)]
            for where, other in (("one host", vms[1]), ("two hosts", vms[2])):
                yield from _between(f"{kind}, {where}", vms[0], other, quick=quick)
    finally:
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)


def _vm(lab: Lab, name: str, host: str, network: LabNetwork) -> Vm:
    vm = lab.boot(name, host, network)
    assert isinstance(vm, NetnsVm)
    return vm.netns_path(), vm.dhcp().address


def _between(where: str, one: Vm, other: Vm, *, quick: bool) -> Iterator[Figure]:
    repeats, seconds = (5, 1.0) if quick else (9, 2.0)
    tcp = [_tcp(one, other, seconds) for _ in range(repeats)]
    yield of_repeats(f"{where}: TCP", [n * 8 / 1e9 for n in tcp], "Gbit/s", repeats)
    packets = [_packets(one, other, seconds) for _ in range(repeats)]
    yield of_repeats(f"{where}: small packets", [n / 1e3 for n in packets], "1,000/s", repeats)
    trips = _round_trips(one, other, 2000 if quick else 10_000)
    yield Figure(
        what=f"{where}: round trip, p50", value=quantile(trips, 0.5) * 1e6, unit="µs", n=len(trips)
    )


def _in(vm: Vm, kind: socket.SocketKind) -> socket.socket:
    made = in_netns(vm[0], lambda: socket.socket(socket.AF_INET, kind))
    made.settimeout(TIMEOUT_S)
    return made


def _tcp(one: Vm, other: Vm, seconds: float) -> float:
    """Return the bytes a second that come to the other."""
    door = _in(other, socket.SOCK_STREAM)
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind((str(other[1]), PORT))
    door.listen()
    sender = _in(one, socket.SOCK_STREAM)
    sender.connect((str(other[1]), PORT))
    heard = door.accept()[0]
    heard.settimeout(TIMEOUT_S)

    def send() -> None:
        chunk, end = bytes(CHUNK), time.perf_counter() + seconds
        heard.close()
        while time.perf_counter() < end:
            sender.sendall(chunk)
        sender.shutdown(socket.SHUT_WR)

    with door, sender, heard, _beside(send):
        sender.close()
        got, started = 0, time.perf_counter()
        while some := heard.recv_into(bytearray(CHUNK)):
            got += some
        return got / (time.perf_counter() - started)


def _packets(one: Vm, other: Vm, seconds: float) -> float:
    """Return the packets a second that come to the other, of as many as can be sent."""
    heard, sender = _in(other, socket.SOCK_DGRAM), _in(one, socket.SOCK_DGRAM)
    heard.bind((str(other[1]), PORT))
    heard.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    sender.connect((str(other[1]), PORT))

    def send() -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            for _ in range(64):
                sender.send(SMALL)

    with heard, sender, _beside(send):
        heard.recv(64)
        heard.settimeout(QUIET_S)
        got, started, last = 0, time.perf_counter(), time.perf_counter()
        while True:
            try:
                heard.recv(64)
            except TimeoutError:
                return got / (last - started)
            got, last = got + 1, time.perf_counter()


def _round_trips(one: Vm, other: Vm, times: int) -> list[float]:
    """Return the seconds of each."""
    heard, sender = _in(other, socket.SOCK_DGRAM), _in(one, socket.SOCK_DGRAM)
    heard.bind((str(other[1]), PORT))
    sender.connect((str(other[1]), PORT))

    def answer() -> None:
        for _ in range(times):
            heard.sendto(*heard.recvfrom(64))

    taken = []
    with heard, sender, _beside(answer):
        for _ in range(times):
            started = time.perf_counter()
            sender.send(SMALL)
            sender.recv(64)
            taken.append(time.perf_counter() - started)
    return taken


@contextmanager
def _beside(call: Callable[[], None]) -> Iterator[None]:
    """Have a function run in a process of its own meanwhile, on another processor than ours.

    Where the kernel puts them by itself differs from run to run, and a round trip by five times.
    """
    allowed = os.sched_getaffinity(0)

    def pinned() -> None:
        os.sched_setaffinity(0, {max(allowed)})
        call()

    process = multiprocessing.get_context("fork").Process(target=pinned, daemon=True)
    process.start()
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
        process.join(TIMEOUT_S)
        process.kill()
