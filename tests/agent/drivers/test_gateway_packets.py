"""The gateway's rules against real packets, both backends (acceptance check 9 of the design).

A host with a bridge and an outside NIC; two VMs, somebody on the wire, and the outside, each a
namespace with its own stack. br_netfilter is on, as it is by default: bridged frames meet the
rules too.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from lessor.agent.drivers.rulesets import RulesetDriver
from lessor.core.diff import diff
from lessor.core.gateway_iptables import iptables_gateway_ruleset
from lessor.core.gateway_nft import GatewayOptions, nft_gateway_ruleset
from lessor.core.guards import guard_ruleset
from lessor.core.state import Gateway, Guard, Ruleset
from tests.agent.drivers.frames import Namespace, checksum, namespaces

pytestmark = pytest.mark.lab

VM1, VM2, FRIEND, ROGUE = "10.0.0.5", "10.0.0.6", "10.0.0.200", "10.0.0.7"
MACS = {"vm1": "fa:16:3e:00:00:01", "vm2": "fa:16:3e:00:00:02"}
HOST, PUBLIC, OUTSIDE, DMZ = "10.0.0.1", "192.0.2.1", "192.0.2.2", "203.0.113.2"
ECHO = 7
GATEWAY = Gateway(
    "n",
    "s",
    "br100",
    "wire",
    IPv4Network("10.0.0.0/24"),
    IPv4Address(HOST),
    external=False,
    isolated=False,
    vm_sources=((IPv4Address("10.0.0.2"), IPv4Address("10.0.0.99")),),
)
OPTIONS = GatewayOptions(
    public_interface="eth0",
    routing_source_ip=IPv4Address("192.0.2.11"),
    dmz_cidr=(IPv4Network("203.0.113.0/24"),),
)
GUARDS = [
    Guard(name, "br100", (MACS[name],), ((MACS[name], IPv4Network(address)),), ())
    for name, address in (("vm1", VM1), ("vm2", VM2))
]


class Site:
    """The host and those around it."""

    def __init__(self, made: Sequence[Namespace], record: Path) -> None:
        self._record = record
        self.host, self.vm1, self.vm2, self.wire, self.out = made
        lines = [
            "link add br100 type bridge forward_delay 0",
            "link set br100 address 02:00:00:00:00:01",
        ]
        for name in ("vm1", "vm2", "wire", "eth0"):
            lines.append(f"link add {name} type veth peer name p-{name}")
            lines.append(f"link set {name} up")
        lines += [f"link set {name} master br100" for name in ("vm1", "vm2", "wire")]
        lines += ["link set br100 up", f"addr add {HOST}/24 dev br100", "link set lo up"]
        lines += [f"addr add {PUBLIC}/24 dev eth0", "addr add 192.0.2.11/24 dev eth0"]
        lines += [f"route add {DMZ}/32 via {OUTSIDE}", f"route add 198.51.100.0/24 via {OUTSIDE}"]
        self.host.set("net.ipv4.ip_forward", "1")
        self.host.ip(*lines)
        for name, place, address in (
            ("vm1", self.vm1, VM1),
            ("vm2", self.vm2, VM2),
            ("wire", self.wire, FRIEND),
            ("eth0", self.out, OUTSIDE),
        ):
            self._connect(name, place, address)
        self.out.ip(
            f"addr add {DMZ}/32 dev lo",
            "addr add 198.51.100.2/32 dev lo",
            "route add default via " + PUBLIC,
        )
        self.wire.ip(f"addr add {ROGUE}/24 dev nic")

    def _connect(self, name: str, place: Namespace, address: str) -> None:
        self.host.move(f"p-{name}", place)
        mac = MACS.get(name)
        lines = [f"link set p-{name} name nic", *([f"link set nic address {mac}"] if mac else [])]
        lines += ["link set lo up", "link set nic up", f"addr add {address}/24 dev nic"]
        if place is not self.out:
            lines.append(f"route add default via {HOST}")
        place.ip(*lines)

    def apply(self, *wanted: Ruleset) -> None:
        """Have just these rules."""
        driver = RulesetDriver(self.host.run, self._record)
        driver.apply(diff({one.name: one for one in wanted}, driver.observe()))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with namespaces(5) as made:
        yield Site(made, tmp_path_factory.mktemp("firewall") / "record")


def ruleset(backend: str, gateways: Sequence[Gateway], options: GatewayOptions) -> Ruleset:
    if backend == "iptables":
        return iptables_gateway_ruleset(gateways, options)
    return nft_gateway_ruleset(gateways, options)


@pytest.fixture(params=["nftables", "iptables"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def gateway(site: Site, backend: str) -> Site:
    site.apply(guard_ruleset(GUARDS, [GATEWAY]), ruleset(backend, [GATEWAY], OPTIONS))
    return site


def bound(
    place: Namespace, address: str, port: int, kind: int = socket.SOCK_DGRAM
) -> socket.socket:
    with place:
        opened = socket.socket(socket.AF_INET, kind)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    opened.bind((address, port))
    opened.settimeout(5)
    if kind == socket.SOCK_STREAM:
        opened.listen()
    return opened


def source_seen(
    sender: Namespace,
    receiver: Namespace,
    address: str,
    *,
    port: int = ECHO,
    own: str = "",
    wait_s: float = 5,
) -> str | None:
    """Send datagrams; return the source address that the receiver sees; None: none has come."""
    with bound(receiver, "", port) as heard, bound(sender, own, 0) as sent:
        sent.sendto(b"hello", (address, port))
        if select.select([heard], [], [], wait_s)[0]:
            return str(heard.recvfrom(100)[1][0])
    return None


def reaches(
    sender: Namespace, receiver: Namespace, address: str, *, port: int = ECHO, own: str = ""
) -> bool:
    """Tell whether a datagram comes through where it shouldn't, in a time that is long for it."""
    return source_seen(sender, receiver, address, port=port, own=own, wait_s=0.3) is not None


