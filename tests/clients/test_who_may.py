"""Users with passwords: keystoneauth's http_basic, through the real `openstack` client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import pytest

from tests.clients.started import DATABASES, Openstack, Program, needs_clients, server

pytestmark = [pytest.mark.clients, needs_clients, *DATABASES[0].marks]
USERS = {"root": "admin", "alice": "member", "bob": "member"}
As = Callable[..., Openstack]


@pytest.fixture
def log_in(program: Program, tmp_path: Path) -> Iterator[As]:
    """Return what gives a user's `openstack`; each but root has a project of its own."""
    users, roles = tmp_path / "users", tmp_path / "roles"
    hashes = {name: bcrypt.hashpw(f"pw-{name}".encode(), bcrypt.gensalt(4)) for name in USERS}
    users.write_text("".join(f"{name}:{hashed.decode()}\n" for name, hashed in hashes.items()))
    roles.write_text("".join(f"{name}:p-{name}:{role}\n" for name, role in USERS.items()))
    for path in (users, roles):
        path.chmod(0o600)
    flags = ["auth_strategy=http_basic", f"http_basic_auth_user_file={users}"]
    flags.append(f"http_basic_auth_roles_file={roles}")
    with server(tmp_path, *(word for flag in flags for word in ("--set", flag))) as endpoint:

        def made(name: str, password: str = "") -> Openstack:
            options = {"auth-type": "http_basic", "endpoint": endpoint, "username": name}
            return Openstack(program, options | {"password": password or f"pw-{name}"})

        yield made


def test_a_user_sees_the_own_project_and_what_is_shared(log_in: As) -> None:
    alice, bob, root = (log_in(name) for name in ("alice", "bob", "root"))
    network = alice("network create blue")
    assert (network["project_id"], network["shared"]) == ("p-alice", False)
    assert bob("network list") == []
    assert "No Network found for blue" in bob.refusal("network show blue")
    assert [row["Name"] for row in root("network list")] == ["blue"]
    policy = root(
        "network rbac create --type network --action access_as_shared --target-all-projects blue"
    )
    assert policy["object_id"] == network["id"]
    assert [row["Name"] for row in bob("network list")] == ["blue"]
    assert [row["ID"] for row in root("network rbac list")] == [policy["id"]]
    root.run("network", "rbac", "delete", policy["id"])
    assert bob("network list") == []


def test_what_is_an_administrator_s_is_refused_to_others(log_in: As) -> None:
    refusal = log_in("alice").refusal("network create x --provider-network-type flat")
    assert "provider:network_type is disallowed by policy" in refusal
    assert "password is wrong" in log_in("alice", "another").refusal("network list")
