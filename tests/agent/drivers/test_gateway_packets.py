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
from lessor.core.around import Connected
from lessor.core.diff import diff
from lessor.core.firewall.gateway_iptables import iptables_gateway_ruleset
from lessor.core.firewall.gateway_nft import GatewayOptions, nft_gateway_ruleset
from lessor.core.firewall.tap_guard import Others, guard_ruleset
from lessor.core.state import Gateway, Ruleset, VmRange
from lessor.core.vmport import PortSecurity
from tests.agent.drivers.frames import Namespace, checksum, icmp_error, namespaces

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
    PortSecurity(name, "br100", MACS[name], (MACS[name],), ((MACS[name], IPv4Network(address)),))
    for name, address in (("vm1", VM1), ("vm2", VM2))
]
OPEN = PortSecurity("vm1", "br100", MACS["vm1"], (), ())


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
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
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
    assert ping(gateway.vm1, HOST)[20:22] == bytes((0, 0))  # an echo reply, behind the IP header


def ping(source: Namespace, address: str) -> bytes:
    """Return what comes back."""
    request = struct.pack("!BBHHH", 8, 0, 0, 7, 1)
    request = request[:2] + struct.pack("!H", checksum(request)) + request[4:]
    with source:
        pinger = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with pinger:
        pinger.settimeout(5)
        pinger.sendto(request, (address, 0))
        return pinger.recv(100)


def test_host_reaches_its_vms_and_hears_their_answers(gateway: Site) -> None:
    with bound(gateway.vm1, "", ECHO) as far, bound(gateway.host, "", 0) as near:
        near.sendto(b"ask", (VM1, ECHO))
        _, back = far.recvfrom(100)
        far.sendto(b"answer", back)
        assert near.recv(100) == b"answer"


def test_host_is_closed_to_all_that_enters_by_the_bridge(gateway: Site) -> None:
    """An address in no pool may be a VM's, by an allowed address pair."""
    assert not reaches(gateway.wire, gateway.host, HOST, port=123, own=FRIEND)
    assert not reaches(gateway.wire, gateway.host, PUBLIC, port=123, own=FRIEND)
    assert source_seen(gateway.wire, gateway.host, HOST, port=53, own=FRIEND) == FRIEND


def test_host_is_open_to_the_blocks_that_a_setting_lists(site: Site, backend: str) -> None:
    friends = replace(OPTIONS, host_access_cidr=(IPv4Network(f"{FRIEND}/32"),))
    site.apply(guard_ruleset(GUARDS, [GATEWAY]), ruleset(backend, [GATEWAY], friends))
    assert source_seen(site.wire, site.host, HOST, port=123, own=FRIEND) == FRIEND
    assert not reaches(site.wire, site.host, HOST, port=123, own=ROGUE)


def test_vm_reaches_no_service_at_another_networks_gateway(site: Site, backend: str) -> None:
    blue = replace(GATEWAY, cidr=IPv4Network("10.1.0.0/24"), address=IPv4Address("10.1.0.1"))
    site.host.ip("addr add 10.1.0.1/24 dev br100")
    site.apply(guard_ruleset(GUARDS, [GATEWAY]), ruleset(backend, [GATEWAY, blue], OPTIONS))
    try:
        assert source_seen(site.vm1, site.host, HOST, port=53) == VM1
        assert not reaches(site.vm1, site.host, "10.1.0.1", port=53)
    finally:
        site.host.ip("addr del 10.1.0.1/24 dev br100")


def test_hosts_own_address_on_the_bridge_is_open_to_its_lan_alone(site: Site, backend: str) -> None:
    """As where the bridge has the host's only NIC: SSH, VXLAN and agents go on there."""
    site.host.ip("addr add 198.18.0.1/24 dev br100")
    site.wire.ip("addr add 198.18.0.2/24 dev nic")
    site.apply(guard_ruleset(GUARDS, [GATEWAY]), ruleset(backend, [GATEWAY], OPTIONS))
    try:
        lan = source_seen(site.wire, site.host, "198.18.0.1", port=123, own="198.18.0.2")
        assert lan == "198.18.0.2"
        assert not reaches(site.wire, site.host, PUBLIC, port=123, own="198.18.0.2")
        assert not reaches(site.wire, site.host, "198.18.0.1", port=123, own=FRIEND)
        assert not reaches(site.vm1, site.host, "198.18.0.1", port=123)
    finally:
        site.host.ip("addr del 198.18.0.1/24 dev br100")
        site.wire.ip("addr del 198.18.0.2/24 dev nic")


