"""`lessor status`: the state of the fleet, and what is pending and why."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lessor.cli import ask, hosts
from lessor.cli.ages import age, clock, problem_line, server_now
from lessor.cli.joined import joined
from lessor.layout import Column, Row, by_name, print_table, table
from lessor.printable import printable

if TYPE_CHECKING:
    from lessor.client import Client

NETWORKS = (
    Column("NAME", lambda row: row["name"] or row["id"]),
    Column("CIDR", "cidrs"),
    Column("GATEWAY AND DHCP", "served_by"),
    Column("PORTS", "ports"),
    Column("ACTIVE", "active"),
    Column("LEASES", "leases"),
)
NO_HOST = "no host yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """The rows that `status` reads."""

    hosts: Sequence[Row]
    networks: Sequence[Row]
    subnets: Sequence[Row]
    ports: Sequence[Row]
    leases: Sequence[Row]

    @property
    def now(self) -> float:
        """The server's time, from the host that reported last."""
        return max((server_now(host) for host in self.hosts), default=time.time())

    @classmethod
    def of(cls, api: Client) -> Fleet:
        """Read all rows."""
        return cls(
            hosts=api.list("hosts"),
            networks=api.list("networks"),
            subnets=api.list("subnets"),
            ports=api.list("ports"),
            leases=api.list("leases", {"live": True}),
        )


def status(server: ask.Server = ask.DEFAULT_SERVER, json: ask.Json = False) -> None:
    """Show hosts, networks, DHCP servers, and what is pending and why."""
    with ask.client(server) as api:
        fleet = Fleet.of(api)
    if json:
        ask.print_json(
            {
                "hosts": fleet.hosts,
                "networks": network_rows(fleet),
                "pending": list(pending(fleet)),
            }
        )
    elif sys.stdout.isatty():
        print_fitted(fleet)
    else:
        print(printable(report(fleet)))


def network_rows(fleet: Fleet) -> list[Row]:
    """Return networks with their hosts and counts."""
    rows: list[Row] = []
    for network in sorted(fleet.networks, key=by_name):
        ports = [port for port in fleet.ports if port["network_id"] == network["id"]]
        of_vms = [port for port in ports if not port["device_owner"].startswith("network:")]
        rows.append(
            {
                **network,
                "cidrs": [s["cidr"] for s in fleet.subnets if s["network_id"] == network["id"]],
                "served_by": _served_by(fleet, network, of_vms),
                "ports": len(of_vms),
                "active": sum(port["status"] == "ACTIVE" for port in of_vms),
                "leases": sum(lease["network_id"] == network["id"] for lease in fleet.leases),
            }
        )
    return rows


def _served_by(fleet: Fleet, network: Row, ports: Sequence[Row]) -> list[str]:
    """Return the hosts that are gateway and DHCP server of a network; for an overlay, DHCP only."""
    if network["provider:network_type"] == "vxlan":
        return _dhcp_hosts(fleet, network) or [NO_HOST] * _has_dhcp(fleet, network)
    if network["lessor:multi_host"]:
        return sorted({p["binding:host_id"] for p in ports if p["binding:host_id"]})
    return [network["lessor:host"] or NO_HOST]


def _dhcp_hosts(fleet: Fleet, network: Row) -> list[str]:
    """Return the DHCP hosts of an overlay network."""
    return sorted(
        port["binding:host_id"]
        for port in fleet.ports
        if port["network_id"] == network["id"]
        and port["device_owner"] == "network:dhcp"
        and port["binding:host_id"]
    )


def _has_dhcp(fleet: Fleet, network: Row) -> bool:
    return any(s["network_id"] == network["id"] and s["enable_dhcp"] for s in fleet.subnets)


def pending(fleet: Fleet) -> Iterator[str]:
    """Yield a line for each thing that is pending or wrong, with the reason.

    A problem that a port waits for is in the port's line only.
    """
    waiting = [p for p in fleet.ports if p["binding:host_id"] and p["status"] != "ACTIVE"]
    of_networks = {row["id"]: row["lessor:pending"] for row in fleet.networks}
    silent = frozenset(host["name"] for host in fleet.hosts if host["state"] != "up")
    texts = {h["name"]: [problem["text"] for problem in h["problems"]] for h in fleet.hosts}
    reports = joined(texts, silent)
    for host in fleet.hosts:
        if host["heartbeat_at"] is None:
            yield f"host {host['name']}: its agent was never seen; start `lessor agent` there"
        elif host["state"] != "up":
            yield f"host {host['name']}: its agent is silent for {age(host['silent_s'])}"
        for problem in host["problems"]:
            if problem["text"] in reports[host["name"]] and not any(
                _waits_for(port, problem) for port in waiting
            ):
                yield f"host {host['name']}: {problem_line(host, problem)}"
    yield from _unserved(fleet)
    for port in waiting:
        network = of_networks.get(port["network_id"])
        own = _own(port["lessor:pending"], network)
        why = own or (SEE_NETWORK if network else "its agent has given no reason")
        yield f"port {port['name'] or port['id']} on {port['binding:host_id']}: {why}"


def _waits_for(port: Row, problem: Row) -> bool:
    """Return whether a port's reason includes a problem of its host."""
    name = port["name"] or port["id"]
    reason = port["lessor:pending"].replace(port["id"], name)
    return problem["text"].removeprefix(f"port {name}: ") in reason


SEE_NETWORK = "see its network"


def _own(pending: str, network: str | None) -> str:
    """Return a port's reason without the part that its network's line has."""
    return pending.partition("its network: ")[0].removesuffix("; ") if network else pending


def _unserved(fleet: Fleet) -> Iterator[str]:
    for network in fleet.networks:
        name = network["name"] or network["id"]
        if network["lessor:pending"]:
            yield f"network {name}: {network['lessor:pending']}"
        for move in network["lessor:dhcp_moves"]:
            yield (
                f"network {name}: its DHCP server moved from {move['source']} to "
                f"{move['target']} at {clock(move['moved_at'], fleet.now)}: "
                f"{move['source']} {_moved_since(move['reason'])}"
            )
        if network["provider:network_type"] == "vxlan":
            if _has_dhcp(fleet, network) and not _dhcp_hosts(fleet, network):
                yield f"network {name}: no host serves DHCP on it; none is alive with a local_ip"
        elif not network["lessor:multi_host"] and not network["lessor:host"]:
            yield f"network {name}: no host is its gateway and DHCP server yet"


def _moved_since(reason: str) -> str:
    return f"was {reason}" if reason in {"silent", "taken down"} else f"reported: {reason}"


def report(fleet: Fleet) -> str:
    """Return the status as plain text."""
    waiting = list(pending(fleet))
    parts = [
        _part(
            "hosts",
            table(hosts.COLUMNS, sorted(fleet.hosts, key=by_name)) if fleet.hosts else "none",
        ),
        _part("networks", table(NETWORKS, network_rows(fleet)) if fleet.networks else "none"),
        _part("pending", "\n".join(waiting) if waiting else "nothing"),
    ]
    return "\n\n".join(parts)


def print_fitted(fleet: Fleet) -> None:
    """Print the status on a terminal, with tables fitted to it."""
    print("hosts:")
    print_table(hosts.COLUMNS, sorted(fleet.hosts, key=by_name))
    print("\nnetworks:")
    print_table(NETWORKS, network_rows(fleet))
    waiting = "\n".join(pending(fleet)) or "nothing"
    print(printable("\n" + _part("pending", waiting)))


def _part(title: str, text: str) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in text.splitlines())])
