"""Checks of a host beyond the things that the agent makes there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from socket import AF_INET, AF_INET6

from lessor.agent.diagnosis.foreign import foreign_drops
from lessor.agent.diagnosis.inspection import Check
from lessor.agent.drivers.addresses import vm_addresses_on
from lessor.agent.drivers.dhcp import DhcpDriver
from lessor.agent.host.inet import addresses
from lessor.agent.host.run import run
from lessor.agent.leases.forwarder import LeaseForwarder
from lessor.agent.leases.spool import Spool
from lessor.core.plan.desired import Desired
from lessor.core.plan.network import title
from lessor.settings import AgentSettings

LEAST_ROOM = 16 << 20  # bytes
LEAST_KERNEL = (5, 18)  # the first that keeps IFA_PROTO


class Inspector:
    """Looks at the host now and then. Used in the one thread that drivers are used in."""

    def __init__(
        self, settings: AgentSettings, forwarder: LeaseForwarder, spool: Spool, dhcp: DhcpDriver
    ) -> None:
        self._settings = settings
        self._forwarder = forwarder
        self._spool = spool
        self._dhcp = dhcp

    def checks(self) -> tuple[Check, ...]:
        """Return the checks; each yields what is wrong, a sentence each, and what would help."""
        return (
            self._events,
            self._dhcp_servers,
            self._kernel,
            self._room,
            self._local_ip,
            self._addresses,
            self._foreign,
        )

    def _events(self, _: Desired) -> Iterator[str]:
        if self._forwarder.problem:
            yield self._forwarder.problem

    def _dhcp_servers(self, _: Desired) -> Iterator[str]:
        yield from self._dhcp.problems()

    def _kernel(self, _: Desired) -> Iterator[str]:
        yield from too_old(os.uname().release)

    def _foreign(self, desired: Desired) -> Iterator[str]:
        """Say which rules of others drop what VMs send."""
        bridges = desired.state.bridges
        gateways = {gateway.bridge for plan in desired.plans for gateway in plan.gateways}
        others = bridges.keys() - gateways
        if bridges:
            yield from foreign_drops(run, sorted(gateways), only_bridged=sorted(others))

    def _room(self, _: Desired) -> Iterator[str]:
        """Say that lease events can't be written, before one is lost."""
        free = shutil.disk_usage(self._spool.folder).free
        if not self._spool.has_room():
            yield (
                f"the disk of {self._spool.folder} is full: lease events can't be kept and are "
                "lost until there is room; DHCP goes on"
            )
        elif free < LEAST_ROOM:
            yield f"the disk of {self._spool.folder} is nearly full ({free >> 20} MiB left)"

    def _local_ip(self, _: Desired) -> Iterator[str]:
        """Say that tunnels have no end here."""
        local_ip = self._settings.local_ip
        if local_ip is None:
            return
        family = AF_INET if local_ip.version == 4 else AF_INET6  # noqa: PLR2004 - IPv4
        if all(one.local != str(local_ip) for one in addresses(family=family)):
            yield (
                f"local_ip {local_ip} is on no interface of this host; its overlay networks reach "
                "no other host until it is: give it to an interface, or set local_ip to one's"
            )

    def _addresses(self, desired: Desired) -> Iterator[str]:
        """Prove that a compute host has no address on the VM network (A6.3)."""
        for plan in desired.plans:
            blocks = [] if plan.gateways else [one.cidr for one in plan.vm_ranges]
            for bridge in plan.state.bridges:
                for address in vm_addresses_on(bridge, blocks):
                    yield (
                        f"{bridge} has the address {address} on the VM {title(plan.network)}, "
                        "though this host is not its gateway: VMs reach the host there; remove it "
                        "unless the hosts live on that network"
                    )


def too_old(release: str) -> Iterator[str]:
    """Say that a kernel (as `uname -r` has it) forgets which addresses are ours.

    Source: Linux 5.18, "net: Add new protocol attribute to IP addresses".
    """
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and tuple(map(int, found.groups())) < LEAST_KERNEL:
        yield (
            f"kernel {release} forgets which addresses are Lessor's, so those that are no longer "
            "wanted stay on the bridge; run Linux 5.18 or newer"
        )
