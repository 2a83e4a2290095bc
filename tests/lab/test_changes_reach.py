"""What a change reaches: each attribute that means something to DHCP or to frames, seen in a VM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from lessor.errors import CommandError, Conflict, Invalid
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.state import HostSpec
from lessor.lab.vm import NIC, NetnsVm
from tests.dhcpclient import DhcpClient, Reply

pytestmark = pytest.mark.lab

LIMIT_S = 30
ROUTER, DNS, HOSTNAME, DOMAIN, MTU, NTP, ROUTES = 3, 6, 12, 15, 26, 42, 121
METADATA = "http://169.254.169.254/openstack/latest/meta_data.json"
NETWORKS = Path("var/lib/lessor/networks")  # in a host
NEW_MAC = "fa:16:3e:77:77:77"


@dataclass
class Place:
    """A network with its VM, and one beside it that no change may reach."""

    lab: Lab
    network: LabNetwork
    vm: NetnsVm
    mac: str

    @property
    def ids(self) -> dict[str, str]:
        return {
            "networks": self.network.id,
            "subnets": self.network.subnet_id,
            "ports": self.vm.state.port_id,
        }

    def at(self, number: int) -> str:
        return str(self.network.cidr[number])

    def change(self, noun: str, **body: Any) -> None:
        self.lab.api.update(noun, self.ids[noun], body)

    def offer(self, mac: str = "", timeout_s: float = 1) -> Reply | None:
        """Have the VM's NIC send a DISCOVER, and wait for an OFFER."""
        with closing(
            in_netns(self.vm.netns_path(), lambda: DhcpClient(NIC, mac or self.mac))
        ) as client:
            return client.discover(timeout_s)

    def offers(self, right: Callable[[Reply], object], what: str, mac: str = "") -> None:
        patience = chain([0.2] * 5, repeat(1.0))  # a server that starts misses the first ones

        def right_now() -> bool:
            offer = self.offer(mac, next(patience))
            return offer is not None and bool(right(offer))

        self.lab.wait_for(right_now, LIMIT_S, f"an offer with {what}")

    def silence(self, mac: str = "") -> None:
        self.lab.wait_for(lambda: self.offer(mac) is None, LIMIT_S, "no offer any more")

    def reaches(self, source: str) -> bool:
        """Tell whether the DHCP server answers a ping from this address of the VM."""
        server = self.server()
        try:
            self.vm.exec("busybox", "ping", "-c", "1", "-W", "1", "-I", source, server)
        except CommandError:
            return False
        return True

    def server(self) -> str:
        query = {"network_id": self.network.id, "device_owner": "network:dhcp"}
        ports = self.lab.api.list("ports", query)
        return str(ports[0]["fixed_ips"][0]["ip_address"]) if ports else self.at(1)

    def own(self) -> str:
        return str(self.vm.state.assigned)

    def gateway_is(self, host: str) -> bool:
        """Tell whether the VM's packets to its gateway go to a host."""
        self.vm.exec("ip", "neigh", "flush", "dev", NIC)
        self.reaches(self.own())
        words = self.vm.exec("ip", "neigh", "show", self.at(1), "dev", NIC).split()
        known = words[words.index("lladdr") + 1] if "lladdr" in words else "nobody"
        links = self.lab.exec(host, "ip", "-o", "link")  # its bridge may not be there yet
        return any(": br100:" in line and known in line for line in links.splitlines())


