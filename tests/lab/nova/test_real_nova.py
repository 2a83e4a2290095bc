"""A real Nova boots a server, attaches an interface, live-migrates by default, and deletes it.

Only the hypervisor is none: a driver that plugs with Nova's own VIF driver and os-vif, and starts
the guest when Lessor has told `network-vif-plugged`. In the guest's stead a DHCP client opens the
tap. Nova asks Lessor as its user, with the role `service`; servers are a member's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv4Address
from typing import Any

import pytest

from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec
from tests.lab.firmware import Firmware
from tests.lab.nova.cloud import COMPUTE_HOSTS, NOVA, Api, Cloud, cloud
from tests.lab.nova.images import IMAGE_ID
from tests.lab.nova.settings import MEMBER_PASSWORD

LIMIT_S = 90
VIF_TYPES = {"flat": "tap", "vxlan": "ovs"}
PLUGGED, DELETED = "network-vif-plugged", "network-vif-deleted"
MIGRATES = {"queued", "accepted", "preparing", "running", "post-migrating"}

pytestmark = [
    pytest.mark.lab,
    pytest.mark.long,
    pytest.mark.clients,
    pytest.mark.skipif(not NOVA.exists(), reason="scripts/setup --long makes .venv-nova"),
]

Row = dict[str, Any]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [HostSpec(name="net1", network_host=True, overlay=True)]
    hosts += [HostSpec(name=name, overlay=True) for name in COMPUTE_HOSTS]
    lab = Lab.up(tmp_path_factory.mktemp("nova") / "lab", hosts)
    yield lab
    lab.down()


@pytest.fixture(scope="module")
def openstack(lab: Lab) -> Iterator[Cloud]:
    with cloud(lab) as made:
        yield made


@pytest.fixture(scope="module")
def networks(lab: Lab, openstack: Cloud) -> dict[str, LabNetwork]:
    shared = {"network": {"shared": True}}
    return {
        kind: lab.network(kind, f"10.9{number}.0.0/24", kind=kind, **shared)
        for number, kind in enumerate(VIF_TYPES)
    }


class Server:
    """A member's server, as Nova has it.

    Args:
        openstack: the cloud.
        mine: Nova for the member.
        root: Nova for the administrator.
    """

    def __init__(self, openstack: Cloud, mine: Api, root: Api) -> None:
        self._openstack, self._lab = openstack, openstack.lab
        self._mine, self._root = mine, root
        self.id = ""

    def boot(self, network: LabNetwork) -> None:
        wanted = {
            "name": f"on-{network.name}",
            "imageRef": IMAGE_ID,
            "flavorRef": self._openstack.flavor,
            "networks": [{"uuid": network.id}],
        }
        self.id = self._mine.ask("POST", "/servers", {"server": wanted})["server"]["id"]
        self._wait(lambda: self.show()["status"] != "BUILD", "Nova has made the server")
        shown = self.show()
        assert shown["status"] == "ACTIVE", shown.get("fault")

    def show(self) -> Row:
        """Return what an administrator sees of it."""
        return dict(self._root.ask("GET", f"/servers/{self.id}")["server"])

    @property
    def host(self) -> str:
        return str(self.show()["OS-EXT-SRV-ATTR:host"])

    def addresses(self) -> list[str]:
        return [one["addr"] for many in self.show()["addresses"].values() for one in many]

    def attach(self, port: Row) -> None:
        body = {"interfaceAttachment": {"port_id": port["id"]}}
        self._mine.ask("POST", f"/servers/{self.id}/os-interface", body)

    def detach(self, port: Row) -> None:
        self._mine.ask("DELETE", f"/servers/{self.id}/os-interface/{port['id']}")

    def live_migrate(self) -> None:
        """Have it moved to wherever the scheduler likes."""
        order = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        self._root.ask("POST", f"/servers/{self.id}/action", order)
        self._wait(lambda: self._migration() not in MIGRATES, "Nova is done with the migration")
        assert self._migration() == "completed", self.show()
        self._wait(lambda: self.show()["OS-EXT-STS:task_state"] is None, "the server is settled")
        assert self.show()["status"] == "ACTIVE"

    def _migration(self) -> str:
        path = f"/os-migrations?instance_uuid={self.id}"
        found = self._root.ask("GET", path)["migrations"]
        return str(found[0]["status"]) if found else "queued"

    def delete(self) -> None:
        self._mine.ask("DELETE", f"/servers/{self.id}")
        self._wait(lambda: not self._mine.knows(f"/servers/{self.id}"), "the server is gone")

    def _wait(self, condition: Any, what: str) -> None:
        self._lab.wait_for(condition, LIMIT_S, what)


@pytest.fixture
def server(openstack: Cloud) -> Iterator[Server]:
    mine = openstack.nova(member(openstack))
    made = Server(openstack, mine, openstack.nova(openstack.admin()))
    yield made
    if made.id and mine.knows(f"/servers/{made.id}"):  # of a test that failed
        made.delete()


def member(openstack: Cloud) -> str:
    return openstack.token("alice", MEMBER_PASSWORD, "blue")


def tap_of(port: Row) -> str:
    return f"tap{port['id'][:11]}"


def taps(lab: Lab, host: str) -> set[str]:
    """Return the names of a host's taps and of Open vSwitch's ports with tap names."""
    links = lab.exec(host, "ls", "/sys/class/net").split()
    ports = lab.exec(host, "ovs-vsctl", "--bare", "--columns=name", "list", "Port").split()
    return {name for name in links + ports if name.startswith("tap")}


def port_on(lab: Lab, server: Server, network: LabNetwork) -> Row:
    """Return the server's port on a network."""
    (port,) = lab.api.list("ports", {"device_id": server.id, "network_id": network.id})
    return port


