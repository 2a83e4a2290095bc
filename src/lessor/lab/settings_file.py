"""Settings files of lab hosts and of the lab's server."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from lessor.lab.cabling import SERVER
from lessor.lab.state import HostSpec
from lessor.net.address import Address

API_PORT, AGENT_PORT = 9696, 9697
STATE_DIR = "/var/lib/lessor"

FLAT = {  # both the server and the agents want to know it
    "flat_network_bridge": "br100",
    "flat_interface": "eth1",
    "public_interface": "eth0",
}


def shared_flags(hosts: Sequence[HostSpec]) -> dict[str, str]:
    """Return the common flags of all processes of a lab."""
    owners = network_hosts(hosts)
    only = {"network_host": owners[0]} if len(owners) == 1 else {}
    return {"state_dir": STATE_DIR} | FLAT | only


def network_hosts(hosts: Sequence[HostSpec]) -> list[str]:
    """Return the hosts that may own single-host networks."""
    return [host.name for host in hosts if host.network_host]


def server_flags() -> dict[str, str]:
    """Return the flags of the server only."""
    return {"listen": f"127.0.0.1:{API_PORT}", "agent_listen": f"{SERVER}:{AGENT_PORT}"}


def agent_flags(
    spec: HostSpec,
    address: Address,
    owners: Sequence[str],
    tunnel_address: Address | None = None,
) -> dict[str, str]:
    """Return the flags of one host's agent only.

    Args:
        spec: the host; its own flags win.
        address: its management address.
        owners: the lab's network hosts. The agent of another host gets the name of one. With
            several, their own agents get no name, and the first one claims a network.
        tunnel_address: its VTEP, if it has one.
    """
    told = {} if spec.network_host or not owners else {"network_host": owners[0]}
    own = {
        "host": spec.name,
        "my_ip": str(address),
        "server_url": f"http://{SERVER}:{AGENT_PORT}",
        "token_file": f"{STATE_DIR}/agent-token",
    }
    overlay = {"ovs/local_ip": str(tunnel_address)} if tunnel_address else {}
    return own | overlay | told | spec.flags


def settings_text(*flags: Mapping[str, str]) -> str:
    """Format flags for oslo.config; a later mapping wins.

    A name with a slash is in a section: {"database/connection": "sqlite://"}. A newline in a
    value separates the values of an option that may be given more than once.
    """
    sections: dict[str, list[str]] = defaultdict(list)
    for name, values in {key: value for many in flags for key, value in many.items()}.items():
        section, _, option = name.rpartition("/")
        sections[section or "DEFAULT"] += [f"{option} = {value}" for value in values.split("\n")]
    return "".join(
        f"[{section}]\n" + "\n".join(lines) + "\n" for section, lines in sections.items()
    )
