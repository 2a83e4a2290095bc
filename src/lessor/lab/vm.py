"""A VM in a network namespace, with a real DHCP client.

The lab acts as the hypervisor: it creates the host's end with the name of the port's tap and the
VM's end with the port's MAC. The agent does everything else on the host: bridge, guards and so on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import httpx

from lessor import wire
from lessor.errors import CommandError
from lessor.lab.capture import Capture
from lessor.lab.demo.dora import dora_ms
from lessor.lab.lease import VmLease, parse_lease, read_lease, write_lease
from lessor.lab.netns import NetnsTransport
from lessor.lab.node import Node
from lessor.lab.process import Process
from lessor.lab.state import VmState
from lessor.lab.wait import wait_for
from lessor.net.address import Address

LEASE_SCRIPT = Path(__file__).parent / "guest" / "lease.sh"
NIC = "eth0"
TAP_ID_LENGTH = 11  # a tap's name is "tap" and the first characters of its port's id


class Vm(Protocol):
    """The interface of both kinds of VMs."""

    state: VmState
    tap: str  # the host's end

    def start(self) -> None:
        """Create the VM, as a hypervisor does; it may wait for the agent's tap."""

    def dhcp(self, timeout_s: float = 30) -> VmLease:
        """Let the VM request its address, and return its lease.

        Raises:
            TimeoutError: it has no lease after `timeout_s`.
        """

    def lease(self) -> VmLease | None:
        """Return the VM's present lease; None: it has none."""

    def last_lease(self) -> VmLease | None:
        """Return the last result of `dhcp`, without a request to the VM."""

    def events(self) -> list[str]:
        """Return the events of its DHCP client: deconfig, bound, renew, nak, leasefail."""

    def renew(self) -> None:
        """Let its DHCP client renew now; `events` has the result."""

    def exec(self, *argv: str, timeout_s: float = 30) -> str:
        """Run a program in the VM and return its output.

        Raises:
            CommandError: its exit status isn't 0.
        """

    def ping(self, address: Address, timeout_s: int = 2) -> bool:
        """Return whether an address answers the VM."""

    def http(self, url: str, timeout_s: float = 5) -> str:
        """Let the VM fetch a page, and return the body.

        Raises:
            httpx.HTTPError, CommandError: the request failed.
        """

    def stop(self) -> None:
        """End the VM, as a hypervisor does: its link is deleted, its port stays."""


def tap_name(port_id: str) -> str:
    """Return the name of the host's end of a port."""
    return f"tap{port_id[:TAP_ID_LENGTH]}"


