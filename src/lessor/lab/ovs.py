"""Open vSwitch of a lab host: its own daemons in its namespaces, and the bridge of its underlay.

The datapath is the userspace one (netdev): it needs no kernel module, and each host has its own.
A lab host must be prepared for its behaviour:

* it routes tunnels only through its own bridges, so eth2 is a port of br-phy, with the address;
* it gets copies of eth2's frames, so the host drops the originals, or it answers everything twice;
* it doesn't complete checksums that the kernel left to a NIC, so br-phy has no offloads;
* it drops packets until it knows the peer's MAC, so all peers' MACs are set in advance.

The database is in the host's state folder and outlives the host, as on a real machine.
"""

from __future__ import annotations

from collections.abc import Sequence

from lessor.lab.node import Node
from lessor.lab.process import Process
from lessor.lab.underlay import NIC, WIRES, tunnel_mac
from lessor.lab.wait import wait_for
from lessor.net.address import Address

SERVER, SWITCH = "ovsdb-server", "ovs-vswitchd"
DAEMONS = (SERVER, SWITCH)
BRIDGE = "br-phy"
RUN = "/run/openvswitch"  # where all of OVS's programs look
DATABASE = "/var/lib/lessor/openvswitch.db"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
LOG = ("-vconsole:info", "-vsyslog:off", "-vfile:off")  # `Node.spawn` stores the output
TIMEOUT_S = 15
NEIGHBOUR_AGE_S = 3600  # OVS's maximum

MAKE = f"""
mkdir -p {RUN}
rm -f {RUN}/db.sock  # stale socket of a killed ovsdb-server
test -f {DATABASE} || ovsdb-tool create {DATABASE} {SCHEMA}
"""
FIRST = (
    "ovs-vsctl --no-wait init -- set Open_vSwitch . external_ids:system-id=$(hostname)"
    " external_ids:hostname=$(hostname)"
    " other_config:n-handler-threads=1 other_config:n-revalidator-threads=1"
)
PORTS = f"""
mac=$1 mtu=$2
ovs-vsctl --timeout={TIMEOUT_S} --may-exist add-br {BRIDGE} \\
  -- set Bridge {BRIDGE} datapath_type=netdev fail_mode=standalone other_config:hwaddr=\\"$mac\\" \\
  -- --may-exist add-port {BRIDGE} {NIC} -- set Interface {BRIDGE} mtu_request=$mtu
"""
UNDERLAY = f"""
address=$1 options=$2
nft "table netdev lab_{NIC} {{ chain in {{ type filter hook ingress device {NIC} priority 0; policy drop; }}; }}"
echo 1 >/proc/sys/net/ipv6/conf/{NIC}/disable_ipv6
ethtool -K {BRIDGE} tx off >/dev/null
ip link set {NIC} up
ip addr replace $address dev {BRIDGE} $options
ip link set {BRIDGE} up
# a daemon that has just started doesn't know the command yet
until ovs-appctl tnl/neigh/aging {NEIGHBOUR_AGE_S} >/dev/null 2>&1; do sleep 0.05; done
"""


def start_database(node: Node) -> Process:
    """Start ovsdb-server, with a new database if there is none, and wait until it listens."""
    node.exec("sh", "-ec", MAKE)
    remote = f"--remote=punix:{RUN}/db.sock"
    started = node.spawn(SERVER, SERVER, DATABASE, remote, f"--pidfile={RUN}/{SERVER}.pid", *LOG)
    socket = node.root / RUN.lstrip("/") / "db.sock"
    wait_for(socket.exists, TIMEOUT_S, f"{SERVER} on {node.name} listens")
    node.exec("sh", "-ec", FIRST)
    return started


def start_switch(node: Node) -> Process:
    """Start ovs-vswitchd; its database must be running."""
    database = f"unix:{RUN}/db.sock"
    return node.spawn(SWITCH, SWITCH, database, f"--pidfile={RUN}/{SWITCH}.pid", *LOG)


def lay_underlay(node: Node, address: Address, peers: Sequence[Address], mtu: int) -> None:
    """Set the host's tunnel address on a bridge, and the MACs of all peers in OVS.

    Idempotent: ovs-vswitchd recreates br-phy's device whenever it starts.
    """
    node.exec("sh", "-ec", PORTS, "sh", tunnel_mac(address), str(mtu))
    device = node.root / "sys/class/net" / BRIDGE
    wait_for(device.exists, TIMEOUT_S, f"{BRIDGE} exists on {node.name}")
    at = f"{address}/{WIRES[address.version].prefixlen}"
    # an IPv6 address is usable at once only without duplicate address detection
    node.exec("sh", "-ec", UNDERLAY, "sh", at, "nodad" if address.version == 6 else "")  # noqa: PLR2004 - IPv6
    known = "\n".join(
        f"ovs-appctl tnl/neigh/set {BRIDGE} {peer} {tunnel_mac(peer)} >/dev/null" for peer in peers
    )
    node.exec("sh", "-ec", known)
