"""What a VM reaches of hosts and of networks that are not its own."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path

from lessor.lab.cabling import DMZ_ADDRESS, SERVER
from lessor.lab.ovs import BRIDGE as UNDERLAY
from lessor.lab.settings_file import AGENT_PORT, API_PORT
from lessor.lab.vm import NIC, NetnsVm
from tests.lab.attacks.attack import Attack, Tally
from tests.lab.attacks.forged import own_udp
from tests.lab.attacks.from_vms import ends_between
from tests.lab.attacks.packets import Link, ipv4, link_local, udp
from tests.lab.attacks.reach import SERVICE, Door, Services, opened, services
from tests.lab.attacks.scene import HOSTS, LIMIT_S, Scene
from tests.lab.frames import listening

HOST = "a VM reaches DHCP, DNS, metadata and ping of its own gateway on hosts, and nothing else"
TUNNEL = "what a VM sends becomes no tunnel packet"
BEYOND = "through the gateway VMs do not reach the networks that the host is connected to"
APART = "flat networks of one host are apart"
METADATA_PORT, DNS, VXLAN = 8775, 53, 4789
OUTSIDE_POOL = 50  # an address of the subnet that is in no pool


@dataclass(frozen=True)
class Neighbourhood:
    """The hosts' ends of the attacker's network, with services that it is not to reach."""

    scene: Scene
    services: Services
    ways: dict[str, tuple[Path, str]]  # namespace and device of each end, by name
    macs: dict[str, str]  # of these devices
    numbers: count[int]

    @property
    def gateway(self) -> str:
        """The host that routes for the attacker."""
        return "cmp1" if self.scene.multi_host else "net1"

    @property
    def server(self) -> str:
        """The address of the attacker's DHCP server."""
        lease = self.scene.attacker.last_lease()
        assert lease is not None
        return str(lease.server)

    def mark(self) -> bytes:
        return b"!%06d!" % next(self.numbers)

    def addresses(self, host: str) -> list[str]:
        """Return those of the host that VMs could name: management and tunnels."""
        state = self.scene.lab.host_state(host)
        return [str(state.address), str(state.tunnel_address)]

    def control(self) -> tuple[int, int]:
        """Show that the services answer those who may ask, and that the VM reaches its own."""
        scene = self.scene
        doors = [Door(self.addresses(host)[0]) for host in HOSTS]
        answered = opened(scene.namespace("server"), doors)
        dns = opened(scene.attacker.netns_path(), [Door(self.server, DNS)])
        return len(doors) + 1, len(answered) + len(dns)


@contextmanager
def neighbourhood(scene: Scene) -> Iterator[Neighbourhood]:
    if scene.mode == "flat":
        ways = {host: (scene.namespace(host), "br100") for host in scene.bridged}
    else:
        ways = {
            path.name: (path, _device(scene, host, path)) for host, path in scene.dhcp_namespaces()
        }
    places = {host: scene.namespace(host) for host in HOSTS}
    macs = {name: _mac(scene, name, device) for name, (_, device) in ways.items()}
    with services(places) as opened_there:
        yield Neighbourhood(scene, opened_there, ways, macs, count(1))


def _device(scene: Scene, host: str, netns: Path) -> str:
    links = json.loads(scene.lab.exec(host, "ip", "-j", "-n", netns.name, "link"))
    [name] = [link["ifname"] for link in links if link["ifname"] != "lo"]
    return str(name)


def _mac(scene: Scene, name: str, device: str) -> str:
    if name in HOSTS:
        return scene.lab.exec(name, "cat", f"/sys/class/net/{device}/address").strip()
    host = next(host for host, path in scene.dhcp_namespaces() if path.name == name)
    links = json.loads(scene.lab.exec(host, "ip", "-j", "-n", name, "link", "show", device))
    return str(links[0]["address"])


def attacks(scene: Scene) -> Iterator[Attack[Neighbourhood]]:
    yield Attack("TCP to hosts' addresses", "8", HOST, _hosts)
    yield Attack("TCP to hosts' addresses from outside the pool", "8", HOST, _outside_pool)
    yield Attack("TCP to hosts' IPv6 link-local addresses", "7", HOST, _link_local)
    yield Attack("datagrams to all addresses, by each host's MAC", "8", HOST, _datagrams)
    yield Attack("TCP to another network's gateway or DHCP server", "8", HOST, _other_gateway)
    if scene.mode == "flat":
        yield Attack("VXLAN to each VTEP, through the gateway", "5", TUNNEL, _vxlan)
        yield Attack("other hosts and the server, through the gateway", "14", BEYOND, _beyond)
        yield Attack("another network's VM on the bridge", "14", APART, _across)
        yield Attack("another network's VM through the gateway", "14", APART, _routed)


