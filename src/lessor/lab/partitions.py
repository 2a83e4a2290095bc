"""Partitions of a lab's wires: drops frames from one node to another.

`Lab.cut` unplugs a node's whole cable; a partition affects one pair, in one direction.
"""

from __future__ import annotations

from lessor.lab.cabling import cable_name
from lessor.lab.lab import FABRIC, Lab

TABLE = "bridge lab_partitions"
MAKE = f"""
table {TABLE} {{
  set blocked {{ type ifname . ifname; }}
  chain forward {{
    type filter hook forward priority 0; policy accept;
    iifname . oifname @blocked counter drop
  }}
}}
"""


def block(lab: Lab, source: str, destination: str, nic: str = "eth0") -> None:
    """Drop frames from `source` to `destination` on a wire; the other direction stays open.

    Args:
        lab: the lab.
        source: a node.
        destination: another one.
        nic: eth0 is management and public network, eth1 flat, eth2 tunnels.
    """
    fabric = lab.node(FABRIC)
    if "lab_partitions" not in fabric.exec("nft", "list", "tables"):
        fabric.exec("nft", "-f", "-", stdin=MAKE)
    _change(lab, "add", source, destination, nic)


def unblock(lab: Lab, source: str, destination: str, nic: str = "eth0") -> None:
    """Undo `block`."""
    _change(lab, "delete", source, destination, nic)


def _change(lab: Lab, verb: str, source: str, destination: str, nic: str) -> None:
    ends = [f'"{cable_name(lab.host_state(name).index, nic)}"' for name in (source, destination)]
    pair = " . ".join(ends)
    lab.node(FABRIC).exec("nft", f"{verb} element {TABLE} blocked {{ {pair} }}")
