"""Objects for tables of examples, created on demand on vxlan networks, which share nothing."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import httpx

NO_ID = "00000000-0000-0000-0000-000000000000"
VXLAN = {"provider:network_type": "vxlan"}
Json = dict[str, Any]


class World:
    """A server without authentication, and what its examples make there."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self._numbers: Iterator[int] = count(1)

    def name(self) -> str:
        """Return a name that nothing has."""
        return f"x{next(self._numbers)}"

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> httpx.Response:
        """Ask the users' API; a path begins behind /v2.0 unless it begins with a slash."""
        where = path if path.startswith("/") else f"/v2.0/{path}"
        answer: httpx.Response = self.server.api.request(method, where, json=body, **more)
        return answer

    def make(self, noun: str, **fields: Any) -> Json:
        """Make one."""
        made: Json = self.server.make(noun, **fields)
        return made

    def change(self, noun: str, key: str, **fields: Any) -> httpx.Response:
        """Change one."""
        plural = {"address_scope": "address-scopes", "rbac_policy": "rbac-policies"}
        return self.ask("PUT", f"{plural.get(noun, noun + 's')}/{key}", {noun: fields})

    def post(self, noun: str, **fields: Any) -> httpx.Response:
        """Try to make one."""
        plural = {
            "address": "addresses",
            "address_scope": "address-scopes",
            "rbac_policy": "rbac-policies",
        }
        return self.ask("POST", plural.get(noun, f"{noun}s"), {noun: fields})

    def network(self, **fields: Any) -> str:
        """Make a vxlan network; return its id."""
        return str(self.make("network", **VXLAN | fields)["id"])

    def subnet(self, network: str = "", cidr: str = "10.0.0.0/24", **fields: Any) -> Json:
        """Make a subnet, on a network of its own unless one is given."""
        return self.make("subnet", network_id=network or self.network(), cidr=cidr, **fields)

    def port(self, network: str = "", **fields: Any) -> Json:
        """Make a port, on a network of its own with a subnet unless one is given."""
        return self.make("port", network_id=network or self.subnet()["network_id"], **fields)

    def pool(self, **fields: Any) -> str:
        """Make a subnet pool; return its id."""
        wanted = {"name": "pool", "prefixes": ["10.0.0.0/8"], "default_prefixlen": 24}
        return str(self.make("subnetpool", **wanted | fields)["id"])

    def scope(self, **fields: Any) -> str:
        """Make an address scope; return its id."""
        return str(self.make("address_scope", **{"name": "scope", "ip_version": 4} | fields)["id"])

    def share(self, kind: str, key: str, target: str) -> httpx.Response:
        """Share something with a project."""
        return self.post(
            "rbac_policy",
            object_type=kind,
            object_id=key,
            action="access_as_shared",
            target_tenant=target,
        )

    def host(self, name: str = "", **said: Any) -> tuple[str, dict[str, str]]:
        """Make a host whose agent reported; return its name and the header its agent sends."""
        name = name or self.name()
        header: dict[str, str] = self.server.token(name)
        report = {"run_id": name, "physical_networks": ["physnet1"]} | said
        answer = self.server.agents.post("/agent/v1/report", json=report, headers=header)
        assert answer.status_code == 200, answer.text
        return name, header

    def dhcp_host(self) -> tuple[str, dict[str, str]]:
        """Make a host that can serve DHCP on vxlan networks."""
        end = f"192.0.2.{next(self._numbers)}"
        return self.host(network_host=True, local_ip=end)

    def agent(self, host: str) -> str:
        """Return the id of a host's agent."""
        return str(self.ask("GET", f"agents?host={host}").json()["agents"][0]["id"])

    def lease(self) -> str:
        """Let an agent report a lease; return its id."""
        host, header = self.host(network_host=True)
        flat = {"provider:network_type": "flat", "lessor:host": host}
        cidr = f"10.200.{next(self._numbers)}.0/24"
        port = self.port(self.subnet(self.network(**flat), cidr)["network_id"])
        event = {
            "seq": 1,
            "action": "add",
            "network_id": port["network_id"],
            "mac_address": port["mac_address"],
            "address": port["fixed_ips"][0]["ip_address"],
            "expires_at": 4e9,
            "at": 1.0,
        }
        batch = {"epoch": "e", "events": [event]}
        answer = self.server.agents.post("/agent/v1/leases", json=batch, headers=header)
        assert answer.status_code == 200, answer.text
        found = self.ask("GET", f"leases?network_id={port['network_id']}").json()["leases"]
        return str(found[0]["id"])
