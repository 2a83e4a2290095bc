"""What the demo prints: tables, and the JSON of its --json."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from lessor.lab.cloud import LabNetwork
from lessor.lab.demo.checks import Seen
from lessor.lab.lab import Lab
from lessor.lab.node import Node
from lessor.layout import Column, Row, table

SAID = [
    "name",
    "host",
    "real",
    "assigned",
    "leased",
    "dora_ms",
    "gateway_ok",
    "metadata_ok",
    "outside_ok",
]


def ms(row: Row) -> str | None:
    """Lay out how long a VM's DORA took."""
    return None if row["dora_ms"] is None else f"{row['dora_ms']:.1f}"


def _second(time: str | None) -> str | None:
    return None if time is None else time[:19].replace("T", " ")


VMS = (
    Column("VM", "name"),
    Column("HOST", "host"),
    Column("NETWORK", "network"),
    Column("REAL", "real"),
    Column("ASSIGNED", "assigned"),
    Column("LEASED", "leased"),
    Column("DORA MS", ms),
    Column("GATEWAY", "gateway_ok"),
    Column("INSTANCE ID", "instance_id"),
    Column("OUTSIDE SEES", "outside_sees"),
)
LEASES = (
    Column("ADDRESS", "address"),
    Column("MAC", "mac_address"),
    Column("NAME", "hostname"),
    Column("GIVEN BY", "host"),
    Column("SINCE", lambda row: _second(row["started_at"])),
    Column("UNTIL", lambda row: _second(row["expires_at"])),
)
HOSTS = (
    Column("HOST", "host"),
    Column("BRIDGE", "bridge"),
    Column("ADDRESSES", "addresses"),
    Column("PORTS", "ports"),
    Column("DNSMASQ", "dnsmasq"),
    Column("NFT TABLES", "tables"),
)


def vms_table(seen: Sequence[Seen]) -> str:
    """Lay out what the VMs got and reached."""
    return table(VMS, [asdict(one) for one in seen])


def leases_table(leases: Sequence[Row]) -> str:
    """Lay out the store's live leases."""
    return table(LEASES, leases)


def hosts_table(lab: Lab) -> str:
    """Lay out what the agents made on each host: looked up there, not asked of them."""
    rows = [row for host in lab.hosts for row in _made_on(lab, host)]
    return table(HOSTS, rows)


def _made_on(lab: Lab, host: str) -> list[dict[str, Any]]:
    def ask(*argv: str) -> Any:
        return json.loads(lab.exec(host, *argv) or "[]")

    links = ask("ip", "-json", "link")
    addresses = {link["ifname"]: link["addr_info"] for link in ask("ip", "-json", "-4", "addr")}
    ruleset = lab.exec(host, "nft", "list", "tables").splitlines()
    return [
        {
            "host": host,
            "bridge": bridge["ifname"],
            "addresses": [
                f"{one['local']}/{one['prefixlen']}" for one in addresses.get(bridge["ifname"], [])
            ],
            "ports": [link["ifname"] for link in links if link.get("master") == bridge["ifname"]],
            "dnsmasq": _servers(lab.node(host)),
            "tables": [line.removeprefix("table ") for line in ruleset],
        }
        for bridge in ask("ip", "-json", "link", "show", "type", "bridge")
        if bridge
    ]


def _servers(node: Node) -> int:
    """Count DHCP servers; each has a child of the same name, which calls its --dhcp-script."""
    pids = {process.pid for process in node.find("dnsmasq")}
    parents = {pid: int(_stat(node, pid)[1]) for pid in pids}
    return sum(parent not in pids for parent in parents.values())


def _stat(node: Node, pid: int) -> list[str]:
    return (node.proc / str(pid) / "stat").read_text().rpartition(")")[2].split()


def as_json(
    networks: Sequence[LabNetwork], seen: Sequence[Seen], leases: Sequence[Row], *, ok: bool
) -> dict[str, Any]:
    """Return what `scripts/demo --json FILE` writes, but for overlay networks."""
    return {
        "networks": [
            {
                "name": network.name,
                "type": network.type,
                "multi_host": network.multi_host,
                "vms": [
                    {name: getattr(one, name) for name in SAID}
                    for one in seen
                    if one.network == network.name
                ],
            }
            for network in networks
        ],
        "leases": [dict(lease) for lease in leases],
        "ok": ok,
    }