class NetnsVm:
    """A VM in a namespace."""

    def __init__(self, node: Node, state: VmState, folder: Path) -> None:
        self.state = state
        self.netns = f"vm-{state.name}"
        self.tap = tap_name(state.port_id)
        self._node = node
        self._folder = folder  # on this machine: data of the VM
        self._leases = f"/run/{self.netns}"  # in the host, where the DHCP client's script writes

    def start(self) -> None:
        """Create the namespace and its link; the tap stays down until the agent wires it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._node.exec("mkdir", self._leases)
        script = self._node.root / self._leases.lstrip("/") / LEASE_SCRIPT.name
        script.write_text(LEASE_SCRIPT.read_text())
        script.chmod(0o755)  # an installed package loses the mode
        peer = f"{NIC} netns {self.netns} address {self.state.mac}"
        commands = f"netns add {self.netns}\nlink add {self.tap} type veth peer name {peer}\n"
        self._node.exec("ip", "-batch", "-", stdin=commands)
        if self.state.overlay:  # the userspace datapath doesn't complete checksums
            self.exec("ethtool", "-K", NIC, "tx", "off")
        self.exec("ip", "-batch", "-", stdin=f"link set lo up\nlink set {NIC} up\n")

    def netns_path(self) -> Path:
        """Return the VM's network namespace as a file of this machine."""
        return self._node.root / "run" / "netns" / self.netns

    def dhcp(self, timeout_s: float = 30) -> VmLease:
        """Restart the VM's DHCP client and wait for its lease; the client keeps running."""
        self._end_client()
        capture = Capture(self.netns_path(), NIC)
        try:
            self._start_client()
            text = wait_for(self._lease_text, timeout_s, f"VM {self.state.name} has a lease")
            lease = parse_lease(text, dora_ms(capture.messages(), self.state.mac))
        finally:
            capture.close()
        write_lease(self._folder, lease)
        return lease

    def _start_client(self) -> None:
        """Start udhcpc: without -n it never gives up; with -T and -A it asks every second."""
        patience = ("-t", "5", "-T", "1", "-A", "1")
        wanted = ("-O", "staticroutes", "-O", "mtu")
        client = self._node.spawn(
            self.netns,
            *(
                "udhcpc",
                "-f",
                "-i",
                NIC,
                *patience,
                *wanted,
                "-s",
                f"{self._leases}/{LEASE_SCRIPT.name}",
            ),
            netns=self.netns,
            env={"LEASE_DIR": self._leases},
        )
        (self._folder / "client.json").write_bytes(wire.encode(client))

    def _client(self) -> Process | None:
        return self._process("client.json")

    def _process(self, name: str) -> Process | None:
        path = self._folder / name
        return wire.decode(path.read_bytes(), Process) if path.exists() else None

    def _end(self, name: str) -> None:
        process = self._process(name)
        if process is not None:
            self._node.kill(process)

    def _end_client(self) -> None:
        self._end("client.json")
        self._node.exec("rm", "-f", f"{self._leases}/lease")

    def _lease_text(self) -> str:
        return self._read("lease")

    def _read(self, name: str) -> str:
        path = Path(f"{self._node.root}{self._leases}/{name}")
        return path.read_text() if path.exists() else ""

    def lease(self) -> VmLease | None:
        """Return the lease in the script's file."""
        text = self._lease_text()
        if not text:
            return None
        first = self.last_lease()
        return parse_lease(text, first.dora_ms if first else None)

    def last_lease(self) -> VmLease | None:
        """Return the lease that `dhcp` stored."""
        return read_lease(self._folder)

    def events(self) -> list[str]:
        """Return the DHCP client's events."""
        return self._read("events").split()

    def renew(self) -> None:
        """Renew: udhcpc renews on SIGUSR1."""
        client = self._client()
        if client is None or not self._node.kill(client, "USR1"):
            raise CommandError(f"VM {self.state.name} has no DHCP client running")

    def exec(self, *argv: str, stdin: str | None = None, timeout_s: float = 30) -> str:
        """Run a program of the host in the VM's network."""
        return self._node.exec(*argv, netns=self.netns, stdin=stdin, timeout_s=timeout_s)

    def ping(self, address: Address, timeout_s: int = 2) -> bool:
        """Send one echo request."""
        try:
            self.exec("busybox", "ping", "-c", "1", "-W", str(timeout_s), str(address))
        except CommandError:
            return False
        return True

    def http(self, url: str, timeout_s: float = 5) -> str:
        """Fetch a page from the VM's network; without DNS, so the URL needs an address."""
        return self.get(url, timeout_s).raise_for_status().text

    def get(
        self, url: str, timeout_s: float = 5, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Fetch a page with given headers; any status is returned."""
        transport = NetnsTransport(self.netns_path())
        with httpx.Client(transport=transport, trust_env=False, timeout=timeout_s) as client:
            return client.get(url, headers=headers)

    def serve(self, text: str) -> None:
        """Serve a page with this text on port 80."""
        folder = f"{self._leases}/www"
        self._node.exec("mkdir", "-p", folder)
        (self._node.root / folder.lstrip("/") / "index.html").write_text(f"{text}\n")
        httpd = ("busybox", "httpd", "-f", "-p", "80", "-h", folder)
        server = self._node.spawn(f"{self.netns}-httpd", *httpd, netns=self.netns)
        (self._folder / "httpd.json").write_bytes(wire.encode(server))

    def stop(self) -> None:
        """End the client, and delete the namespace and with it the link."""
        self._end_client()
        self._end("httpd.json")
        self._node.exec("sh", "-c", f"ip link del {self.tap}; ip netns del {self.netns}")
        self._node.exec("rm", "-rf", self._leases)
