"""The plan of one network: what it asks of this host, whatever the kind of the network.

Planners of all kinds of networks return this value, and all readers of plans read it alone. Fields
that a network has nothing for stay empty; no reader asks for the kind of a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from lessor.core.openflow.facts import NetworkFacts, RemotePort
from lessor.core.plan.reserve import Reserved
from lessor.core.state import Gateway, HostState, Names, Tap, VmRange
from lessor.core.vmport import PortSecurity
from lessor.model import FixedIp, Network, Port, Scope


class OwnPort(NamedTuple):
    """A port of ours on this host: a multi-host gateway, or a DHCP server of an overlay network."""

    port_id: str
    thing: str  # that makes it up here: the key of an address, or the name of a DHCP device


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the plan of a network depends on besides its rows and the agent's settings."""

    first_nics: frozenset[str] = frozenset()  # ids of ports that carry their VM's default route
    vlan: int = 0  # the network's local VLAN on this host; 0: it has none


@dataclass(frozen=True, slots=True)
class PlanCache:
    """Results by port id that the next plan of the network takes over for rows that are the same.

    Attributes:
        made_with: what they depend on besides the rows of the ports; of the planner's own type.
        rows: the ports that they are made of.
        vms: VMs' ports that are bound to this host.
        servers: ports of DHCP servers and multi-host gateways, on any host.
        outside: addresses that lie in no pool of their subnet.
        names: those that no reservation has.
        remotes: ports on other hosts.
        tunnels: names of those that remotes are reached through, by host.
    """

    made_with: object = None
    rows: dict[str, Port] = field(default_factory=dict)
    vms: dict[str, Port] = field(default_factory=dict)
    servers: dict[str, Port] = field(default_factory=dict)
    taps: dict[str, Tap] = field(default_factory=dict)
    guards: dict[str, PortSecurity] = field(default_factory=dict)
    reserved: Reserved = field(default_factory=Reserved)
    outside: dict[str, tuple[FixedIp, ...]] = field(default_factory=dict)
    names: dict[str, Names] = field(default_factory=dict)
    remotes: dict[str, RemotePort] = field(default_factory=dict)
    tunnels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """What one network asks of this host.

    Attributes:
        network: whose plan it is.
        rows: the network's ports that this host can say something of, by id.
        state: the network's own things, and its share of what networks have in common: a bridge,
            or the DHCP server on it. Neither rules nor flows: these are made for all networks of a
            host at once, from the fields below.
        reserved: the reservations of its DHCP server here.
        own_ports: ports of ours here.
        guards: port security of the VMs' ports here.
        gateways: ranges that this host is gateway of, or DHCP server for, on a Linux bridge.
        vm_ranges: subnets on a Linux bridge, whoever their gateway is.
        facts: what flows are made from; None: it has none.
        problems: what of it does not work here, and what would help: a sentence each.
        cache: for the next plan.
    """

    network: Network
    rows: dict[str, Port] = field(default_factory=dict)
    state: HostState = field(default_factory=HostState)
    reserved: Reserved = field(default_factory=Reserved)
    own_ports: tuple[OwnPort, ...] = ()
    guards: tuple[PortSecurity, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    vm_ranges: tuple[VmRange, ...] = ()
    facts: NetworkFacts | None = None
    problems: tuple[str, ...] = ()
    cache: PlanCache = field(default_factory=PlanCache)

    @property
    def server(self) -> str:
        """Return the name of its DHCP server on this host; "": it has none here."""
        return next(iter(self.state.dhcp_servers), "")


class NetworkPlanner(Protocol):
    """Plans networks of one kind. It is pure: same arguments, same plan."""

    def obstacle(self, network: Network) -> str:
        """Return why a network cannot be provided on this host, and what would help; "": it can."""

    def plan(self, scope: Scope, inputs: Inputs, before: NetworkPlan | None) -> NetworkPlan:
        """Return what this host needs for the network of `scope`, which has no obstacle.

        Args:
            scope: the network's rows, as far as they concern this host.
            inputs: what it depends on besides.
            before: the network's last plan. What was made of ports whose rows are the same is
                taken over, as the same objects.
        """


def title(network: Network) -> str:
    """Return how a message names a network."""
    return f"network {network.name or network.id}"