def test_host_that_is_no_gateway_is_closed_by_the_wire(site: Site, backend: str) -> None:
    there = VmRange("br100", GATEWAY.cidr, GATEWAY.vm_sources)
    options = replace(OPTIONS, bridges=("br100",), elsewhere=(there,))
    site.apply(ruleset(backend, [], options))
    assert not reaches(site.wire, site.host, PUBLIC, port=123, own=ROGUE)
    assert not reaches(site.wire, site.host, PUBLIC, port=123, own=FRIEND)


def test_vm_sends_nothing_to_a_vtep_nor_vxlan(site: Site, backend: str) -> None:
    """As the gateway's own SNAT source, that would come from a VTEP."""
    far = replace(OPTIONS, vteps=(IPv4Address(OUTSIDE),), vxlan_udp_port=4789)
    site.apply(guard_ruleset(GUARDS, [GATEWAY]), ruleset(backend, [GATEWAY], far))
    assert not reaches(site.vm1, site.out, OUTSIDE)
    assert not reaches(site.vm1, site.out, DMZ, port=4789)
    assert source_seen(site.vm1, site.out, DMZ) == VM1


def test_nothing_is_forwarded_to_the_blocks_that_are_closed(site: Site, backend: str) -> None:
    closed = replace(OPTIONS, no_forward=(IPv4Network("192.0.2.0/24"),))
    site.apply(guard_ruleset(GUARDS, [GATEWAY]), ruleset(backend, [GATEWAY], closed))
    assert not reaches(site.vm1, site.out, OUTSIDE)
    assert source_seen(site.vm1, site.out, DMZ) == VM1
    with bound(site.vm1, VM1, ECHO) as far, bound(site.out, "", 0) as near:
        near.sendto(b"ask", (VM1, ECHO))
        _, back = far.recvfrom(100)
        assert back[0] == OUTSIDE
        far.sendto(b"answer", back)
        assert near.recv(100) == b"answer", "replies pass"


def test_metadata_elsewhere_is_reached_in_a_block_that_is_closed(site: Site, backend: str) -> None:
    closed = (IPv4Network("192.0.2.0/24"),)
    there = {"metadata_host": IPv4Address(OUTSIDE), "metadata_port": 8700}
    options = replace(OPTIONS, no_forward=closed, **there)  # type: ignore[arg-type]
    site.apply(ruleset(backend, [GATEWAY], options))
    assert metadata_client(site, site.out, 8700) == VM1
    assert not reaches(site.vm1, site.out, OUTSIDE, port=8700)


def test_a_router_on_the_wire_is_free_in_what_it_forwards(site: Site, backend: str) -> None:
    """br_netfilter shows the rules what is only bridged to it."""
    beyond = "192.0.2.77"
    closed = replace(OPTIONS, no_forward=(IPv4Network("192.0.2.0/24"),))
    site.apply(guard_ruleset(GUARDS, [GATEWAY]), ruleset(backend, [GATEWAY], closed))
    site.wire.ip(f"addr add {beyond}/32 dev lo")
    site.vm1.ip(f"route add {beyond}/32 via {FRIEND}")
    try:
        assert source_seen(site.vm1, site.wire, beyond) == VM1
    finally:
        site.vm1.ip(f"route del {beyond}/32")
        site.wire.ip(f"addr del {beyond}/32 dev lo")


BLUE = replace(
    GATEWAY, network_id="b", cidr=IPv4Network("10.1.0.0/24"), address=IPv4Address("10.1.0.1")
)
IN_BLUE = "10.1.0.6"
JOINED = (IPv4Network("10.0.0.0/15"),)