def test_outside_sees_the_routing_source_address(gateway: Site) -> None:
    assert source_seen(gateway.vm1, gateway.out, OUTSIDE) == "192.0.2.11"


def test_answers_from_outside_come_back(gateway: Site) -> None:
    with bound(gateway.out, "", ECHO) as far, bound(gateway.vm1, "", 0) as near:
        near.sendto(b"ask", (OUTSIDE, ECHO))
        _, back = far.recvfrom(100)
        far.sendto(b"answer", back)
        assert near.recvfrom(100) == (b"answer", (OUTSIDE, ECHO))


def test_dmz_sees_the_vms_own_address(gateway: Site) -> None:
    assert source_seen(gateway.vm1, gateway.out, DMZ) == VM1


def test_another_vm_sees_the_vms_own_address(gateway: Site) -> None:
    assert source_seen(gateway.vm1, gateway.vm2, VM2) == VM1


def metadata_client(site: Site, place: Namespace, port: int) -> str:
    """Ask for metadata as a VM does; return the client address that the service sees."""
    with bound(place, "", port, socket.SOCK_STREAM) as service, site.vm1:
        client = socket.create_connection(("169.254.169.254", 80), timeout=5)
        with client:
            answered, (address, _) = service.accept()
            answered.close()
    return str(address)


def test_metadata_is_answered_here_and_sees_the_vms_own_address(gateway: Site) -> None:
    assert metadata_client(gateway, gateway.host, 8775) == VM1


def test_metadata_elsewhere_sees_the_vms_own_address(site: Site, backend: str) -> None:
    options = replace(OPTIONS, metadata_host=IPv4Address(OUTSIDE), metadata_port=8700)
    site.apply(ruleset(backend, [GATEWAY], options))
    assert metadata_client(site, site.out, 8700) == VM1


@pytest.mark.parametrize("port", [53, 67, 8775])
def test_services_for_vms_are_reached(gateway: Site, port: int) -> None:
    if port == 8775:
        with bound(gateway.host, "", port, socket.SOCK_STREAM) as service, gateway.vm1:
            socket.create_connection((HOST, port), timeout=5).close()
            service.accept()[0].close()
    else:
        assert source_seen(gateway.vm1, gateway.host, HOST, port=port) == VM1


@pytest.mark.parametrize("address", [HOST, PUBLIC])
def test_rest_of_the_host_is_closed_to_vms_at_all_its_addresses(
    gateway: Site, address: str
) -> None:
    assert not reaches(gateway.vm1, gateway.host, address, port=123)


def test_host_answers_a_vms_ping(gateway: Site) -> None:
    request = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
    request = request[:2] + struct.pack("!H", checksum(request)) + request[4:]
    with gateway.vm1:
        pinger = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with pinger:
        pinger.settimeout(5)
        pinger.sendto(request, (HOST, 0))
        assert pinger.recv(100)[20:22] == bytes((0, 0))  # an echo reply, behind the IP header


def test_host_reaches_its_vms_and_hears_their_answers(gateway: Site) -> None:
    with bound(gateway.vm1, "", ECHO) as far, bound(gateway.host, "", 0) as near:
        near.sendto(b"ask", (VM1, ECHO))
        _, back = far.recvfrom(100)
        far.sendto(b"answer", back)
        assert near.recv(100) == b"answer"


