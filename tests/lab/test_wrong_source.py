"""Status reports a VM with a foreign MAC or address, and a DHCP server on the wire."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from contextlib import suppress

import pytest

from lessor.errors import CommandError
from lessor.lab.lab import Lab
from lessor.lab.vm import NIC, NetnsVm
from lessor.lab.wait import StillNot
from tests.agent.drivers.frames import udp
from tests.lab.stage import LIMIT_S, Stage

pytestmark = pytest.mark.lab

WRONG, ROGUE = "02:00:00:00:00:99", "0e:00:00:00:00:01"


def said(lab: Lab, vm: NetnsVm, words: str, trying: Callable[[], bool] = bool) -> str:
    """Wait until port show has a sentence with these words, and status too; return it.

    Meanwhile the VM goes on `trying`, which it does in vain.
    """

    def find() -> str:
        assert not trying()
        shown = json.loads(lab.exec("server", "lessor", "port", "show", vm.state.port_id, "--json"))
        return next((str(one) for one in shown["problems"] if words in one), "")

    sentence = lab.wait_for(find, LIMIT_S, f"port show says {words}")
    assert words in " ".join(lab.exec("server", "lessor", "status").split())
    return str(sentence)


def obey(lab: Lab, sentence: str) -> None:
    """Type the commands that a sentence gives."""
    commands = re.findall(r"`(lessor port set [^`]+)`", sentence)
    assert commands, sentence
    for command in commands:
        lab.exec("server", *shlex.split(command))


def silent(lab: Lab, host: str) -> None:
    def still() -> list[str]:
        shown = json.loads(lab.exec("server", "lessor", "host", "show", host, "--json"))
        return [one["text"] for one in shown["problems"] if "VM sends" in one["text"]]

    try:
        lab.wait_for(lambda: not still(), LIMIT_S, "it is said no more")
    except StillNot as error:
        raise AssertionError(f"{error}: {still()}") from error


def wrong_mac_is_said_and_mended(lab: Lab, vm: NetnsVm) -> None:
    vm.exec("ip", "addr", "flush", "dev", NIC)  # an address pair is of the MAC that the port had
    for change in ("down", f"address {WRONG}", "up"):
        vm.exec(*f"ip link set {NIC} {change}".split())

    def served() -> bool:
        with suppress(CommandError):  # a client that gets no answer
            vm.exec(*f"udhcpc -n -q -t 3 -T 1 -i {NIC}".split())
            return True
        return False

    words = f"VM sends as {WRONG}, the port is {vm.state.mac}"
    sentence = said(lab, vm, words, trying=served)
    obey(lab, sentence)
    silent(lab, vm.state.host)
    assert vm.dhcp(LIMIT_S).address == vm.state.assigned


def static_address_is_said_and_mended(lab: Lab, vm: NetnsVm, address: str, other: NetnsVm) -> None:
    vm.exec("ip", "addr", "flush", "dev", NIC)
    vm.exec("ip", "addr", "add", f"{address}/24", "dev", NIC)
    target = other.state.assigned
    assert target is not None
    words = f"VM sends from {address}, the port has {vm.state.assigned}"
    sentence = said(lab, vm, words, trying=lambda: vm.ping(target, timeout_s=1))
    obey(lab, sentence)
    silent(lab, vm.state.host)
    lab.wait_for(lambda: vm.ping(target), LIMIT_S, "what is allowed passes")


def test_a_wrong_mac_and_a_static_address_are_said_with_what_mends_them(stage: Stage) -> None:
    network = stage.network("10.25.0.0/24")
    vm, other = stage.vm("cmp1", network), stage.vm("cmp2", network)
    assert not accused(stage.lab, vm)
    static_address_is_said_and_mended(stage.lab, vm, "10.25.0.77", other)
    wrong_mac_is_said_and_mended(stage.lab, vm)
    assert not accused(stage.lab, other)


def accused(lab: Lab, vm: NetnsVm) -> bool:
    """Tell whether status says of a VM how it sends; of others' VMs it may, from tests before."""
    said = lab.exec("server", "lessor", "status").splitlines()
    return any("VM sends" in line and vm.state.port_id[:11] in line for line in said)


def test_a_dhcp_server_on_the_wire_is_said_with_its_mac(stage: Stage) -> None:
    """A machine beside our hosts, on the flat network's wire, answers our VM's requests."""
    lab, network = stage.lab, stage.network("10.26.0.0/24")
    vm = stage.vm("cmp1", network)
    client = bytes.fromhex(vm.state.mac.replace(":", ""))
    message = b"\x02\x01\x06\x00" + bytes(24) + client + bytes(202)
    answer = udp(ROGUE, ("10.26.0.250", "255.255.255.255"), (67, 68), message)
    send = (
        "import socket; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth1', 0));"
        f"[s.send({answer!r}) for _ in range(5)]"
    )
    lab.exec("lax1", "/usr/bin/python3", "-c", send)
    named = f"answers on the wire of eth1 (network {network.name})"
    words = f"a DHCP server at 10.26.0.250 ({ROGUE}) {named}"
    stage.wait(lambda: words in " ".join(lab.exec("server", "lessor", "status").split()), words)
    assert vm.dhcp(LIMIT_S).address == vm.state.assigned
