"""The lab for attacks: two networks, an attacking VM, and VMs that must not be affected."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import Lab
from lessor.lab.netns import in_netns
from lessor.lab.ovs import BRIDGE as UNDERLAY
from lessor.lab.state import HostSpec
from lessor.lab.underlay import tunnel_address
from lessor.lab.vm import NIC, NetnsVm

Mode = Literal["flat", "vxlan"]
LIMIT_S = 60  # for what must come: the machine may be busy
BLOCKS = {  # the attacker's network, and another one
    "flat": ("10.71.0.0/24", "10.72.0.0/24"),
    "vxlan": ("10.73.0.0/24", "10.74.0.0/24"),
}
POOL = (100, 199)  # of each subnet: what lies outside is nobody's
HOSTS = ("net1", "cmp1", "cmp2")


@dataclass(frozen=True)
class Scene:
    """A lab with VMs for one kind of network.

    The attacker and its neighbour are on cmp1, the remote one on cmp2, all on one network. The
    stranger (cmp1) and its friend (cmp2) are on the other.
    """

    lab: Lab
    mode: Mode
    multi_host: bool
    own: LabNetwork
    other: LabNetwork
    attacker: NetnsVm
    neighbour: NetnsVm
    remote: NetnsVm
    stranger: NetnsVm
    friend: NetnsVm

    @property
    def label(self) -> str:
        return f"{self.mode}{', multi_host' if self.multi_host else ''}"

    @property
    def bridged(self) -> tuple[str, ...]:
        """The hosts that have a bridge of flat networks: multi-host, those with VMs."""
        return tuple(host for host in HOSTS if host != "net1" or not self.multi_host)

    def packets(self, vm: NetnsVm) -> socket.socket:
        """Return a socket that sends a VM's frames as they are."""
        return in_netns(vm.netns_path(), _opened)

    def namespace(self, name: str) -> Path:
        """Return a host's own network namespace."""
        return self.lab.node(name).netns

    def dhcp_namespaces(self) -> list[tuple[str, Path]]:
        """Return where the attacker's network has DHCP servers of its own, with their device."""
        found = []
        for host in HOSTS:
            folder = self.lab.node(host).root / "run/netns"
            found += [(host, one) for one in sorted(folder.glob(f"qdhcp-*{self.own.id}*"))]
        return found


def _opened() -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.bind((NIC, 0))
    return made


@contextmanager
def lab(folder: Path, firewall: str = "nftables", dhcp: str = "dnsmasq") -> Iterator[Lab]:
    """Run a lab whose hosts have tunnels, and the underlay as their way out, as with one NIC.

    So the network of the API and of the agents (eth0) is one that VMs need not reach.
    """
    specs = [
        HostSpec(
            name=name,
            network_host=name == "net1",
            overlay=True,
            flags={
                "public_interface": UNDERLAY,
                "routing_source_ip": str(tunnel_address(number)),
                "gateway_firewall": firewall,
                "dhcp_driver": dhcp,
            },
        )
        for number, name in enumerate(HOSTS)
    ]
    made = Lab.up(folder, specs)
    try:
        yield made
    finally:
        made.down()


def scene(lab: Lab, mode: Mode, *, multi_host: bool = False) -> Scene:
    """Make the networks and VMs; each VM has its lease."""
    own, other = (
        lab.network(
            f"{mode}-{name}",
            cidr,
            kind=mode,
            multi_host=multi_host,
            subnet={"allocation_pools": [_pool(cidr)]},
        )
        for name, cidr in zip(("own", "other"), BLOCKS[mode], strict=True)
    )
    places = {
        "attacker": ("cmp1", own), "neighbour": ("cmp1", own), "remote": ("cmp2", own),
        "stranger": ("cmp1", other), "friend": ("cmp2", other),
    }  # fmt: skip
    vms = {}
    for name, (host, network) in places.items():
        vm = lab.boot(f"{mode}-{name}", host, network)
        assert isinstance(vm, NetnsVm)
        vms[name] = vm
    for vm in vms.values():
        lab.wait_active(vm, LIMIT_S)
        vm.dhcp(LIMIT_S)
    return Scene(lab, mode, multi_host, own, other, **vms)


def _pool(cidr: str) -> dict[str, str]:
    base = cidr.rpartition(".")[0]
    return {"start": f"{base}.{POOL[0]}", "end": f"{base}.{POOL[1]}"}
