"""Two bridges of one host, the same client address on both: each VM is told its own.

Everything is in network namespaces of this test; the service runs in a thread of the host's.
"""

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest
from pyroute2 import netns

from lessor.core.diff import diff
from lessor.core.state import MetadataListener
from lessor.errors import Pending
from lessor.metadata.listeners import MetadataListeners
from tests.metadata.metadata_fakes import FakeServer, app, mac_of, ports, running_loop, vm

pytestmark = pytest.mark.lab

PORT = 8775
REDIRECT = """
table ip md {
  chain pre {
    type nat hook prerouting priority dstnat;
    ip daddr 169.254.169.254 tcp dport 80 redirect to :8775
  }
}
"""


@dataclass
class Host:
    """A host with br-a and br-b, and a VM with 10.0.0.5 on each."""

    prefix: str

    def __str__(self) -> str:
        return f"{self.prefix}-h"

    def vm(self, bridge: str) -> str:
        return f"{self.prefix}-{bridge}"

    def bridge(self, bridge: str) -> None:
        ip("-n", str(self), "link", "add", f"br-{bridge}", "type", "bridge")
        ip("-n", str(self), "address", "add", "10.0.0.1/24", "dev", f"br-{bridge}")
        ip("-n", str(self), "link", "set", f"br-{bridge}", "up")
        ip("-n", str(self), "link", "set", f"tap-{bridge}", "master", f"br-{bridge}", "up")

    def plug(self, bridge: str) -> None:
        guest = self.vm(bridge)
        tap = f"tap-{bridge}"
        ip("-n", str(self), "link", "add", tap, "type", "veth", "peer", "eth0", "netns", guest)
        ip("-n", guest, "address", "add", "10.0.0.5/24", "dev", "eth0")
        ip("-n", guest, "link", "set", "eth0", "address", mac_of("10.0.0.5"), "up")
        ip("-n", guest, "route", "add", "default", "via", "10.0.0.1")


def ip(*args: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ("ip", *args), input=stdin, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host(f"lessor-md{os.getpid()}")
    names = [str(made), made.vm("a"), made.vm("b")]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("-n", str(made), "link", "set", "lo", "up")
        for name in ("all", "default"):  # both bridges have the same addresses behind them
            setting = f"net.ipv4.conf.{name}.rp_filter=0"
            ip("netns", "exec", str(made), "sysctl", "-qw", setting)
        for bridge in "ab":
            made.plug(bridge)
            made.bridge(bridge)
        ip("netns", "exec", str(made), "nft", "-f", "-", stdin=REDIRECT)
        yield made
    finally:
        for name in names:
            subprocess.run(("ip", "netns", "del", name), timeout=10, check=False)


@pytest.fixture
def reconciler(host: Host) -> Iterator[ThreadPoolExecutor]:
    """A thread in the host, as the agent's reconciling one."""
    with ThreadPoolExecutor(1, initializer=lambda: netns.setns(str(host))) as thread:
        yield thread


@pytest.fixture
def listeners(host: Host, reconciler: ThreadPoolExecutor) -> Iterator[MetadataListeners]:
    address = IPv4Address("10.0.0.5")
    server = FakeServer([vm("a", "blue", address), vm("b", "red", address)])
    with running_loop(lambda: netns.setns(str(host))) as loop:
        made = MetadataListeners(app(server).process(), loop, ports(*server.vms))
        yield made
        made.close()


def asked(guest: str, url: str) -> str:
    return ip("netns", "exec", guest, "curl", "-sS", "--max-time", "5", url)


def both() -> dict[str, MetadataListener]:
    return {
        "br-a": MetadataListener("br-a", PORT, ("blue",)),
        "br-b": MetadataListener("br-b", PORT, ("red",)),
    }


@pytest.mark.parametrize("base", [f"http://10.0.0.1:{PORT}", "http://169.254.169.254"])
def test_vms_with_equal_addresses_on_two_bridges_are_told_their_own(
    host: Host, reconciler: ThreadPoolExecutor, listeners: MetadataListeners, base: str
) -> None:
    reconciler.submit(listeners.apply, diff(both(), {})).result(10)
    assert reconciler.submit(listeners.observe).result(10) == both()
    for _ in range(2):
        for bridge in "ab":
            told = asked(host.vm(bridge), f"{base}/latest/meta-data/hostname")
            assert told == f"{bridge}.novalocal"


def test_listener_is_opened_again_on_a_bridge_that_was_made_anew(
    host: Host, reconciler: ThreadPoolExecutor, listeners: MetadataListeners
) -> None:
    def converge() -> None:
        listeners.apply(diff(both(), listeners.observe()))

    reconciler.submit(converge).result(10)
    ip("-n", str(host), "link", "del", "br-b")
    assert "br-b" not in reconciler.submit(listeners.observe).result(10)
    with pytest.raises(ExceptionGroup) as caught:
        reconciler.submit(converge).result(10)
    assert caught.group_contains(Pending, match="no interface br-b yet")

    host.bridge("b")
    reconciler.submit(converge).result(10)

    url = f"http://10.0.0.1:{PORT}/latest/meta-data/hostname"
    assert asked(host.vm("b"), url) == "b.novalocal"
    assert asked(host.vm("a"), url) == "a.novalocal"
