"""A host whose DHCP is served by lessor-dhcpd and lessor-dnsd, for tests with real packets."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address
from pathlib import Path

import dns.message
import dns.rcode
from dns.rdatatype import RdataType

from lessor.agent.drivers.dhcp import Incident, Leases
from lessor.agent.drivers.dnsmasq.program import Dnsmasq
from lessor.agent.drivers.native.program import Native
from lessor.agent.host.run import run
from lessor.agent.leases.leasebook import LeaseBook
from lessor.agent.leases.spool import Spool
from lessor.core.firewall.tap_guard_rules import KNOWN_MARK
from lessor.daemon.home import Home
from lessor.daemon.process import find
from lessor.settings import AgentSettings
from tests.agent.drivers.dnsmasq_host import Host

# What `table bridge lessor` does for a known port.
MARKED = f"""table bridge known {{
    chain prerouting {{
        type filter hook prerouting priority -310
        meta mark set {KNOWN_MARK:#x}
    }}
}}
"""


class NativeHost(Host):
    """A host with a bridge, a wire on it where clients are, and an agent's DHCP part."""

    def __init__(self, folder: Path) -> None:
        run("nft", "-f", "-", stdin=MARKED)
        super().__init__(folder)

    def start_agent(self, called: object = None, *, release: bool = True) -> None:  # noqa: ARG002
        """A new agent that remembers nothing but what is on disk."""
        self._start(native=True, release=release)

    def start_dnsmasq_agent(self) -> None:
        """The same with the other program."""
        self._start(native=False, release=True)

    def _start(self, *, native: bool, release: bool) -> None:
        if self._close_driver:
            self._close_driver()
        self.incidents: list[Incident] = []
        own = self.folder / "agent"
        settings = AgentSettings(
            state_dir=self.folder,
            host="h",
            my_ip=IPv4Address("192.0.2.9"),
            networks_path=self.root,
            force_dhcp_release=release,
        )
        dnsmasq = Dnsmasq(settings, own / "spool")
        serves = Native(settings, own)
        program: Native | Dnsmasq = (
            Native(settings, own, dnsmasq.former)
            if native
            else Dnsmasq(settings, own / "spool", serves.former)
        )
        self.spool = Spool(own / "spool", program.inbox)
        self.book = LeaseBook(own / "leases", self.spool)
        book: Leases = self.book
        self.program = program
        self.driver = program.driver(book, None, lambda one: one.name)  # type: ignore[assignment]
        self._close_driver = self.driver.close
        self.driver.incidents.subscribe(self.incidents.append)
        self.names = not native and hasattr(self.driver, "write_names")

    def pid(self) -> int:
        return self._pid("dhcpd")

    def dns_pid(self) -> int:
        return self._pid("dnsd")

    def _pid(self, folder: str) -> int:
        pid = Home(self.folder / folder).holder()
        assert pid
        return pid

    def stop_all(self) -> None:
        self.driver.close()
        for folder in ("dhcpd", "dnsd"):
            found = find(Home(self.folder / folder))
            if found:
                found.end()
                found.close()
        self.start_dnsmasq_agent()
        self.once()
        self.driver.close()
        for client in self.clients.values():
            client.close()


def asked(name: str, client: str, server: str = "10.0.0.1") -> list[str]:
    """Ask for the addresses of a name as a client with that address; [] where it has none."""
    question = dns.message.make_query(name, RdataType.A)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((client, 0))
        sock.settimeout(5)
        sock.sendto(question.to_wire(), (server, 53))
        answer = dns.message.from_wire(sock.recv(4096))
    return [str(one) for found in answer.answer for one in found]