def _judged(here: Neighbourhood, doors: list[Door]) -> Tally:
    found = opened(here.scene.attacker.netns_path(), doors)
    told = "; ".join(map(str, found))[:200]
    return Tally(len(doors), len(found), *here.control(), detail=told)


def _hosts(here: Neighbourhood) -> Tally:
    """By the gateway's own address, and by what else the host that routes has."""
    ports = (SERVICE, API_PORT, AGENT_PORT)
    names = {here.server, *here.addresses(here.gateway)}
    if here.scene.mode == "flat":
        names.add(str(here.scene.own.gateway))
    return _judged(here, [Door(name, port) for name in sorted(names) for port in ports])


def _outside_pool(here: Neighbourhood) -> Tally:
    """As a VM with an allowed address pair, which an administrator gave it."""
    scene, vm = here.scene, here.scene.attacker
    source = str(scene.own.cidr[OUTSIDE_POOL])
    with pair(scene, vm, source):
        known = [Door(here.server, DNS, source)]
        scene.lab.wait_for(
            lambda: opened(vm.netns_path(), known), LIMIT_S, "the pair's address is answered"
        )
        names = {here.server, *here.addresses(here.gateway)}
        return _judged(here, [Door(name, SERVICE, source) for name in sorted(names)])


@contextmanager
def pair(scene: Scene, vm: NetnsVm, *addresses: str, block: str = "") -> Iterator[None]:
    """Let a VM have more addresses, one by one or as a block, and give them to it."""
    prefix = scene.own.cidr.prefixlen
    pairs = [{"ip_address": address} for address in ([block] if block else addresses)]
    scene.lab.api.update("ports", vm.state.port_id, {"allowed_address_pairs": pairs})
    try:
        for address in addresses:
            vm.exec("ip", "addr", "add", f"{address}/{prefix}", "dev", NIC)
        yield
    finally:
        for address in addresses:
            vm.exec("ip", "addr", "del", f"{address}/{prefix}", "dev", NIC)
        scene.lab.api.update("ports", vm.state.port_id, {"allowed_address_pairs": []})


def _link_local(here: Neighbourhood) -> Tally:
    doors = [
        Door(link_local(mac), port)
        for mac in here.macs.values()
        for port in (SERVICE, DNS, METADATA_PORT)
    ]
    return _judged(here, doors)


def _datagrams(here: Neighbourhood) -> Tally:
    """To the MAC of each host's end; a gateway routes, so it gets those to itself alone."""
    scene, tried, mark = here.scene, 0, here.mark()
    own = str(scene.attacker.state.assigned)
    with closing(scene.packets(scene.attacker)) as sender:
        for name, mac in here.macs.items():
            hosts = (name,) if scene.multi_host or name == here.gateway else HOSTS
            for address in [here.server, *(a for host in hosts for a in here.addresses(host))]:
                packet = ipv4((own, address), udp((9, SERVICE), mark))
                sender.send(Link(scene.attacker.state.mac, mac).ipv4(packet))
                tried += 1
        controls = here.control()  # what was sent before is there, or nowhere
    passed = here.services.received(mark)
    return Tally(tried, len(passed), *controls, detail=", ".join(passed))


def _other_gateway(here: Neighbourhood) -> Tally:
    lease = here.scene.stranger.last_lease()
    assert lease is not None
    names = {str(here.scene.other.gateway), str(lease.server)}
    ports = (SERVICE, DNS, METADATA_PORT, 80)
    with _route(here, str(here.scene.other.cidr)):
        return _judged(here, [Door(name, port) for name in sorted(names) for port in ports])


@contextmanager
def _route(here: Neighbourhood, block: str) -> Iterator[None]:
    """Let the attacker send to a block by way of its gateway."""
    vm = here.scene.attacker
    vm.exec("ip", "route", "replace", block, "via", here.server, "dev", NIC)
    try:
        yield
    finally:
        vm.exec("ip", "route", "del", block)


