"""A store on a real SQLite file, with a clock that tests turn, and short words for what they do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, cast

import pytest

from lessor.model import (
    AddressInfo,
    AddressState,
    Host,
    LeaseBatch,
    LeaseEvent,
    Network,
    Port,
    PortReport,
    RbacPolicy,
    Report,
    Subnet,
)
from lessor.net.address import Address
from lessor.settings import FlatMapping, ServerSettings
from lessor.store.addresses import leases as lease_rules
from lessor.store.addresses import states
from lessor.store.hosts import reports
from lessor.store.hosts import rules as host_rules
from lessor.store.networks import rules as network_rules
from lessor.store.query import Query
from lessor.store.store import Store
from lessor.store.values import FixedIpRequest, RbacValues

PHYSNETS = (
    FlatMapping(physical_network="physnet1", bridge="br100", interface="eth1"),
    FlatMapping(physical_network="physnet2", bridge="br200", interface=None),
)
START = 1_000_000.0
SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
POSTGRES = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@dataclass
class Clock:
    """Seconds since 1970, as tests say."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Cloud:
    """What a test has."""

    store: Store
    clock: Clock
    settings: ServerSettings
    seqs: dict[str, int] = field(default_factory=dict)

    def told(self) -> None:
        """Wait until subscribers know of what was written: they are called after the caller is."""
        self.store._writer.run(lambda _: None)

    def network(self, cidr: str | None = "10.0.0.0/24", **values: Any) -> Network:
        network = self.store.networks.create([cast(Any, values)])[0]
        if cidr is not None:
            self.subnet(network, cidr)
        return network

    def subnet(self, network: Network, cidr: str, **values: Any) -> Subnet:
        values |= {"network_id": network.id, "cidr": IPv4Network(cidr)}
        return self.store.subnets.create([cast(Any, values)])[0]

    def subnet_of(self, network: Network) -> Subnet:
        return self.store.subnets.get(
            self.store.read(network_rules.subnet_ids, [network.id])[network.id][0]
        )

    def port(self, network: Network, host: str | None = None, **values: Any) -> Port:
        if address := values.pop("address", None):
            values["fixed_ips"] = (FixedIpRequest(address=IPv4Address(address)),)
        if host is not None:
            values["binding_host"] = host
        return self.store.ports.create([cast(Any, values | {"network_id": network.id})])[0]

    def host(self, name: str, *, network_host: bool = False) -> Host:
        self.store.write(host_rules.create, name)
        self.report(name, network_host=network_host)
        return self.store.hosts.get(name)

    def report(self, host: str, **values: Any) -> None:
        known: dict[str, Any] = {"run_id": f"run-{host}", "started_at": START}
        reports.receive(self.store, host, Report(**known | values))

    def applied(self, host: str, network: Network, revision: int = 1 << 40) -> None:
        self.report(host, applied={network.id: revision})

    def wire(self, host: str, port: Port, **values: Any) -> None:
        known: dict[str, Any] = {"revision": self.store.ports.get(port.id).revision}
        self.report(host, ports={port.id: PortReport(**known | values)})

    def lease(self, host: str, action: str, port: Port, **values: Any) -> LeaseEvent:
        """Have a DHCP server say something of a port's first address."""
        lasts = self.clock.now + self.settings.dhcp_lease_time
        self.seqs[host] = self.seqs.get(host, 0) + 1
        known: dict[str, Any] = {
            "seq": self.seqs[host],
            "action": action,
            "network_id": port.network_id,
            "address": ip_of(port),
            "mac_address": port.mac_address,
            "expires_at": lasts,
            "at": self.clock.now,
        }
        event = LeaseEvent(**known | values)
        self.store.write(
            lease_rules.apply, host, LeaseBatch(epoch=f"spool-{host}", events=(event,))
        )
        return event

    def state(self, network: Network, address: object) -> AddressState | None:
        """Return an address's state; None: it has no row, so it was never used."""
        found = self.info(network, address)
        return None if found is None else found.state

    def info(self, network: Network, address: object) -> AddressInfo | None:
        filters = {"network_id": (network.id,), "address": (IPv4Address(str(address)),)}
        return next(iter(self.store.read(states.find, Query(filters=filters))), None)

    def wait(self, seconds: float) -> None:
        """Let time go by, and do what time asks for."""
        self.clock.now += seconds
        self.store.housekeep()


def shared_with(cloud: Cloud, kind: str, key: str, project: str) -> RbacPolicy:
    """Share a network, subnet pool or address scope with a project."""
    values: RbacValues = {
        "object_type": kind,
        "object_id": key,
        "target_project": project,
        "action": "access_as_shared",
    }
    return cloud.store.rbac_policies.create([values])[0]


def ip_of(port: Port) -> Address:
    return port.fixed_ips[0].address


def ips_of(port: Port) -> list[str]:
    return [str(fixed.address) for fixed in port.fixed_ips]


def by(**filters: object) -> Query:
    """Return a query with one value for each filter."""
    return Query(filters={name: (value,) for name, value in filters.items()})


def settings_in(folder: Path, **values: object) -> ServerSettings:
    base = ServerSettings(state_dir=folder, flat_mappings=PHYSNETS)
    return replace(base, **cast(Mapping[str, Any], values))


def open_cloud(folder: Path, **values: object) -> Cloud:
    settings, clock = settings_in(folder, **values), Clock()
    return Cloud(Store.open(settings, clock), clock, settings)