@pytest.fixture
def two(site: Site) -> Iterator[Site]:
    """VM 2 is in another network, whose gateway is the same host."""
    site.host.ip("addr add 10.1.0.1/24 dev br100")
    site.vm2.ip(f"addr add {IN_BLUE}/24 dev nic")
    yield site
    site.vm2.ip(f"addr del {IN_BLUE}/24 dev nic")
    site.host.ip("addr del 10.1.0.1/24 dev br100")


def in_blue(group: str) -> PortSecurity:
    mac = MACS["vm2"]
    return PortSecurity("vm2", "br100", mac, (mac,), ((mac, IPv4Network(IN_BLUE)),), group=group)


def two_networks(site: Site, backend: str, joined: tuple[IPv4Network, ...] = ()) -> None:
    far = in_blue("red" if joined else "blue")
    ranges = [VmRange("br100", g.cidr, (), g.network_id, (g.address,)) for g in (GATEWAY, BLUE)]
    others = Others(ranges=ranges, joined=joined)
    guards = guard_ruleset([replace(GUARDS[0], group="red"), far], [GATEWAY, BLUE], others)
    options = replace(OPTIONS, joined_cidr=joined)
    site.apply(guards, ruleset(backend, [GATEWAY, BLUE], options))


def test_the_gateway_forwards_nothing_between_networks(two: Site, backend: str) -> None:
    two_networks(two, backend)
    assert not reaches(two.vm1, two.vm2, IN_BLUE)
    assert not reaches(two.wire, two.vm2, IN_BLUE, own=ROGUE), "of a VM on another host"
    assert source_seen(two.vm1, two.out, OUTSIDE) == "192.0.2.11"
    two_networks(two, backend, JOINED)
    assert source_seen(two.vm1, two.vm2, IN_BLUE) == VM1
    assert source_seen(two.wire, two.vm2, IN_BLUE, own=ROGUE) == ROGUE


def test_a_tap_without_port_security_is_apart_whatever_its_source(two: Site, backend: str) -> None:
    two.apply(
        guard_ruleset([OPEN, in_blue("blue")], [GATEWAY, BLUE]),
        ruleset(backend, [GATEWAY, BLUE], OPTIONS),
    )
    two.vm1.ip("addr add 172.16.0.5/32 dev nic")
    two.host.ip("route add 172.16.0.5/32 dev br100")
    try:
        assert not reaches(two.vm1, two.vm2, IN_BLUE, own="172.16.0.5")
    finally:
        two.host.ip("route del 172.16.0.5/32 dev br100")
        two.vm1.ip("addr del 172.16.0.5/32 dev nic")


@pytest.mark.parametrize(
    "neighbour", [pytest.param(False, id="asks"), pytest.param(True, id="knows-the-mac")]
)
def test_taps_of_different_networks_hear_nothing_of_each_other(two: Site, neighbour: bool) -> None:
    """The VM takes the other network's address for one on its own wire."""
    two.vm1.ip(f"route add {IN_BLUE}/32 dev nic")
    if neighbour:
        two.vm1.ip(f"neigh replace {IN_BLUE} lladdr {MACS['vm2']} dev nic")
    try:
        two_networks(two, "nftables")
        assert not reaches(two.vm1, two.vm2, IN_BLUE)
        two_networks(two, "nftables", JOINED)
        assert source_seen(two.vm1, two.vm2, IN_BLUE) == VM1
    finally:
        two.vm1.ip(f"route del {IN_BLUE}/32 dev nic", "neigh flush dev nic nud permanent")


def test_broadcasts_are_heard_from_the_hosts_own_lan_alone(site: Site, backend: str) -> None:
    """Of a gateway, an address in no pool may be a VM's."""
    site.host.ip("addr add 198.18.0.1/24 brd + dev br100")
    site.wire.ip("addr add 198.18.0.2/24 brd + dev nic", "addr add 172.16.0.5/32 dev nic")
    lans = (Connected("br100", IPv4Network("198.18.0.0/24")),)
    options = replace(OPTIONS, lans=lans)
    site.apply(guard_ruleset(GUARDS, [GATEWAY]), ruleset(backend, [GATEWAY], options))
    everyone = "255.255.255.255"
    try:
        lan = "198.18.0.2"
        assert source_seen(site.wire, site.host, everyone, port=123, own=lan) == lan
        assert source_seen(site.wire, site.host, "198.18.0.255", port=123, own=lan) == lan
        for own, address in (("172.16.0.5", everyone), (FRIEND, everyone), (FRIEND, "10.0.0.255")):
            assert not reaches(site.wire, site.host, address, port=123, own=own)
        assert source_seen(site.wire, site.host, everyone, port=67, own=FRIEND) == FRIEND
    finally:
        site.host.ip("addr del 198.18.0.1/24 dev br100")
        site.wire.ip("addr del 198.18.0.2/24 dev nic", "addr del 172.16.0.5/32 dev nic")


