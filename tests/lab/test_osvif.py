"""os-vif, which Nova uses, plugs ports as the API describes them; the agent then wires them.

On a vxlan network os-vif makes the port of br-int, with its iface-id, and QEMU the tap. On a flat
one Nova makes a tap, and the agent puts it on its bridge.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lessor.lab.lab import Lab
from lessor.lab.state import HostSpec

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
PROGRAM = Path(__file__).parent / "osvif.py"
HOST, LIMIT_S = "cmp1", 30

pytestmark = [
    pytest.mark.lab,
    pytest.mark.clients,
    pytest.mark.skipif(not PYTHON.exists(), reason="scripts/setup makes .venv-clients"),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    hosts = [HostSpec(name="net1", network_host=True, overlay=True)]
    hosts += [HostSpec(name=HOST, overlay=True)]
    lab = Lab.up(tmp_path_factory.mktemp("osvif") / "lab", hosts)
    yield lab
    lab.down()


def made(lab: Lab, kind: str, cidr: str) -> dict[str, Any]:
    network = lab.network(kind, cidr, kind=kind)
    body = {
        "network_id": network.id,
        "device_id": str(uuid.uuid4()),
        "device_owner": "compute:nova",
        "binding:host_id": HOST,
    }
    return lab.api.create("ports", body)


def call(lab: Lab, action: str, port: dict[str, Any]) -> None:
    lab.exec(HOST, str(PYTHON), str(PROGRAM), action, json.dumps(port), timeout_s=60)


def wait(lab: Lab, port: dict[str, Any], *statuses: str) -> None:
    def there() -> bool:
        return lab.api.show("ports", port["id"])["status"] in statuses

    lab.wait_for(there, LIMIT_S, f"port {port['id']} is {' or '.join(statuses)}")


def tap_of(lab: Lab, port: dict[str, Any]) -> str:
    """Make the tap as QEMU does, with the VM's end in a namespace."""
    tap = f"tap{port['id'][:11]}"
    peer = ("type", "veth", "peer", "name", "eth0", "netns", "guest")
    lab.exec(HOST, "ip", "netns", "add", "guest")
    lab.exec(HOST, "ip", "link", "add", tap, *peer, "address", port["mac_address"])
    lab.exec(HOST, "ip", "link", "set", tap, "up")
    lab.exec(HOST, "ip", "-n", "guest", "link", "set", "eth0", "up")
    lab.exec(HOST, "ip", "netns", "exec", "guest", "ethtool", "-K", "eth0", "tx", "off")
    return tap


def gets_its_address(lab: Lab, port: dict[str, Any]) -> bool:
    """Ask by DHCP, to no effect on the guest; tell whether the port's address is offered."""
    ask = ("udhcpc", "-i", "eth0", "-n", "-q", "-t", "10", "-T", "1", "-s", "/bin/true")
    said = lab.exec(HOST, "sh", "-c", f"ip netns exec guest {' '.join(ask)} 2>&1")
    return f"lease of {port['fixed_ips'][0]['ip_address']} obtained" in said


def mended(lab: Lab) -> int:
    """Return how often the agent had to put a bridge of Open vSwitch right."""
    lab.wait_for(lambda: "br-int" in lab.exec(HOST, "ovs-vsctl", "list-br"), LIMIT_S, "br-int")
    lines = lab.node(HOST).log("agent").read_text().splitlines()
    return sum("kind=ovs_bridges" in line and "replaced=1" in line for line in lines)


def test_os_vif_plugs_and_unplugs_a_port_of_open_vswitch(lab: Lab) -> None:
    port = made(lab, "vxlan", "10.71.0.0/24")
    assert port["binding:vif_type"] == "ovs"
    before = mended(lab)
    call(lab, "plug", port)
    tap = tap_of(lab, port)
    wait(lab, port, "ACTIVE")
    assert gets_its_address(lab, port)
    assert mended(lab) == before, "os-vif was told another datapath_type than the host has"
    call(lab, "unplug", port)
    wait(lab, port, "DOWN", "BUILD")
    lab.exec(HOST, "ip", "netns", "del", "guest")
    lab.api.delete("ports", port["id"])
    # os-vif takes the port from the bridge before its tap: the agent may put it back in between

    def gone() -> bool:
        return not lab.exec(
            HOST, "ovs-vsctl", "--bare", "--columns=name", "find", "Port", f"name={tap}"
        )

    # of no bridge: br-int itself may have been deleted by now, with its last network
    lab.wait_for(gone, LIMIT_S, f"{tap} is no port of a bridge any more")


def test_a_tap_that_nova_makes_on_a_flat_network_is_put_on_its_bridge(lab: Lab) -> None:
    """Nova's libvirt driver makes it (plug_tap), and leaves it on no bridge."""
    port = made(lab, "flat", "10.70.0.0/24")
    assert port["binding:vif_type"] == "tap"
    details = port["binding:vif_details"]
    tap = tap_of(lab, port)
    lab.exec(HOST, "ip", "link", "set", tap, "address", details["mac_address"])
    wait(lab, port, "ACTIVE")
    assert tap == details["tap_name"]
    held = lab.exec(HOST, "ip", "-br", "link", "show", "master", details["bridge_name"])
    assert f"{tap}@" in held
    assert gets_its_address(lab, port)
    lab.exec(HOST, "ip", "link", "del", tap)
    wait(lab, port, "DOWN", "BUILD")
    lab.exec(HOST, "ip", "netns", "del", "guest")
    lab.api.delete("ports", port["id"])