def wait_active(lab: Lab, port: Row) -> None:
    def active() -> bool:
        return bool(lab.api.show("ports", port["id"])["status"] == "ACTIVE")

    lab.wait_for(active, LIMIT_S, f"port {port['id']} is ACTIVE")


def bound(lab: Lab, port: Row, server: Server, host: str, kind: str) -> None:
    """It is bound to this host and no other, in use, and Nova's."""
    wait_active(lab, port)
    shown = lab.api.show("ports", port["id"])
    assert (shown["binding:host_id"], shown["binding:vif_type"]) == (host, VIF_TYPES[kind])
    assert (shown["device_id"], shown["device_owner"]) == (server.id, "compute:nova")
    row = lab.api._ask("GET", ["ports", port["id"], "bindings"])["bindings"]
    assert [(one["host"], one["status"]) for one in row] == [(host, "ACTIVE")]
    assert tap_of(port) in taps(lab, host)


def open_tap(lab: Lab, port: Row, host: str) -> Firmware:
    return Firmware(lab.node(host).netns, tap_of(port), port["mac_address"])


def address_of(port: Row) -> IPv4Address:
    return IPv4Address(port["fixed_ips"][0]["ip_address"])


def gets_its_address(lab: Lab, port: Row, host: str) -> None:
    with open_tap(lab, port, host) as guest:
        assert guest.boot(LIMIT_S).address == address_of(port)


def attach_and_detach(openstack: Cloud, server: Server, network: LabNetwork) -> None:
    """A port that somebody has made is lent to the server, and is there afterwards as before."""
    lab, host = openstack.lab, server.host
    with openstack.lessor(member(openstack)) as api:
        port = api.create("ports", {"network_id": network.id})
    server.attach(port)
    bound(lab, port, server, host, network.type)
    assert str(address_of(port)) in server.addresses()
    gets_its_address(lab, port, host)
    server.detach(port)
    lab.wait_for(
        lambda: not lab.api.show("ports", port["id"])["device_id"], LIMIT_S, "it is lent no more"
    )
    lab.wait_for(lambda: tap_of(port) not in taps(lab, host), LIMIT_S, "its tap is gone")
    left = lab.api.show("ports", port["id"])
    assert (left["binding:host_id"], left["device_owner"], left["status"]) == ("", "", "DOWN")
    address = str(address_of(port))
    lab.wait_for(lambda: address not in server.addresses(), LIMIT_S, "Nova shows it no more")
    lab.api.delete("ports", port["id"])


def live_migrate(openstack: Cloud, server: Server, network: LabNetwork, port: Row) -> None:
    """The guest has its network at the source until it moves, and then at the destination."""
    lab, source = openstack.lab, server.host
    (destination,) = {*COMPUTE_HOSTS} - {source}
    plugged = openstack.told(port["id"]).count(PLUGGED)
    with ExitStack() as opened:
        opened.enter_context(open_tap(lab, port, source))  # as QEMU has it
        server.live_migrate()
    assert server.host == destination
    assert openstack.told(port["id"]).count(PLUGGED) > plugged
    bound(lab, port, server, destination, network.type)
    lab.wait_for(lambda: tap_of(port) not in taps(lab, source), LIMIT_S, "its old tap is gone")
    gets_its_address(lab, port, destination)


def nothing_is_left(openstack: Cloud, server: Server, port: Row) -> None:
    lab = openstack.lab

    def left() -> set[str]:
        return {name for host in COMPUTE_HOSTS for name in taps(lab, host)}

    lab.wait_for(lambda: not left(), LIMIT_S, "no host has a tap")
    ports = lab.api.list("ports")
    assert {one["device_owner"] for one in ports} <= {"network:dhcp"}, ports
    anyhow = "(?:200|404)"  # Nova may have forgotten the server by then
    lab.wait_for(lambda: DELETED in openstack.told(port["id"], anyhow), LIMIT_S, "Nova is told")


def refusals(openstack: Cloud, since: int) -> list[Row]:
    """Return what Nova asked in vain, but for what it asks of every service.

    Lessor has no floating IPs. Nova asks for those of each address, and takes 404 for none
    (nova/network/neutron.py, `_get_floating_ips_by_fixed_and_port`).
    """
    found = [call for call in openstack.calls()[since:] if call["status"] >= 400]
    nothing = (404, "/v2.0/floatingips")
    return [call for call in found if (call["status"], call["path"].partition("?")[0]) != nothing]


@pytest.mark.parametrize("kind", list(VIF_TYPES))
def test_nova_boots_attaches_live_migrates_and_deletes(
    lab: Lab, openstack: Cloud, networks: dict[str, LabNetwork], server: Server, kind: str
) -> None:
    since = len(openstack.calls())
    network = networks[kind]
    server.boot(network)
    port = port_on(lab, server, network)
    host = server.host
    assert openstack.told(port["id"])[0] == PLUGGED, "the server is ACTIVE, for whatever reason"
    bound(lab, port, server, host, kind)
    assert server.addresses() == [str(address_of(port))]
    gets_its_address(lab, port, host)

    other = next(name for name in VIF_TYPES if name != kind)
    attach_and_detach(openstack, server, networks[other])
    live_migrate(openstack, server, network, port)

    server.delete()
    nothing_is_left(openstack, server, port)
    assert len(openstack.calls()) > since
    assert not refusals(openstack, since)
