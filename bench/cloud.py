"""Fills a store before a measurement: networks, hosts, many ports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.http1 import Connection, request

A_BULK = 500  # ports a request: well below the largest body


@dataclass(frozen=True, slots=True)
class FlatNetwork:
    """A flat network with one subnet, and the host that its ports are bound to.

    `tap` "managed": the agent there makes their taps.
    """

    network_id: str
    host: str
    tap: str = ""

    def port(self, name: str) -> dict[str, Any]:
        """Return the body that makes one port."""
        return {"port": self.fields(name)}

    def fields(self, name: str) -> dict[str, Any]:
        """Return the fields of a compute service's request for a port."""
        return {
            "network_id": self.network_id,
            "name": name,
            "device_id": f"vm-{name}",
            "device_owner": "compute:nova",
            "binding:host_id": self.host,
            "binding:profile": {"tap": self.tap} if self.tap else {},
        }


def flat(api: Connection, host: str, cidr: str = "10.64.0.0/16", **more: Any) -> FlatNetwork:
    """Create a flat network with a subnet; the host must exist (`add_host`)."""
    kind = {"provider:network_type": "flat", "provider:physical_network": "physnet1"}
    network = api.ask("POST", "/v2.0/networks", {"network": {"name": "bench", **kind, **more}})
    network_id = network["network"]["id"]
    subnet = {"network_id": network_id, "cidr": cidr, "ip_version": 4}
    api.ask("POST", "/v2.0/subnets", {"subnet": subnet})
    return FlatNetwork(network_id, host)


def add_host(api: Connection, name: str) -> str:
    """Add a host; return its agent's token."""
    token: str = api.ask("POST", "/v2.0/hosts", {"host": {"name": name}})["host"]["token"]
    return token


def fill(
    api: Connection, target: FlatNetwork, many: int, *, keep: int | None = None
) -> list[dict[str, Any]]:
    """Make ports in bulk; return the last `keep` of them, or all."""
    made: list[dict[str, Any]] = []
    for start in range(0, many, A_BULK):
        ports = [target.fields(f"old{at}") for at in range(start, min(start + A_BULK, many))]
        made += api.ask("POST", "/v2.0/ports", {"ports": ports})["ports"]
        del made[: 0 if keep is None else -keep]
    return made


def create_requests(target: FlatNetwork, many: int) -> list[bytes]:
    """Return requests that make one port each."""
    return [request("POST", "/v2.0/ports", target.port(f"new{at}")) for at in range(many)]
