"""What a change reaches: each attribute that means something to DHCP or to frames, seen in a VM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lessor.errors import CommandError, Conflict
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.state import HostSpec
from lessor.lab.vm import NIC, NetnsVm
from tests.dhcpclient import DhcpClient, Reply

pytestmark = pytest.mark.lab

LIMIT_S = 30
ROUTER, DNS, HOSTNAME, MTU, NTP, ROUTES = 3, 6, 12, 26, 42, 121
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

    def offer(self, mac: str = "") -> Reply | None:
        """Have the VM's NIC send a DISCOVER, and wait a second for an OFFER."""
        with closing(
            in_netns(self.vm.netns_path(), lambda: DhcpClient(NIC, mac or self.mac))
        ) as client:
            return client.discover(timeout_s=1)

    def offers(self, right: Callable[[Reply], object], what: str, mac: str = "") -> None:
        def right_now() -> bool:
            offer = self.offer(mac)
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
    return _place(small_lab, "beside", "10.62.0.0/24", "vxlan")


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
