"""What all dnsmasqs of one host share, and the fingerprint of what one was started on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lessor.agent.drivers.dhcp import Incident, KnownLeases, Leases
from lessor.agent.drivers.dnsmasq.folder import ServerFolder
from lessor.agent.drivers.dnsmasq.hook import Hook
from lessor.agent.drivers.dnsmasq.process import Process, Scan
from lessor.agent.host.run import Run
from lessor.core.state import DhcpServer
from lessor.netns import identity, inside


@dataclass(frozen=True, slots=True)
class DnsmasqContext:
    """What all servers of a host share: folders, programs, the lease book."""

    root: Path  # networks_path
    leases: Leases
    runtime: Path  # a folder elsewhere than the spool, on no disk
    hook: Hook
    release: bool  # force_dhcp_release
    run: Run
    clock: Callable[[], float]  # seconds, never going back
    retired: list[Process]  # ended, but their pidfds may still be watched
    scan: Callable[[], Scan]  # all dnsmasqs, as of the beginning of this pass
    watch: Callable[[ServerFolder], None]  # tells the prober of foreign writes there
    tell: Callable[[Incident], None]
    label: Callable[[DhcpServer], str]  # names a server's networks, for messages
    config_file: str  # the operator's own settings of dnsmasq; "": none
    known: KnownLeases | None = None


def fingerprint(server: DhcpServer, folder: ServerFolder) -> str:
    """Return the kernel's numbers of namespace, interface and folders: a recreated one differs.

    Raises:
        OSError: there is no such namespace or interface.
    """
    interface = server.interface
    where = ""
    if server.namespace:
        interface += f" in {server.namespace}"
        where = "{},{},".format(*identity(server.namespace))
    with inside(server.namespace):
        try:
            index = socket.if_nametoindex(server.interface)
        except OSError as error:  # Python gives it no number
            raise OSError(errno.ENODEV, f"no interface {interface}") from error
    return f"{where}{index},{folder.fingerprint()}"
