"""Broken tunnels are reported, one line a cable, with their start; later the line disappears."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pytest

from lessor.lab.cabling import cable_name
from lessor.lab.lab import FABRIC, Lab
from lessor.lab.ovs import SWITCH
from lessor.lab.services import LESSOR, SERVER
from lessor.lab.state import HostSpec
from tests.lab.test_overlay_faults import other_local_ip

pytestmark = pytest.mark.lab

NAMED_S = 15  # from the fault to what an operator reads
MENDED_S = 15
RARELY = {"resync_interval": "300"}  # what is noticed is noticed by itself
HOSTS = [
    HostSpec(name="net1", network_host=True, overlay=True, flags=RARELY),
    *(HostSpec(name=name, overlay=True, flags=RARELY) for name in ("cmp1", "cmp2")),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab.up(tmp_path_factory.mktemp("tunnels") / "lab", HOSTS)
    red = lab.network("red", "10.30.0.0/24", kind="vxlan")
    for host in ("cmp1", "cmp2"):
        vm = lab.boot(f"r-{host}", host, red)
        lab.wait_active(vm, timeout_s=20)
        vm.dhcp(timeout_s=20)
    yield lab
    lab.down()


@pytest.fixture(autouse=True)
def _well(lab: Lab) -> Iterator[None]:
    """Nothing is wrong before a test, and after it."""
    lab.wait_for(lambda: not pending(lab), MENDED_S, "nothing is pending before")
    for host in lab.hosts:  # what one of them hears nothing of since before would be part of it
        lab.wait_for(lambda host=host: all_up(lab, host), MENDED_S, f"tunnels of {host}")  # type: ignore[misc]
    yield
    lab.wait_for(lambda: not pending(lab), MENDED_S, "nothing is pending after")


def pending(lab: Lab) -> list[str]:
    lines = json.loads(lab.exec(SERVER, LESSOR, "status", "--json", timeout_s=60))["pending"]
    assert isinstance(lines, list)
    return lines


def named(lab: Lab, words: str) -> None:
    """Wait until a line has these words."""
    lab.wait_for(lambda: words in str(pending(lab)), NAMED_S, f"named: {words}")


@contextmanager
def blocked(lab: Lab, *rules: str) -> Iterator[None]:
    """Drop on the wire what these rules match, and no other than VXLAN."""
    body = " ".join(f"{rule} udp dport 4789 drop;" for rule in rules)
    chain = f"chain f {{ type filter hook forward priority 0; {body} }};"
    lab.exec(FABRIC, "nft", f"table bridge test {{ {chain} }};")
    try:
        yield
    finally:
        lab.exec(FABRIC, "nft", "delete", "table", "bridge", "test")


def cable(lab: Lab, host: str) -> str:
    return f'"{cable_name(lab.host_state(host).index, "eth2")}"'


def test_a_host_to_which_no_tunnel_packet_comes_is_one_line_with_since_when(lab: Lab) -> None:
    own, at = lab.host_state("cmp1").tunnel_address, time.time()
    with blocked(lab, f"iifname {cable(lab, 'cmp1')}", f"oifname {cable(lab, 'cmp1')}"):
        named(lab, f"host cmp1: no packet of tunnels comes to local_ip {own} from any of 2 hosts")
        lab.wait_for(lambda: len(pending(lab)) == 1, NAMED_S, "it is one line")
        [line] = pending(lab)
        [problem] = lab.api.find("hosts", "cmp1")["problems"]
    assert "though ping passes: UDP 4789 is stopped at this host" in line
    assert "(since " in line
    since = datetime.fromisoformat(problem["since"]).timestamp()
    assert at - 3 < since < at + 5, "it stands since the last packet came"
    assert problem["networks"] == [lab.api.find("networks", "red")["id"]]


def test_a_pair_of_hosts_between_which_no_tunnel_packet_passes_is_one_line(lab: Lab) -> None:
    one, two = cable(lab, "cmp1"), cable(lab, "cmp2")
    with blocked(lab, f"iifname {one} oifname {two}", f"iifname {two} oifname {one}"):
        named(lab, "no packet of tunnels comes to local_ip ")
        lab.wait_for(lambda: len(pending(lab)) == 1, NAMED_S, "it is one line")
        [line] = pending(lab)
    for host in ("cmp1", "cmp2"):
        assert host in line
        assert str(lab.host_state(host).tunnel_address) in line


def test_a_host_that_can_send_no_tunnel_packet_is_told_so(lab: Lab) -> None:
    with blocked(lab, f"iifname {cable(lab, 'cmp1')}"):
        named(lab, "UDP 4789 is stopped on the way out of this host")
        lab.wait_for(lambda: len(pending(lab)) == 1, NAMED_S, "it is one line")


def test_a_local_ip_of_another_interface_is_named(lab: Lab) -> None:
    other = lab.host_state("cmp2").address
    with other_local_ip(lab, "cmp2", str(other)):
        named(lab, f"host cmp2: no packet of tunnels comes to local_ip {other} from any of 2 hosts")
        lab.wait_for(lambda: len(pending(lab)) == 1, NAMED_S, "it is one line")
        assert "local_ip is on the wrong interface or network" in pending(lab)[0]


def test_a_host_whose_open_vswitch_is_stopped_is_one_line(lab: Lab) -> None:
    lab.kill("cmp2", SWITCH, "STOP")
    try:
        named(lab, "host cmp2: ovs-vswitchd hangs")
        for host in ("net1", "cmp1"):  # they hear nothing of cmp2, and tell the server
            lab.wait_for(lambda host=host: told(lab, host), NAMED_S, f"{host} tells")  # type: ignore[misc]
        lab.wait_for(lambda: len(pending(lab)) == 1, NAMED_S, "it is one line")
    finally:
        lab.kill("cmp2", SWITCH, "CONT")


def test_ovs_that_is_started_again_makes_nobody_say_anything(lab: Lab) -> None:
    before = {host: log(lab, host).count("tunnels broken") for host in lab.hosts}
    lab.kill("cmp2", SWITCH)
    lab.start("cmp2", SWITCH)
    time.sleep(NAMED_S)
    assert {host: log(lab, host).count("tunnels broken") for host in lab.hosts} == before


def all_up(lab: Lab, host: str) -> bool:
    """Tell whether a host's tunnels to both others carry, as BFD says (ovs-vswitchd(8))."""
    said = lab.exec(host, "ovs-appctl", "bfd/show")
    return said.count("Local Session State: up") == len(lab.hosts) - 1


def told(lab: Lab, host: str) -> list[dict[str, object]]:
    """Return what a host's agent has told of tunnels, and the server may leave out."""
    problems: list[dict[str, object]] = lab.api.find("hosts", host)["problems"]
    return [one for one in problems if "of tunnels" in str(one["text"])]


def log(lab: Lab, host: str) -> str:
    return lab.node(host).log("agent").read_text()
