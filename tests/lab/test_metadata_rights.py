"""A process without rights reads VMs' requests to 169.254.169.254 while the agent runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.node import Node
from lessor.lab.process import Process, processes, read_process
from lessor.lab.services import AGENT
from lessor.lab.state import HostSpec
from lessor.lab.vm import NetnsVm

pytestmark = pytest.mark.lab

HOST = "net1"
LIMIT_S = 60
PROGRAM = "lessor.metadata.guest"
PAGE = "http://169.254.169.254/latest/meta-data/local-ipv4"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab.up(
        tmp_path_factory.mktemp("guest") / "lab",
        [HostSpec(name=HOST, network_host=True, overlay=True)],
    )
    yield made
    made.down()


@pytest.fixture(scope="module", params=["flat", "vxlan"])
def vm(request: pytest.FixtureRequest, lab: Lab) -> NetnsVm:
    """Boot a VM whose metadata are answered on a bridge, or in a namespace."""
    subnet = {"flat": "10.70.0.0/24", "vxlan": "10.71.0.0/24"}[request.param]
    network = lab.network(request.param, subnet, kind=request.param)
    made = lab.boot(f"vm-{request.param}", HOST, network)
    assert isinstance(made, NetnsVm)
    lab.wait_active(made, LIMIT_S)
    made.dhcp(LIMIT_S)
    assert made.http(PAGE) == str(made.state.assigned)
    return made


def guests(node: Node) -> list[Process]:
    """Return the processes that serve guests."""
    return [process for process, words in processes(node.proc) if PROGRAM in words]


def holders(node: Node, client: socket.socket) -> list[int]:
    """Return the processes that have the other end of a VM's connection."""
    port = client.getsockname()[1]
    inodes = {
        words[9]
        for table in node.proc.glob("[0-9]*/net/tcp")
        for words in map(str.split, read(table).splitlines()[1:])
        if words[2].endswith(f":{port:04X}") and words[3] == "01"  # established
    }
    found = {file.parts[-3] for file in node.proc.glob("[0-9]*/fd/*") if inode(file) in inodes}
    return sorted(map(int, found))


def read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # its process has ended
        return ""


def inode(file: Path) -> str:
    """Return the number of the socket that a descriptor is; "": it is none."""
    try:
        return str(file.readlink()).removeprefix("socket:[").rstrip("]")
    except OSError:
        return ""


def status(node: Node, pid: int) -> dict[str, str]:
    lines = read(node.proc / str(pid) / "status").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def agent_of(lab: Lab) -> int:
    return lab.host_state(HOST).processes[AGENT].pid


def connect(vm: NetnsVm) -> socket.socket:
    return in_netns(
        vm.netns_path(), lambda: socket.create_connection(("169.254.169.254", 80), LIMIT_S)
    )


def test_a_vm_is_read_by_a_process_without_rights(lab: Lab, vm: NetnsVm) -> None:
    node = lab.node(HOST)
    with connect(vm) as held:
        held.sendall(b"GET /latest/meta-data/local-ipv4 HTTP/1.1\r\nHost: x\r\n\r\n")
        with held.makefile("rb") as told:
            assert told.readline().startswith(b"HTTP/1.1 200")
        [guest] = guests(node)
        assert holders(node, held) == sorted([agent_of(lab), guest.pid])
    found = status(node, guest.pid)
    assert "0" not in found["Uid"].split() + found["Gid"].split()
    assert found["Groups"] == ""
    assert {found[f"Cap{name}"] for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert found["PPid"] == str(agent_of(lab))


def test_it_ends_with_an_agent_that_is_killed_and_the_next_one_has_another(
    lab: Lab, vm: NetnsVm
) -> None:
    node = lab.node(HOST)
    [before] = guests(node)
    lab.kill(HOST, AGENT)
    lab.wait_for(lambda: not read_process(before.pid, node.proc), LIMIT_S, "it has ended")
    lab.start(HOST, AGENT)
    lab.wait_for(lambda: is_told(vm), LIMIT_S, "the VM is answered again")
    [after] = guests(node)
    assert after != before


def test_one_that_is_killed_is_made_again_and_the_agent_goes_on(lab: Lab, vm: NetnsVm) -> None:
    node, agent = lab.node(HOST), agent_of(lab)
    [before] = guests(node)
    node.kill(before)
    lab.wait_for(lambda: is_told(vm), LIMIT_S, "the VM is answered again")
    assert guests(node) != [before]
    assert agent_of(lab) == agent
    assert lab.is_running(HOST, AGENT)


def is_told(vm: NetnsVm) -> bool:
    try:
        return vm.get(PAGE).text == str(vm.state.assigned)
    except (OSError, httpx.HTTPError):
        return False
