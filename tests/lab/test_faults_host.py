"""What goes wrong on a host, and what an operator sees of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from lessor.errors import CommandError
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.services import AGENT, LESSOR, SERVER
from lessor.lab.state import HostSpec
from lessor.lab.vm import NetnsVm

pytestmark = pytest.mark.lab

LIMIT_S = 30
UNASKED = {"resync_interval": "600"}  # what happens must be noticed, not found at the next look
HOSTS = [
    HostSpec(name="net1", network_host=True, flags=UNASKED),
    HostSpec(name="cut1", flags=UNASKED),  # its bridge is deleted
    HostSpec(name="own1"),  # has an operator's own things
    HostSpec(name="odd1", flags=UNASKED | {"flat_interface": "eth9"}),  # which it hasn't
    HostSpec(name="full1", flags={"resync_interval": "1"}),  # its disk gets full
    HostSpec(name="tight1", flags={"resync_interval": "1"}),  # so does that of its whole folder
]
METADATA = "http://169.254.169.254/openstack/latest/meta_data.json"
SPOOL = "/var/lib/lessor/agent/spool"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab.up(tmp_path_factory.mktemp("faults") / "lab", HOSTS)
    yield made
    made.down()


def booted(lab: Lab, vm_name: str, on: str, network: LabNetwork, **port: Any) -> NetnsVm:
    vm = lab.boot(vm_name, on, network, port=port)
    assert isinstance(vm, NetnsVm)
    lab.wait_active(vm, LIMIT_S)
    assert vm.dhcp(LIMIT_S).address == vm.state.assigned
    return vm


def leases(lab: Lab, vm: NetnsVm) -> list[dict[str, Any]]:
    return lab.api.list("leases", {"mac_address": vm.state.mac})


def known_lease(lab: Lab, vm: NetnsVm) -> dict[str, Any]:
    """Return the one lease of a VM, once the server knows of it."""
    lab.wait_for(lambda: leases(lab, vm), LIMIT_S, f"the lease of {vm.state.name} is known")
    [lease] = leases(lab, vm)
    assert lease["live"]
    return lease


def renewed(lab: Lab, vm: NetnsVm) -> None:
    """Have a VM renew its lease: it is told yes, and never no."""
    before = vm.events().count("renew")
    vm.renew()
    lab.wait_for(lambda: vm.events().count("renew") > before, LIMIT_S, "a renewal")
    assert "nak" not in vm.events()


def router(vm: NetnsVm) -> IPv4Address:
    lease = vm.lease()
    assert lease is not None
    assert lease.router is not None
    return lease.router


def problems(lab: Lab, host: str) -> str:
    return "\n".join(one["text"] for one in lab.api.find("hosts", host)["problems"])


def status(lab: Lab) -> str:
    return lab.exec(SERVER, LESSOR, "status")


def test_a_flat_interface_that_is_missing_is_pending_until_it_comes(lab: Lab) -> None:
    sentence = "flat_interface eth9 of bridge br100 is not on this host"
    vm = lab.boot("odd-vm", "odd1", lab.network("odd", "10.31.0.0/24", multi_host=True))

    lab.wait_for(lambda: f"port odd-vm on odd1: {sentence}" in status(lab), LIMIT_S, "it is said")
    assert sentence in problems(lab, "odd1")
    lab.exec("odd1", "ip", "link", "add", "eth9", "type", "veth", "peer", "far9")
    lab.wait_active(vm, LIMIT_S)
    assert vm.dhcp(LIMIT_S).address == vm.state.assigned
    lab.wait_for(lambda: sentence not in status(lab), LIMIT_S, "it is no longer said")
    assert "master br100" in lab.exec("odd1", "ip", "link", "show", "eth9")


def test_a_name_of_70_characters_still_gets_a_lease(lab: Lab) -> None:
    network = lab.network("long", "10.32.0.0/24")
    vm = booted(lab, "long-vm", "net1", network, name="x" * 70, dns_name="")
    assert known_lease(lab, vm)["address"] == str(vm.state.assigned)
    lease = vm.lease()
    assert lease is not None
    assert lease.hostname == f"xx-{'x' * 60}"


def test_a_killed_dnsmasq_comes_back_and_vms_renew(lab: Lab) -> None:
    vm = booted(lab, "calm-vm", "net1", lab.network("calm", "10.33.0.0/24"))
    lease = known_lease(lab, vm)
    node = lab.node("net1")
    before = node.find("dnsmasq")

    lab.kill("net1", "dnsmasq")

    def another() -> bool:
        return bool(node.find("dnsmasq")) and not set(before) & set(node.find("dnsmasq"))

    lab.wait_for(another, LIMIT_S, "dnsmasq runs again")
    renewed(lab, vm)
    lab.wait_for(lambda: "put back" in node.log(AGENT).read_text(), LIMIT_S, "it is said")
    lab.wait_for(lambda: leases(lab, vm)[0]["renewed_at"], LIMIT_S, "the renewal is known")
    assert known_lease(lab, vm)["id"] == lease["id"]


def test_a_bridge_deleted_by_hand_comes_back_with_all_that_was_on_it(lab: Lab) -> None:
    lab.exec("cut1", "ip", "addr", "add", "198.51.100.7/24", "dev", "eth1")
    lab.exec("cut1", "ip", "route", "add", "10.99.0.0/16", "via", "198.51.100.9")
    network = lab.network("cut", "10.34.0.0/24", multi_host=True)
    vm = booted(lab, "cut-vm", "cut1", network)
    lease = known_lease(lab, vm)

    def on_bridge() -> str:
        shown = lab.exec("cut1", "sh", "-c", "ip -o addr show br100; ip route show dev br100")
        return re.sub(r"(?m)^\d+:|.*fe80::.*\n|valid_lft .*", "", shown)

    before = on_bridge()
    assert "198.51.100.7/24" in before
    assert "10.99.0.0/16 via 198.51.100.9" in before

    lab.exec("cut1", "ip", "link", "del", "br100")

    def is_back() -> bool:
        links = lab.exec("cut1", "ip", "link")
        return f"{vm.tap}@" in links and links.count("master br100") == 2 and on_bridge() == before

    lab.wait_for(is_back, LIMIT_S, "the bridge is back")
    renewed(lab, vm)
    assert vm.ping(router(vm))
    assert vm.state.device_id in vm.http(METADATA)
    assert known_lease(lab, vm)["id"] == lease["id"]


OPERATORS = """
ip addr add 198.51.100.7/24 dev eth1; ip addr add 198.51.100.8/24 dev eth1
ip route add 10.99.0.0/16 via 198.51.100.9 src 198.51.100.8
ip link add op0 type bridge stp_state 1; ip link set op0 up; ip addr add 172.16.0.1/24 dev op0
ip link add op1 type veth peer name op2; ip link set op1 master op0; ip link set op1 up
ip rule add from 172.16.0.0/24 table 77; ip route add default via 192.0.2.1 table 77
nft add table inet operator
nft add chain inet operator seen '{ type filter hook forward priority 0; policy accept; }'
nft add rule inet operator seen ip saddr 172.16.0.0/24 accept
iptables -A INPUT -s 203.0.113.7/32 -j DROP
iptables -t nat -A POSTROUTING -s 172.16.0.0/24 -o eth0 -j MASQUERADE
"""
DNSMASQ = (
    "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--bind-interfaces",
    "--interface=op0", "--except-interface=lo", "--dhcp-range=172.16.0.50,172.16.0.60",
    "--dhcp-leasefile=/run/operator.leases",
)  # fmt: skip
WHOLE = "ip -d addr; ip route show table all; ip -6 route show table all; nft list ruleset"
THEIRS = "ip -d addr show op0; ip rule; ip route show table 77; nft list table inet operator"
RULES = "iptables-save; ip6tables-save"


def seen(lab: Lab, command: str) -> str:
    text = lab.exec("own1", "sh", "-c", command)
    counted = r"\[\d+:\d+\]|packets \d+ bytes \d+"  # also of what keeps br100 closed throughout
    return re.sub(rf"(?m)^# .*\n|{counted}|\w+_timer +[0-9.]+", "", text)


def test_an_operators_own_things_are_his_throughout(lab: Lab) -> None:
    """In the life of a network: its first VM, its last, its end."""
    lab.exec("own1", "sh", "-ec", OPERATORS)
    theirs = lab.spawn("own1", "opdns", *DNSMASQ)
    node = lab.node("own1")
    lab.wait_for(lambda: "tentative" not in seen(lab, "ip addr"), LIMIT_S, "IPv6 has settled")
    before = seen(lab, WHOLE), seen(lab, THEIRS), seen(lab, RULES)
    network = lab.network("own", "10.35.0.0/24", multi_host=True)

    vm = booted(lab, "own-vm", "own1", network)

    assert (seen(lab, THEIRS), seen(lab, RULES)) == before[1:]
    assert "inet 198.51.100.7/24" in seen(lab, "ip addr show br100")
    assert len(node.find("dnsmasq")) >= 2
    lab.delete_vm(vm.state.name)
    for port in lab.api.list("ports", {"network_id": network.id}):
        lab.api.delete("ports", port["id"])
    lab.api.delete("networks", network.id)

    def is_over() -> bool:
        return "br100" not in seen(lab, "ip link") and len(node.find("dnsmasq")) == 1

    lab.wait_for(is_over, LIMIT_S, "the network is gone from the host")
    lab.wait_for(lambda: seen(lab, WHOLE) == before[0], 5, "all is as before")
    assert (seen(lab, THEIRS), seen(lab, RULES)) == before[1:]
    assert node.find("dnsmasq") == [theirs]
    assert lab.is_running("own1", "opdns")


def test_a_full_disk_is_said_loudly_and_dhcp_goes_on(lab: Lab) -> None:
    """When there is room again, the server learns of every lease."""
    lab.kill("full1", AGENT)
    lab.exec("full1", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", SPOOL)
    lab.start("full1", AGENT)
    network = lab.network("full", "10.36.0.0/24", multi_host=True)
    first = booted(lab, "full-vm1", "full1", network)
    known_lease(lab, first)
    filler = f"{SPOOL}/filler"
    lab.exec("full1", "sh", "-c", f"head -c 1M /dev/zero >{filler} 2>/dev/null || true")
    assert Path(f"{lab.node('full1').root}{filler}").stat().st_size < 1 << 20

    second = booted(lab, "full-vm2", "full1", network)

    def is_said() -> bool:
        said = problems(lab, "full1")
        return f"the disk of {SPOOL} is full" in said and "lease events of br100 are lost" in said

    lab.wait_for(is_said, LIMIT_S, "the full disk is said")
    assert "DHCP goes on" in status(lab)
    assert leases(lab, second) == []
    renewed(lab, first)
    lab.exec("full1", "rm", filler)
    known_lease(lab, second)
    known_lease(lab, first)
    lab.wait_for(lambda: "lost" not in problems(lab, "full1"), LIMIT_S, "it is no longer said")


def test_an_agent_with_a_full_disk_goes_on_and_starts_and_keeps_dhcp_alive(lab: Lab) -> None:
    """Its whole folder is on that disk. With room again it is as if nothing had been."""
    folder = "/var/lib/lessor"
    network = lab.network("tight", "10.37.0.0/24", multi_host=True)
    vm = booted(lab, "tight-vm", "tight1", network)
    node = lab.node("tight1")
    lab.kill("tight1", AGENT)
    small = "mkdir /run/small; mount -t tmpfs -o size=1m,mode=755 tmpfs /run/small"
    move = f"cp -a {folder}/. /run/small; mount --bind /run/small {folder}"
    lab.exec("tight1", "sh", "-ec", f"{small}; {move}")
    lab.start("tight1", AGENT)
    lab.exec("tight1", "sh", "-c", f"head -c 2M /dev/zero >{folder}/filler 2>/dev/null || true")

    lab.api.create("ports", {"network_id": network.id, "binding:host_id": "tight1"})
    sentence = f"the disk of {folder}/agent is full: changes are not kept over a restart"
    lab.wait_for(lambda: sentence in problems(lab, "tight1"), LIMIT_S, "it is said")
    for start in (False, True):
        if start:
            lab.kill("tight1", AGENT)
            lab.start("tight1", AGENT)
        before = set(node.find("dnsmasq"))
        lab.kill("tight1", "dnsmasq")
        lab.wait_for(lambda: set(node.find("dnsmasq")) - before, LIMIT_S, "dnsmasq runs")  # noqa: B023 - it is waited for here
        renewed(lab, vm)
    assert lab.is_running("tight1", AGENT)

    lab.exec("tight1", "rm", f"{folder}/filler")
    late = booted(lab, "late-vm", "tight1", network)
    known_lease(lab, late)
    known_lease(lab, vm)
    lab.wait_for(lambda: "is full" not in problems(lab, "tight1"), LIMIT_S, "it is over")


def test_another_store_on_a_host_that_serves_changes_nothing(lab: Lab) -> None:
    """Whether the host's own agent runs or not: a second `lessor up` with another state folder."""
    vm = booted(lab, "two-vm", "net1", lab.network("two", "10.38.0.0/24"))
    listens = ("--listen", "127.0.0.1:8696", "--agent-listen", "127.0.0.1:8697")
    other = (LESSOR, "up", "--state-dir", "/run/other", *listens)
    shown = "ip -o link; ip -o -4 addr; nft list tables"
    before = lab.exec("net1", "sh", "-c", shown)
    with pytest.raises(CommandError, match="another agent runs on this host: pid "):
        lab.exec("net1", *other)
    lab.kill("net1", AGENT)
    try:
        with pytest.raises(
            CommandError, match=r"this host serves another store .* \(\d ports? here"
        ) as e:
            lab.exec("net1", *other)
        assert "state_dir /var/lib/lessor and is not running" in str(e.value)
        assert lab.exec("net1", "sh", "-c", shown) == before
        renewed(lab, vm)
    finally:
        lab.start("net1", AGENT)
    renewed(lab, vm)