@pytest.fixture(scope="module")
def small_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One network host and one compute host, for both kinds of networks."""
    hosts = [
        HostSpec(name="net1", network_host=True, overlay=True),
        HostSpec(name="cmp1", overlay=True),
    ]
    lab = Lab.up(tmp_path_factory.mktemp("changes") / "lab", hosts)
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def bystander(small_lab: Lab) -> Place:
    """Return a place of which all is written, the name of its VM as well: that comes last."""
    made = _place(small_lab, "beside", "10.62.0.0/24", "vxlan")

    def named() -> bool:
        files = _server_files(small_lab, made.network)
        return any(
            "/names/" in path and made.own().encode() in text for path, (_, text) in files.items()
        )

    small_lab.wait_for(named, LIMIT_S, "DNS knows its VM")
    return made


@pytest.fixture(scope="module", params=["flat", "vxlan"])
def made(request: pytest.FixtureRequest, small_lab: Lab, bystander: Place) -> Place:
    assert bystander
    number = {"flat": 60, "vxlan": 61}[request.param]
    return _place(small_lab, request.param, f"10.{number}.0.0/24", request.param)


@pytest.fixture
def place(made: Place) -> Place:
    """Return a place at which all is as it was at first: what the last test undid is done."""
    made.offers(lambda offer: str(offer.address) == made.own(), "its own address")
    made.lab.wait_for(lambda: made.reaches(made.own()), LIMIT_S, "frames pass")
    return made


def _place(lab: Lab, name: str, cidr: str, kind: str) -> Place:
    network = lab.network(name, cidr, kind=kind)
    vm = lab.boot(f"vm-{name}", "cmp1", network)
    assert isinstance(vm, NetnsVm)
    lab.wait_active(vm, LIMIT_S)
    vm.exec("ip", "addr", "add", f"{vm.state.assigned}/24", "dev", NIC)
    vm.exec("ip", "addr", "add", f"{network.cidr[99]}/24", "dev", NIC)
    made = Place(lab, network, vm, vm.state.mac)
    made.offers(lambda offer: offer.address == vm.state.assigned, "its own address")
    return made


def _server_files(lab: Lab, network: LabNetwork) -> dict[str, Any]:
    """Return what its DHCP server reads, with the times of writing, and its process."""
    found: dict[str, Any] = {}
    for folder in (lab.node("net1").root / NETWORKS).iterdir():
        if network.id in folder.name:
            for path in folder.rglob("*"):
                if path.is_file():
                    found[str(path)] = (path.stat().st_mtime_ns, path.read_bytes())
    assert any(path.endswith("pid") for path in found), found.keys()
    return found


@pytest.fixture
def untouched(small_lab: Lab, bystander: Place) -> Iterator[None]:
    """Whatever the test does, the network beside notices nothing of it."""
    before = _server_files(small_lab, bystander.network)
    yield
    assert _server_files(small_lab, bystander.network) == before
    small_lab.wait_for(bystander.offer, LIMIT_S, "an offer beside it")


# name, noun, what is changed, what it was, and what of an OFFER tells; {n} is an address.
TOLD: list[tuple[str, str, dict[str, Any], dict[str, Any], Callable[[Place, Reply], object]]] = [
    (
        "name-server",
        "subnets",
        {"dns_nameservers": ["{53}", "{54}"]},
        {"dns_nameservers": []},
        lambda p, o: o.addresses(DNS) == [p.at(53), p.at(54)],
    ),
    (
        "host-route",
        "subnets",
        {"host_routes": [{"destination": "192.0.2.0/24", "nexthop": "{9}"}]},
        {"host_routes": []},
        lambda p, o: (
            b"\x18\xc0\x00\x02" + IPv4Address(p.at(9)).packed in o.options.get(ROUTES, b"")
        ),
    ),
    (
        "gateway",
        "subnets",
        {"gateway_ip": "{254}"},
        {"gateway_ip": "{1}"},
        lambda p, o: o.addresses(ROUTER) == [p.at(254)],
    ),
    (
        "mtu",
        "networks",
        {"mtu": 1300},
        {"mtu": 1400},
        lambda _, o: int.from_bytes(o.options[MTU]) == 1300,
    ),
    (
        "dns-domain",
        "networks",
        {"dns_domain": "changed.example"},
        {"dns_domain": ""},
        lambda _, o: o.options.get(DOMAIN) == b"changed.example",
    ),
    (
        "dns-name",
        "ports",
        {"dns_name": "renamed"},
        {"dns_name": "again"},
        lambda _, o: o.options.get(HOSTNAME) == b"renamed",
    ),
    (
        "extra-option",
        "ports",
        {"extra_dhcp_opts": [{"opt_name": "ntp-server", "opt_value": "{123}"}]},
        {"extra_dhcp_opts": [{"opt_name": "ntp-server", "opt_value": None}]},
        lambda p, o: NTP in o.options and o.addresses(NTP) == [p.at(123)],
    ),
    (
        "address",
        "ports",
        {"fixed_ips": [{"ip_address": "{77}"}]},
        {"fixed_ips": [{"ip_address": "{own}"}]},
        lambda p, o: str(o.address) == p.at(77),
    ),
]


def _filled(place: Place, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _filled(place, part) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(place, part) for part in value]
    if value == "{own}":
        return place.own()
    if isinstance(value, str) and value.startswith("{"):
        return place.at(int(value[1:-1]))
    return value


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("noun", "body", "undo", "told"), [pytest.param(*case, id=name) for name, *case in TOLD]
)
def test_the_next_offer_tells_what_was_changed(
    place: Place, noun: str, body: Any, undo: Any, told: Callable[[Place, Reply], object]
) -> None:
    first = place.lab.wait_for(place.offer, LIMIT_S, "an offer")  # the last test undid something
    assert first is not None
    with suppress(KeyError):
        assert not told(place, first)
    place.change(noun, **_filled(place, body))
    try:
        place.offers(lambda offer: told(place, offer), f"{body}")
    finally:
        place.change(noun, **_filled(place, undo))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("noun", ["networks", "ports"])
def test_what_is_administratively_down_gets_no_answer_and_no_frame_through(
    place: Place, noun: str
) -> None:
    place.change(noun, admin_state_up=False)
    try:
        place.silence()
        place.lab.wait_for(lambda: not place.reaches(place.own()), LIMIT_S, "no frame passes")
    finally:
        place.change(noun, admin_state_up=True)
    place.offers(lambda offer: str(offer.address) == place.own(), "its address again")
    place.lab.wait_for(lambda: place.reaches(place.own()), LIMIT_S, "frames pass again")


@pytest.mark.usefixtures("untouched")
def test_a_subnet_without_dhcp_gets_no_answer(place: Place) -> None:
    place.change("subnets", enable_dhcp=False)
    try:
        place.silence()
    finally:
        place.change("subnets", enable_dhcp=True)
    place.offers(lambda offer: str(offer.address) == place.own(), "its address again")


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("how", ["pair", "unprotected"])
def test_a_foreign_address_passes_where_it_is_allowed(place: Place, how: str) -> None:
    foreign = place.at(99)
    assert not place.reaches(foreign)
    ways: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "pair": (
            {"allowed_address_pairs": [{"ip_address": foreign}]},
            {"allowed_address_pairs": []},
        ),
        "unprotected": ({"port_security_enabled": False}, {"port_security_enabled": True}),
    }
    allowed, undo = ways[how]
    place.change("ports", **allowed)
    try:
        place.lab.wait_for(lambda: place.reaches(foreign), LIMIT_S, f"{foreign} passes")
    finally:
        place.change("ports", **undo)
    place.lab.wait_for(lambda: not place.reaches(foreign), LIMIT_S, f"{foreign} is stopped")


@pytest.mark.usefixtures("untouched")
def test_a_mac_changes_only_while_the_port_is_not_active(place: Place) -> None:
    place.lab.wait_active(place.vm, LIMIT_S)
    with pytest.raises(Conflict) as refused:
        place.change("ports", mac_address=NEW_MAC)
    assert refused.value.type == "PortBound"
    try:
        place.change("ports", admin_state_up=False)
        place.change("ports", mac_address=NEW_MAC, admin_state_up=True)
        place.offers(lambda offer: str(offer.address) == place.own(), "the same address", NEW_MAC)
        assert place.offer() is None  # the old MAC's frames are stopped at the tap
    finally:
        place.change("ports", admin_state_up=False)
        place.change("ports", mac_address=place.mac, admin_state_up=True)
    place.offers(lambda offer: str(offer.address) == place.own(), "its address again")


@pytest.mark.usefixtures("untouched")
def test_a_new_port_is_as_its_network_and_subnet_are_by_then(place: Place) -> None:
    usual = place.lab.api.show("subnets", place.network.subnet_id)["allocation_pools"]
    place.change("networks", port_security_enabled=False)
    place.change("subnets", allocation_pools=[{"start": place.at(150), "end": place.at(155)}])
    name = f"new-{place.network.name}"
    try:
        vm = place.lab.boot(name, "cmp1", place.network)
        assert isinstance(vm, NetnsVm)
        new = Place(place.lab, place.network, vm, vm.state.mac)
        assert new.own() == place.at(150)
        new.offers(lambda offer: str(offer.address) == new.own(), "the first of the new pool")
        vm.exec("ip", "addr", "add", f"{place.at(98)}/24", "dev", NIC)
        place.lab.wait_for(lambda: new.reaches(place.at(98)), LIMIT_S, "a foreign address passes")
    finally:
        place.lab.delete_vm(name)
        place.change("networks", port_security_enabled=True)
        place.change("subnets", allocation_pools=usual)


@pytest.mark.usefixtures("untouched")
def test_metadata_tells_of_the_device_that_a_port_is_of(place: Place) -> None:
    device = f"device-{place.network.name}"
    place.vm.exec("ip", "route", "replace", "169.254.169.254", "via", place.server(), "dev", NIC)
    place.change("ports", device_id=device)
    try:
        place.lab.wait_for(lambda: device in place.vm.http(METADATA), LIMIT_S, f"a VM {device}")
    finally:
        place.change("ports", device_id=place.vm.state.device_id)


@pytest.mark.usefixtures("untouched")
def test_a_port_bound_to_another_host_is_dead_on_this_one(place: Place) -> None:
    place.change("ports", **{"binding:host_id": "net1"})
    try:
        place.silence()
        place.lab.wait_for(lambda: not place.reaches(place.own()), LIMIT_S, "no frame passes")
    finally:
        place.change("ports", **{"binding:host_id": "cmp1"})
    place.lab.wait_for(lambda: place.reaches(place.own()), LIMIT_S, "frames pass again")


@pytest.mark.usefixtures("untouched")
def test_the_dhcp_server_of_a_flat_network_answers_from_another_address(place: Place) -> None:
    change = {"lessor:dhcp_server": place.at(250)}
    if place.network.type == "vxlan":
        with pytest.raises(Invalid, match="addresses of their own"):
            place.change("subnets", **change)
        return
    place.change("subnets", **change)
    try:
        place.offers(lambda offer: str(offer.server) == place.at(250), f"server {place.at(250)}")
    finally:
        place.change("subnets", **{"lessor:dhcp_server": None})
    place.offers(lambda offer: str(offer.server) == place.at(1), "the gateway's address again")


@pytest.mark.usefixtures("untouched")
def test_the_gateway_of_a_flat_network_moves_with_its_host(place: Place) -> None:
    if place.network.type == "vxlan":
        with pytest.raises(Invalid, match="those have no host"):
            place.change("networks", **{"lessor:host": "cmp1"})
        return
    place.change("networks", **{"lessor:host": "cmp1"})
    try:
        place.lab.wait_for(lambda: place.gateway_is("cmp1"), LIMIT_S, "cmp1 is it")
        place.offers(lambda offer: str(offer.address) == place.own(), "its address")
    finally:
        place.change("networks", **{"lessor:host": "net1"})
    place.lab.wait_for(lambda: place.gateway_is("net1"), LIMIT_S, "net1 is it")
