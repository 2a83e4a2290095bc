"""Two networks with equal addresses in two namespaces: each VM gets its own metadata."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyroute2 import netns

from lessor.core.diff import diff
from lessor.core.state import MetadataListener
from lessor.errors import Pending
from lessor.metadata.listeners import MetadataListeners
from tests.metadata.metadata_fakes import FIVE, FakeServer, app, mac_of, ports, running_loop, vm

pytestmark = pytest.mark.lab

PREFIX = f"lessor-mq{os.getpid()}"
HOST = f"{PREFIX}-h"
URL = "http://169.254.169.254/latest/meta-data/hostname"
NETWORKS = {"a": "blue", "b": "red"}


def ip(*args: str) -> str:
    done = subprocess.run(("ip", *args), capture_output=True, text=True, timeout=10, check=True)
    return done.stdout


def qdhcp(name: str) -> str:
    return f"{PREFIX}-q{name}"


def guest(name: str) -> str:
    return f"{PREFIX}-{name}"


def make_namespace(name: str) -> None:
    """A network's namespace with its tap, and a VM with 10.0.0.5 at the other end."""
    ip("netns", "add", qdhcp(name))
    ip("-n", qdhcp(name), "link", "add", f"tap{name}", "type", "veth", "peer", "eth0",
       "netns", guest(name))  # fmt: skip
    for address in ("10.0.0.2/24", "169.254.169.254/32"):
        ip("-n", qdhcp(name), "address", "add", address, "dev", f"tap{name}")
    ip("-n", qdhcp(name), "link", "set", f"tap{name}", "up")
    ip("-n", guest(name), "address", "add", "10.0.0.5/24", "dev", "eth0")
    ip("-n", guest(name), "link", "set", "eth0", "address", mac_of("10.0.0.5"), "up")
    ip("-n", guest(name), "route", "add", "169.254.169.254/32", "via", "10.0.0.2")


@pytest.fixture
def namespaces() -> Iterator[None]:
    names = [HOST, *map(guest, NETWORKS), *map(qdhcp, NETWORKS)]
    try:
        for name in (HOST, *map(guest, NETWORKS)):
            ip("netns", "add", name)
        for name in NETWORKS:
            make_namespace(name)
        yield
    finally:
        for name in names:
            subprocess.run(("ip", "netns", "del", name), timeout=10, check=False)


@pytest.fixture
def thread(namespaces: None) -> Iterator[ThreadPoolExecutor]:
    """A thread in the host, as the agent's reconciling one."""
    with ThreadPoolExecutor(1, initializer=lambda: netns.setns(HOST)) as made:
        yield made


@pytest.fixture
def listeners(thread: ThreadPoolExecutor) -> Iterator[MetadataListeners]:
    server = FakeServer([vm(name, network, FIVE) for name, network in NETWORKS.items()])
    with running_loop(lambda: netns.setns(HOST)) as loop:
        made = MetadataListeners(app(server).process(), loop, ports(*server.vms))
        yield made
        made.close()


def wanted() -> dict[str, MetadataListener]:
    return {
        f"tap{name}": MetadataListener(f"tap{name}", 80, (network,), qdhcp(name))
        for name, network in NETWORKS.items()
    }


def converge(listeners: MetadataListeners) -> None:
    listeners.apply(diff(wanted(), listeners.observe()))


def asked(name: str, *headers: str, url: str = URL) -> str:
    sent = [part for header in headers for part in ("-H", header)]
    return ip("netns", "exec", guest(name), "curl", "-sS", "--max-time", "5", *sent, url)


def test_vms_with_equal_addresses_on_two_networks_are_told_their_own(
    thread: ThreadPoolExecutor, listeners: MetadataListeners
) -> None:
    thread.submit(converge, listeners).result(10)
    assert not thread.submit(lambda: diff(wanted(), listeners.observe())).result(10)
    for name in "ab":
        assert asked(name) == f"{name}.novalocal"
    posing = ("X-Forwarded-For: 10.0.0.9", "X-Neutron-Network-ID: red", "X-Instance-ID: vm-b")
    assert asked("a", *posing) == "a.novalocal"
    with pytest.raises(subprocess.CalledProcessError, match="exit status 7"):
        asked("a", url="http://10.0.0.2/")


def test_a_namespace_made_anew_is_served_and_the_other_was_all_the_time(
    thread: ThreadPoolExecutor, listeners: MetadataListeners
) -> None:
    thread.submit(converge, listeners).result(10)
    other = listeners._open["tapa"].door

    ip("netns", "del", qdhcp("b"))
    assert list(thread.submit(listeners.observe).result(10)) == ["tapa"]
    with pytest.raises(ExceptionGroup) as caught:
        thread.submit(converge, listeners).result(10)
    assert caught.group_contains(Pending, match=f"there is no network namespace {qdhcp('b')} yet")

    subprocess.run(("ip", "-n", guest("b"), "link", "del", "eth0"), check=False, timeout=10)
    make_namespace("b")
    thread.submit(converge, listeners).result(10)

    assert asked("b") == "b.novalocal"
    assert asked("a") == "a.novalocal"
    assert listeners._open["tapa"].door is other


def test_an_address_that_is_not_there_yet_is_waited_for(
    thread: ThreadPoolExecutor, listeners: MetadataListeners
) -> None:
    ip("-n", qdhcp("b"), "address", "del", "169.254.169.254/32", "dev", "tapb")
    with pytest.raises(ExceptionGroup) as caught:
        thread.submit(converge, listeners).result(10)
    assert caught.group_contains(Pending, match=r"no address 169\.254\.169\.254 in")
    assert asked("a") == "a.novalocal"