def test_host_stays_open_to_others_on_the_bridge(gateway: Site) -> None:
    assert source_seen(gateway.wire, gateway.host, HOST, port=123, own=FRIEND) == FRIEND


def test_host_is_closed_to_vms_of_other_hosts(gateway: Site) -> None:
    """They come by the wire, unmarked; their addresses tell."""
    assert not reaches(gateway.wire, gateway.host, HOST, port=123, own=ROGUE)
    assert source_seen(gateway.wire, gateway.host, HOST, port=53, own=ROGUE) == ROGUE


def test_vm_without_port_security_is_known_by_its_tap(site: Site, backend: str) -> None:
    """Its address is in no pool."""
    free = Guard("vm1", "br100", (), (), ())
    nobody = replace(GATEWAY, vm_sources=())
    site.apply(guard_ruleset([free], [nobody]), ruleset(backend, [nobody], OPTIONS))
    assert not reaches(site.vm1, site.host, HOST, port=123)
    assert source_seen(site.vm1, site.host, HOST, port=53) == VM1


@pytest.mark.parametrize(
    ("interfaces", "outside"),
    [
        pytest.param(("all",), "192.0.2.11", id="all"),
        pytest.param(("eth9", "eth0"), "192.0.2.11", id="listed"),
        pytest.param(("eth9",), None, id="not-listed"),
    ],
)
def test_bridge_forwards_to_the_interfaces_it_may(
    site: Site, backend: str, interfaces: tuple[str, ...], outside: str | None
) -> None:
    options = replace(OPTIONS, forward_bridge_interface=interfaces)
    site.apply(ruleset(backend, [GATEWAY], options))
    if outside is None:
        assert not reaches(site.vm1, site.out, OUTSIDE)
    else:
        assert source_seen(site.vm1, site.out, OUTSIDE) == outside
    assert source_seen(site.vm1, site.vm2, VM2) == VM1


def test_compute_host_routes_nothing_and_bridges_all(site: Site, backend: str) -> None:
    site.apply(ruleset(backend, [], replace(OPTIONS, bridges=("br100",))))
    assert not reaches(site.vm1, site.out, OUTSIDE)
    assert not reaches(site.out, site.vm1, VM1)
    assert source_seen(site.vm1, site.vm2, VM2) == VM1


def test_external_gateway_leaves_all_but_the_forced_ranges(site: Site, backend: str) -> None:
    """VMs send to a router on the wire, which nobody is: what is forced is lifted off the bridge."""
    forced = (IPv4Network("198.51.100.0/24"),)
    there = replace(GATEWAY, external=True)
    options = replace(OPTIONS, force_snat_range=forced)
    site.apply(guard_ruleset(GUARDS, [there], forced), ruleset(backend, [there], options))
    assert source_seen(site.vm1, site.out, OUTSIDE) == VM1  # sent to us, routed as it is
    site.vm1.ip(
        "neigh replace 10.0.0.254 lladdr 02:00:00:00:00:99 dev nic",
        "route replace default via 10.0.0.254",
    )
    try:
        assert source_seen(site.vm1, site.out, "198.51.100.2") == "192.0.2.11"
        assert not reaches(site.vm1, site.out, OUTSIDE)
        assert metadata_client(site, site.host, 8775) == VM1
    finally:
        site.vm1.ip(f"route replace default via {HOST}")


def test_force_snat_range_around_the_network_leaves_it_alone(site: Site, backend: str) -> None:
    """br_netfilter shows the rules what is only bridged."""
    forced = (IPv4Network("10.0.0.0/8"),)
    there = replace(GATEWAY, external=True)
    options = replace(OPTIONS, force_snat_range=forced)
    site.apply(guard_ruleset(GUARDS, [there], forced), ruleset(backend, [there], options))
    assert source_seen(site.vm1, site.vm2, VM2) == VM1


def test_dhcp_replies_leave_with_their_checksum(site: Site) -> None:
    """Only iptables can fill it in; nftables has the bridge's transmit offload off instead."""
    site.apply(iptables_gateway_ruleset([GATEWAY], OPTIONS))
    with bound(site.vm1, "", 68), bound(site.host, "", 67) as server:
        before = _filled(site)
        server.sendto(b"offer", (VM1, 68))
        assert _filled(site) == before + 1


def _filled(site: Site) -> int:
    saved = site.host.run("iptables-save", "-c", "-t", "mangle")
    (line,) = (line for line in saved.splitlines() if "CHECKSUM" in line)
    return int(line[1:].split(":")[0])