def _vxlan(here: Neighbourhood) -> Tally:
    mark = here.mark()
    inner = Link("fa:16:3e:00:00:99", "ff:ff:ff:ff:ff:ff").ipv4(
        ipv4(("10.73.0.77", "255.255.255.255"), udp((9, 9), mark))
    )
    packet = b"\x08\0\0\0" + (1).to_bytes(3, "big") + b"\0" + inner
    targets = [(here.addresses(host)[1], VXLAN, packet) for host in HOSTS]
    return _forwarded(here, targets, mark)


def _beyond(here: Neighbourhood) -> Tally:
    """The network of the API and the agents is not the public one in this lab."""
    mark = here.mark()
    others = [here.addresses(host)[0] for host in HOSTS if host != here.gateway]
    targets = [(address, SERVICE, mark) for address in others]
    return _forwarded(here, [*targets, (str(SERVER), AGENT_PORT, mark)], mark)


def _forwarded(
    here: Neighbourhood, targets: Sequence[tuple[str, int, bytes]], mark: bytes
) -> Tally:
    """Send datagrams by way of the gateway; count what it sends on, whoever hears it."""
    scene, allowed = here.scene, here.mark()
    way = Link(scene.attacker.state.mac, here.macs[here.gateway])
    own = str(scene.attacker.state.assigned)
    with (
        closing(scene.packets(scene.attacker)) as sender,
        listening(scene.namespace(here.gateway), UNDERLAY) as public,
        listening(scene.namespace(here.gateway), "eth0") as management,
    ):
        for address, port, content in targets:
            sender.send(way.ipv4(ipv4((own, address), udp((40000, port), content))))
        sender.send(way.ipv4(ipv4((own, str(DMZ_ADDRESS)), udp((40000, 9), allowed))))
        scene.lab.wait_for(
            lambda: any(allowed in one.content for one in management.frames),
            LIMIT_S,
            "a datagram to the outside is routed",
        )
        # icmp that refuses has a part of it, so only what goes to its port counts
        passed = sum(
            mark in one.content
            and any(_to(address, port) in one.content for address, port, _ in targets)
            for wire in (public, management)
            for one in wire.frames
        )
    return Tally(len(targets), passed, 1, 1)


def _to(address: str, port: int) -> bytes:
    """Return the end of an IPv4 header and the ports of a datagram that goes there."""
    return IPv4Address(address).packed + struct.pack("!HH", 40000, port)


def _across(here: Neighbourhood) -> Tally:
    """Its own address, and the MAC of the other network's VM, which it may have guessed.

    Between hosts such a frame passes, one way (record 26).
    """
    return _to_strangers(here, [here.scene.stranger], "")


def _routed(here: Neighbourhood) -> Tally:
    strangers = [here.scene.stranger, here.scene.friend]
    return _to_strangers(here, strangers, here.macs[here.gateway])


def _to_strangers(here: Neighbourhood, targets: Sequence[NetnsVm], by: str) -> Tally:
    scene, mark, greeting = here.scene, here.mark(), here.mark()
    with (
        closing(scene.packets(scene.attacker)) as attacker,
        closing(scene.packets(scene.friend)) as friend,
        listening(scene.stranger.netns_path(), NIC) as stranger,
        listening(scene.friend.netns_path(), NIC) as other,
    ):
        for vm in targets:
            ends = ends_between(scene.attacker, by or vm.state.mac, str(vm.state.assigned), scene)
            attacker.send(own_udp(ends, mark))
        ends = ends_between(
            scene.friend, scene.stranger.state.mac, str(scene.stranger.state.assigned), scene
        )

        def heard() -> bool:
            """Tell whether the friend's frame was heard; some are lost, so send one more."""
            friend.send(own_udp(ends, greeting))
            return any(greeting in one.content for one in stranger.frames)

        scene.lab.wait_for(heard, LIMIT_S, "a frame of its own network is heard")
        controls, passed_controls = here.control()  # lets routed ones arrive, too
        passed = sum(
            mark in one.content and one.content[:6].hex(":") == vm.state.mac
            for wire, vm in zip((stranger, other), targets, strict=False)
            for one in wire.frames
        )
    return Tally(len(targets), passed, controls + 1, passed_controls + 1)
