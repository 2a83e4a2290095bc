"""The host itself, and ports of its bridge that nothing is known of: neither hears the other.

A host with a bridge of ours and one of an operator's own; VMs are namespaces behind veth pairs.
"""

from __future__ import annotations

import json
import select
from collections.abc import Iterator

import pytest

from lessor.core.firewall.host_guard import host_rulesets
from lessor.core.firewall.tap_guard import guard_ruleset
from lessor.core.vmport import PortSecurity
from lessor.errors import CommandError
from tests.agent.drivers.frames import Namespace, namespaces, packet_socket

pytestmark = pytest.mark.lab

OURS, OTHERS = "br100", "virbr0"
PLACES = {"known": OURS, "unknown": OURS, "guest": OTHERS}
HOST = {OURS: "10.7.0.1", OTHERS: "10.8.0.1"}
ADDRESS = {"known": "10.7.0.5", "unknown": "10.7.0.6", "guest": "10.8.0.5"}


class Site:
    def __init__(self, host: Namespace, *vms: Namespace) -> None:
        self.host, self.vms = host, dict(zip(PLACES, vms, strict=True))
        for one in (host, *vms):  # no frames of their own
            one.set("net.ipv6.conf.default.disable_ipv6", "1")
        for bridge, address in HOST.items():
            host.ip(
                f"link add {bridge} type bridge forward_delay 0 mcast_snooping 0",
                f"link set {bridge} up",
                f"addr add {address}/24 dev {bridge}",
            )
        host.set("net.ipv4.ip_forward", "1")
        for name, vm in self.vms.items():
            host.ip(
                f"link add {name} type veth peer name far",
                f"link set {name} master {PLACES[name]} up",
            )
            host.move("far", vm)
            vm.ip(
                "link set far up",
                f"addr add {ADDRESS[name]}/24 dev far",
                f"route add default via {HOST[PLACES[name]]}",
            )
        tap = PortSecurity("known", OURS, "fa:16:3e:00:00:01", (), ())
        for ruleset in (guard_ruleset([tap], []), *host_rulesets([OURS])):
            host.run("nft", "-f", "-", stdin=ruleset.text)

    def pings(self, place: Namespace, target: str) -> bool:
        try:
            place.run("busybox", "ping", "-c", "1", "-W", "1", target)
        except CommandError:
            return False
        return True

    def counted(self) -> dict[str, int]:
        rows = json.loads(self.host.run("nft", "-j", "list", "counters"))["nftables"]
        found = [row["counter"] for row in rows if "counter" in row]
        return {f"{one['family']} {one['name']}": one["packets"] for one in found}


@pytest.fixture
def site() -> Iterator[Site]:
    with namespaces(4) as made:
        yield Site(*made)


def test_a_known_port_and_the_host_reach_each_other(site: Site) -> None:
    assert site.pings(site.vms["known"], HOST[OURS])
    assert site.pings(site.host, ADDRESS["known"])
    assert not site.counted()["inet from_unknown"]
    assert not site.counted()["arp from_unknown"]


def test_the_host_hears_nothing_of_an_unknown_port(site: Site) -> None:
    vm = site.vms["unknown"]
    assert not site.pings(vm, HOST[OURS])
    assert site.counted()["arp from_unknown"]
    mac = json.loads(site.host.run("ip", "-j", "link", "show", OURS))[0]["address"]
    vm.ip(f"neigh replace {HOST[OURS]} lladdr {mac} dev far nud permanent")
    assert not site.pings(vm, HOST[OURS])
    assert site.counted()["inet from_unknown"]
    assert not site.pings(vm, ADDRESS["guest"])
    assert "10.7.0.6" not in site.host.run("ip", "neigh")


def test_an_unknown_port_hears_nothing_of_the_host(site: Site) -> None:
    with packet_socket(site.vms["unknown"], "far") as ear:
        assert not site.pings(site.host, ADDRESS["unknown"])
        assert not site.pings(site.vms["guest"], ADDRESS["unknown"])
        assert not select.select([ear], [], [], 0)[0]
    assert site.counted()["bridge to_unknown"]


def test_an_operators_own_bridge_is_left_alone(site: Site) -> None:
    """What is routed there from ours, too."""
    assert site.pings(site.vms["guest"], HOST[OTHERS])
    assert site.pings(site.host, ADDRESS["guest"])
    assert site.pings(site.vms["known"], ADDRESS["guest"])
    assert site.pings(site.vms["guest"], ADDRESS["known"])
