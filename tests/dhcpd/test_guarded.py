"""On a bridge with the product's own firewall: answers reach taps, and taps alone are heard."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lessor.core.firewall.host_guard import host_rulesets
from lessor.core.firewall.tap_guard import guard_ruleset
from lessor.core.vmport import PortSecurity
from lessor.dhcpd.client import header_of
from lessor.netns import inside, prefix
from tests.core.dhcp.client import RANGE, reservation
from tests.dhcpclient import ACK, DhcpClient
from tests.dhcpd.lan import SERVER, Lan, address, entry, ip, lan, mac, wait_for

pytestmark = pytest.mark.lab
BRIDGE = "br100"
NF_CALL = "/proc/sys/net/bridge/bridge-nf-call-iptables"


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Lan]:
    """Return a bridge with a port's tap, c0 at its far end, and a port that nobody knows, c1."""
    with lan(tmp_path) as made:
        ip("-n", made.here, "link", "del", "dhcp0")
        ip("-n", made.here, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0")
        ip("-n", made.here, "addr", "add", f"{RANGE.server}/24", "dev", BRIDGE)
        ip("-n", made.here, "link", "set", BRIDGE, "up")
        for near, far in (("tap", "c0"), ("unknown", "c1")):
            there = ("peer", far, "netns", made.there)
            ip("-n", made.here, "link", "add", near, "type", "veth", *there)
            ip("-n", made.here, "link", "set", near, "master", BRIDGE, "up")
            ip("-n", made.there, "link", "set", far, "up")
        own = (mac(1), IPv4Network(f"{address(1)}/32"))
        tap = PortSecurity("tap", BRIDGE, mac(1), (mac(1),), (own,), (RANGE.server,))
        for ruleset in (guard_ruleset([tap], []), *host_rulesets([BRIDGE])):
            argv = [*prefix(made.here), "nft", "-f", "-"]
            subprocess.run(argv, input=ruleset.text, text=True, check=True, timeout=20)
        # else the host's own table drops frames of unknown ports before the bridge takes them in
        off = "test ! -e $0 || echo 0 >$0"
        subprocess.run([*prefix(made.here), "sh", "-c", off, NF_CALL], check=True, timeout=20)
        yield made


def begin(net: Lan, *, marked: bool) -> None:
    net.daemon.connect()
    server = replace(net.server(), interface=BRIDGE)
    net.daemon.open(header_of(server, marked=marked))
    net.daemon.put(SERVER, [entry(reservation(1))])


def client(net: Lan, interface: str) -> DhcpClient:
    with inside(net.there):
        made = DhcpClient(interface, mac(1))
    net.clients.append(made)
    return made


@pytest.mark.parametrize("marked", [True, False])
def test_a_tap_is_answered_through_the_guard(net: Lan, *, marked: bool) -> None:
    begin(net, marked=marked)
    one = client(net, "c0")
    wait_for(lambda: one.acquire(0.5))  # the bridge's ports need a moment
    reply = one.renew()
    assert reply is not None
    assert reply.kind == ACK


def test_what_comes_from_an_unknown_port_is_not_heard(net: Lan) -> None:
    begin(net, marked=True)
    one = client(net, "c0")
    wait_for(lambda: one.acquire(0.5))
    heard = net.daemon.status(SERVER).heard
    assert client(net, "c1").discover(0.3) is None
    assert net.daemon.status(SERVER).heard == heard


def test_an_answer_never_reaches_an_unknown_port(net: Lan) -> None:
    begin(net, marked=False)  # so that it is heard
    stranger = client(net, "c1")
    replies = []

    def answered() -> bool:
        replies.append(stranger.discover(0.2))
        return net.daemon.status(SERVER).answered > 0

    wait_for(answered)
    assert not any(replies)
