"""Callers for tests of who may do what: a password file, a roles file, and what each sends."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import bcrypt
import httpx

ROLES = {
    "root": "admin-project:admin",
    "alice": "p1:member",
    "bob": "p2:member",
    "rita": "p1:reader",
    "nova": "services:service",
    "nobody": "",  # a user who is not in the roles file
}
STRANGER = "stranger"  # sends no credentials
EVERYBODY = (*ROLES, STRANGER)


def password(name: str) -> str:
    return f"secret-of-{name}"


def password_files(folder: Path, rounds: int = 4) -> dict[str, Any]:
    """Write both files; return the settings that name them. 4 rounds are the fewest of bcrypt."""
    users, roles = folder / "users", folder / "roles"
    salts = {name: bcrypt.gensalt(rounds) for name in ROLES}
    hashes = {n: bcrypt.hashpw(password(n).encode(), salts[n]).decode() for n in ROLES}
    users.write_text("".join(f"{name}:{hashed}\n" for name, hashed in hashes.items()))
    roles.write_text("".join(f"{name}:{said}\n" for name, said in ROLES.items() if said))
    return {
        "auth_strategy": "http_basic",
        "project_network_types": ("vxlan",),  # projects make no flat ones by themselves
        "http_basic_auth_user_file": users,
        "http_basic_auth_roles_file": roles,
    }


class Cloud:
    """A server with people, and things of project p1 that are made when a path names them."""

    def __init__(self, server: Any) -> None:
        self.server = server
        self.numbers = count()

    def ask(self, who: str, method: str, path: str, body: Any = None) -> httpx.Response:
        auth = None if who == STRANGER else (who, password(who))
        answer: httpx.Response = self.server.api.request(method, path, json=body, auth=auth)
        return answer

    def make(self, noun: str, who: str = "root", path: str = "", **fields: Any) -> dict[str, Any]:
        answer = self.ask(who, "POST", f"/v2.0/{path or noun + 's'}", {noun: fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()[noun]
        return made

    def network(self, project: str = "p1", **fields: Any) -> dict[str, Any]:
        overlay = {"provider:network_type": "vxlan"}
        return self.make("network", project_id=project, **overlay, **fields)


class Things(dict[str, str]):
    """Ids by noun, of things of p1 made when they are first asked for."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__()
        self._cloud = cloud
        self._number = next(cloud.numbers)

    def __missing__(self, noun: str) -> str:
        make = getattr(self, f"_{noun}")
        self[noun] = found = str(make())
        return found

    def fill(self, value: Any) -> Any:
        """Put ids in the place of {noun}s."""
        if isinstance(value, str):
            return value.format_map(self)
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def _network(self) -> str:
        return str(self._cloud.network()["id"])

    def _elsewhere(self) -> str:
        return str(self._cloud.network("p2")["id"])

    def _common(self) -> str:
        network = str(self._cloud.network("p2", shared=True)["id"])
        self._cloud.make("subnet", network_id=network, cidr="10.9.0.0/24")
        return network

    def _subnet(self) -> str:
        made = self._cloud.make("subnet", network_id=self["network"], cidr="10.0.0.0/24")
        return str(made["id"])

    def _port(self) -> str:
        assert self["subnet"]
        made = self._cloud.make("port", network_id=self["network"], project_id="p1")
        return str(made["id"])

    def _instance(self) -> str:
        return str(self._cloud.make("instance", project_id="p1")["id"])

    def _policy(self) -> str:
        made = self._cloud.make(
            "rbac_policy", path="rbac-policies", project_id="p1", object_type="network",
            object_id=self["network"], action="access_as_shared", target_tenant="p3",
        )  # fmt: skip
        return str(made["id"])

    def _pool(self) -> str:
        pool: dict[str, Any] = {"name": "pool", "prefixes": ["10.0.0.0/8"], "project_id": "p1"}
        return str(self._cloud.make("subnetpool", **pool)["id"])

    def _scope(self) -> str:
        scope: dict[str, Any] = {"name": "scope", "ip_version": 4, "project_id": "p1"}
        made = self._cloud.make("address_scope", path="address-scopes", **scope)
        return str(made["id"])

    def _host(self) -> str:
        name = f"h{self._number}"
        self._cloud.make("host", name=name)
        return name

    def _agent(self) -> str:
        answer = self._cloud.ask("root", "GET", f"/v2.0/agents?host={self['host']}")
        return str(answer.json()["agents"][0]["id"])

    def _free(self) -> str:
        assert self["subnet"]
        return "10.0.0.9"

    def _reserved(self) -> str:
        assert self["subnet"]
        body = {"address": {"network_id": self["network"], "address": "10.0.0.77"}}
        assert self._cloud.ask("root", "POST", "/v2.0/addresses", body).status_code == 201
        return f"{self['network']}/10.0.0.77"

    def _lease(self) -> str:
        """Return a lease, as the agent of a flat network's host reports it."""
        server = self._cloud.server
        made = self._cloud.make("host", name=f"l{self._number}")
        flat = {"provider:network_type": "flat", "lessor:host": made["name"], "project_id": "p1"}
        network = self._cloud.make("network", **flat)["id"]
        self._cloud.make("subnet", network_id=network, cidr=f"10.200.{self._number}.0/24")
        port = self._cloud.make("port", network_id=network, project_id="p1")
        event = {
            "seq": 1, "action": "add", "network_id": network, "mac_address": port["mac_address"],
            "address": port["fixed_ips"][0]["ip_address"], "expires_at": 4e9, "at": 1.0,
        }  # fmt: skip
        token = {"Authorization": f"Bearer {made['token']}"}
        batch = {"epoch": "e", "events": [event]}
        answer = server.agents.post("/agent/v1/leases", json=batch, headers=token)
        assert answer.status_code == 200, answer.text
        found = self._cloud.ask("root", "GET", f"/v2.0/leases?network_id={network}")
        return str(found.json()["leases"][0]["id"])


def cells(text: str) -> Iterator[tuple[str, int]]:
    """Read a row of statuses, in the order of EVERYBODY."""
    return zip(EVERYBODY, map(int, text.split()), strict=True)
