"""A lab as one test sees it: networks and VMs that are gone afterwards, and what is asked of them.

Its hosts: net1 is the network host; cmp1 and cmp2 are compute hosts; lax1 releases no leases and
sends metadata requests on to the outside's web server, which says who asks; nova1 lets a Nova
metadata API answer, and its VMs leave by the bridge that they are on, as where a host has but one
interface. Each has a routing_source_ip that is not its own address.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from lessor.agent.leases.leasefile import leases_of
from lessor.errors import Conflict, NotFound
from lessor.lab.cabling import DMZ, OUTSIDE, cable_name
from lessor.lab.cloud import LabNetwork
from lessor.lab.lab import FABRIC, Lab
from lessor.lab.process import processes
from lessor.lab.state import HostSpec
from lessor.lab.vm import NetnsVm
from tests.lab.frames import Wire, listening

LIMIT_S = 30  # generous: other tests may keep the machine busy
NOVA_PORT, NOVA_SECRET = 8774, "a-secret"
NETWORKS = Path("var/lib/lessor/networks")  # in a host
BOOK = Path("var/lib/lessor/agent/leases")
FLAGS = {"dmz_cidr": str(DMZ)}
SOURCES = {  # routing_source_ip of each host
    name: IPv4Address("192.0.2.240") + number
    for number, name in enumerate(("net1", "cmp1", "cmp2", "lax1", "nova1"))
}
MORE_FLAGS = {
    "net1": {"metadata_cache_expiration": "2"},  # a VM that was renamed is asked for soon
    "lax1": {
        "force_dhcp_release": "False",
        "metadata_host": str(OUTSIDE),
        "metadata_port": "80",
    },
    "nova1": {
        "public_interface": "br100",
        "metadata_mode": "proxy",
        "nova_metadata_url": f"http://127.0.0.1:{NOVA_PORT}",
        "neutron/metadata_proxy_shared_secret": NOVA_SECRET,
    },
}
HOSTS = [
    HostSpec(
        name=name,
        network_host=name == "net1",
        flags={"routing_source_ip": str(source)} | MORE_FLAGS.get(name, {}),
    )
    for name, source in SOURCES.items()
]


def up(folder: Path, firewall: str) -> Lab:
    lab = Lab.up(folder, HOSTS, FLAGS | {"gateway_firewall": firewall})
    for name, source in SOURCES.items():
        lab.exec(name, "ip", "addr", "add", f"{source}/32", "dev", "eth0")
    return lab


@dataclass
class Stage:
    lab: Lab
    firewall: str
    _networks: list[LabNetwork] = field(default_factory=list)
    vms: list[NetnsVm] = field(default_factory=list)

    # --- what a test makes ------------------------------------------------------------------------

    def network(self, cidr: str, **attributes: Any) -> LabNetwork:
        made = self.lab.network(f"n{len(self._networks)}", cidr, **attributes)
        self._networks.append(made)
        return made

    def plugged(self, on: str, network: LabNetwork, **port: Any) -> NetnsVm:
        """Make a VM whose port is ready, and which has asked for nothing yet."""
        vm = self.lab.boot(f"vm{len(self.vms)}", on, network, port=port)
        assert isinstance(vm, NetnsVm)
        self.vms.append(vm)
        self.lab.wait_active(vm, LIMIT_S)
        return vm

    def vm(self, on: str, network: LabNetwork, **port: Any) -> NetnsVm:
        """Make a VM that has its lease, of which the server knows."""
        vm = self.plugged(on, network, **port)
        vm.dhcp(LIMIT_S)
        self.wait(lambda: self.lease(vm), f"the server knows of the lease of {vm.state.name}")
        return vm

    def delete_vm(self, vm: NetnsVm) -> None:
        self.lab.delete_vm(vm.state.name)

    def clean(self) -> None:
        for vm in self.vms:
            with contextlib.suppress(NotFound):
                self.delete_vm(vm)
        for network in self._networks:
            for port in self.lab.api.list("ports", {"network_id": network.id}):
                with contextlib.suppress(NotFound, Conflict):  # multi_host's own ports
                    self.lab.api.delete("ports", port["id"])
            self.lab.api.delete("networks", network.id)

    # --- what an operator sees --------------------------------------------------------------------

    @staticmethod
    def wait(condition: Any, what: str, timeout_s: float = LIMIT_S) -> Any:
        return Lab.wait_for(condition, timeout_s, what)

    def addresses(self, network: LabNetwork, **filters: str) -> dict[str, str]:
        """Return the state of each address that isn't simply free."""
        rows = self.lab.api.list("addresses", {"network_id": network.id} | filters)
        return {row["address"]: row["state"] for row in rows}

    def state(self, network: LabNetwork, address: object) -> str:
        return self.addresses(network, address=str(address)).get(str(address), "free")

    def lease(self, vm: NetnsVm) -> dict[str, Any] | None:
        """Return the VM's live lease, as the server knows it."""
        wanted = {"port_id": vm.state.port_id, "live": True}
        return next(iter(self.lab.api.list("leases", wanted)), None)

    def history(self, network: LabNetwork, mac: str) -> list[dict[str, Any]]:
        return self.lab.api.list("leases", {"network_id": network.id, "mac_address": mac})

    def make_port(self, network: LabNetwork, address: object = None) -> dict[str, Any]:
        """Make a port without a VM, which nothing serves."""
        body: dict[str, Any] = {"network_id": network.id}
        if address is not None:
            body["fixed_ips"] = [{"ip_address": str(address)}]
        return self.lab.api.create("ports", body)

    # --- on a host --------------------------------------------------------------------------------

    def files(self, host: str, bridge: str = "br100") -> dict[str, str]:
        """Return what the DHCP server of a bridge reads, by path."""
        folder = self.lab.node(host).root / NETWORKS / bridge
        while True:
            found = (folder / "reservations", *folder.glob("hosts/*"), *folder.glob("opts/*"))
            with contextlib.suppress(
                FileNotFoundError
            ):  # a reload put it into another one meanwhile
                return {str(path.relative_to(folder)): path.read_text() for path in found}

    def host_lines(self, host: str) -> list[str]:
        """Return the reservations that dnsmasq reads."""
        texts = (text for name, text in self.files(host).items() if not name.startswith("opts/"))
        lines = (line for text in texts for line in text.splitlines())
        return [line for line in lines if not line.startswith("#")]

    def book(self, host: str) -> dict[str, str]:
        """Return the leases that the agent knows of its DHCP server, address and MAC."""
        content = (self.lab.node(host).root / BOOK / "br100").read_bytes()
        return {str(lease.address): lease.mac for lease in leases_of(content).values()}

    def bridge_mac(self, host: str) -> str:
        return self.lab.exec(host, "cat", "/sys/class/net/br100/address").strip()

    def bridge_addresses(self, host: str) -> str:
        return self.lab.exec(host, "ip", "-4", "-o", "addr", "show", "br100")

    @contextmanager
    def cable(self, host: str) -> Iterator[Wire]:
        """Listen on the cable between a host's flat_interface and the wire."""
        name = cable_name(self.lab.host_state(host).index, "eth1")
        with listening(self.lab.node(FABRIC).netns, name) as wire:
            yield wire

    def dnsmasq(self, host: str) -> int | None:
        """Return the pid, in the host, of its DHCP server; None: it doesn't run, or not yet."""
        node = self.lab.node(host)
        try:
            pid = int((node.root / NETWORKS / "br100" / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if pid in {process.pid for process in node.find("dnsmasq")} else None

    def dnsmasq_arguments(self, host: str) -> list[str]:
        """Return the words of its command line; none while it doesn't run."""
        pid = self.dnsmasq(host)
        running = dict(processes(self.lab.node(host).proc))
        return next((words for process, words in running.items() if process.pid == pid), [])

    def _dnsmasq_environ(self, host: str) -> list[str]:
        try:
            path = self.lab.node(host).proc / str(self.dnsmasq(host)) / "environ"
            return path.read_text().split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError):
            return []

    def restart_dnsmasq(self, host: str, signal: str = "KILL") -> None:
        """End the DHCP server of a host, and wait until the agent has started it again."""
        before = self.dnsmasq(host)
        self.lab.kill(host, "dnsmasq", signal)
        self.wait(lambda: self.dnsmasq(host) not in {None, before}, f"dnsmasq runs on {host}")

    def hook(self, host: str, *event: str, expires_at: int = 0) -> str:
        """Call lessor-dhcpbridge on a host as its dnsmasq does, and return what it prints."""
        environ = self.wait(lambda: self._dnsmasq_environ(host), f"dnsmasq runs on {host}")
        mark = "--dhcp-script="
        [program] = [
            word.removeprefix(mark)
            for word in self.dnsmasq_arguments(host)
            if word.startswith(mark)
        ]
        more = [f"DNSMASQ_LEASE_EXPIRES={expires_at}"] if expires_at else []
        return self.lab.exec(host, "env", "-i", *environ, *more, program, *event)

    def tell_expiry(self, vm: NetnsVm, host: str, seconds: int) -> str:
        """Say in dnsmasq's stead that it gave a VM a lease of `seconds`, and return until when."""
        expires_at = int(time.time()) + seconds
        self.hook(host, "old", vm.state.mac, str(vm.state.assigned), expires_at=expires_at)
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires_at))
        self.wait(lambda: self._expiries(vm) == [until], "the server knows the new expiry")
        return until

    def _expiries(self, vm: NetnsVm) -> list[str]:
        rows = self.lab.api.list("leases", {"mac_address": vm.state.mac})
        return [row["expires_at"] for row in rows]

    def shorten_lease(self, vm: NetnsVm, host: str, seconds: int) -> None:
        """Silence a VM and let its lease end soon.

        dnsmasq gives no lease under 120 s. So it is told that it gave a shorter one: started
        again, it takes its leases from what `init` prints, and ends this one in time.
        """
        vm._end_client()
        self.tell_expiry(vm, host, seconds)
        self.restart_dnsmasq(host)

    def counter(self, host: str, name: str) -> int:
        """Return how many frames the bridge's protection dropped under a counter's name."""
        words = self.lab.exec(host, *f"nft list counter bridge lessor {name}".split()).split()
        return int(words[words.index("packets") + 1])