def test_host_is_closed_to_vms_of_other_hosts(gateway: Site) -> None:
    """They come by the wire, unmarked; their addresses tell."""
    assert not reaches(gateway.wire, gateway.host, HOST, port=123, own=ROGUE)
    assert source_seen(gateway.wire, gateway.host, HOST, port=53, own=ROGUE) == ROGUE


def test_an_icmp_error_of_a_vm_ends_no_flow_of_the_host(site: Site, backend: str) -> None:
    """Not even of one without port security, which may send what it likes."""
    site.apply(guard_ruleset([OPEN, GUARDS[1]], [GATEWAY]), ruleset(backend, [GATEWAY], OPTIONS))
    with bound(site.host, PUBLIC, 0) as flow, bound(site.out, "", ECHO):
        flow.connect((OUTSIDE, ECHO))
        flow.send(b"hello")
        about = (PUBLIC, OUTSIDE), (flow.getsockname()[1], ECHO)
        for source in (site.vm1, site.vm2):
            told(source, PUBLIC, icmp_error(*about))
            ping(source, HOST)  # what was sent before has arrived
            assert not select.select([flow], [], [], 0)[0]
        told(site.out, PUBLIC, icmp_error(*about))
        with pytest.raises(ConnectionRefusedError):
            flow.recv(100)


def told(source: Namespace, address: str, message: bytes) -> None:
    """Send an ICMP message."""
    with source, socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sent:
        sent.sendto(message, (address, 0))


def test_vm_without_port_security_is_known_by_its_tap(site: Site, backend: str) -> None:
    """Its address is in no pool."""
    nobody = replace(GATEWAY, vm_sources=())
    site.apply(guard_ruleset([OPEN], [nobody]), ruleset(backend, [nobody], OPTIONS))
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
    """VMs send to a missing router on the wire: forced packets are taken out of the bridge."""
    forced = (IPv4Network("198.51.100.0/24"),)
    there = replace(GATEWAY, external=True)
    options = replace(OPTIONS, force_snat_range=forced)
    site.apply(guard_ruleset(GUARDS, [there], Others(forced)), ruleset(backend, [there], options))
    assert source_seen(site.vm1, site.out, OUTSIDE) == VM1  # sent to us, routed as it is
    site.vm1.ip(
        "neigh replace 10.0.0.254 lladdr 02:00:00:00:00:99 dev nic",
        "route replace default via 10.0.0.254",
    )
    try:
        assert source_seen(site.vm1, site.out, "198.51.100.2") == "192.0.2.11"
        assert not reaches(site.vm1, site.out, OUTSIDE)
        assert metadata_client(site, site.host, 8775) == VM1
        closed = (IPv4Network("198.51.100.0/24"), IPv4Network("192.0.2.0/24"))
        less = replace(options, no_forward=closed)
        site.apply(guard_ruleset(GUARDS, [there], Others(forced)), ruleset(backend, [there], less))
        assert source_seen(site.vm1, site.out, "198.51.100.2") == "192.0.2.11"
        site.vm1.ip(f"route replace default via {HOST}")
        assert not reaches(site.vm1, site.out, OUTSIDE)
    finally:
        site.vm1.ip(f"route replace default via {HOST}")


def test_force_snat_range_around_the_network_leaves_it_alone(site: Site, backend: str) -> None:
    """br_netfilter shows the rules what is only bridged."""
    forced = (IPv4Network("10.0.0.0/8"),)
    there = replace(GATEWAY, external=True)
    options = replace(OPTIONS, force_snat_range=forced)
    site.apply(guard_ruleset(GUARDS, [there], Others(forced)), ruleset(backend, [there], options))
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
