"""Users and agents have nothing to say at each other's listener, whatever they send."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.conftest import served
from tests.api.people import ROLES, Cloud, password, password_files

AGENT_CALLS = (
    ("POST", "view"),
    ("POST", "report"),
    ("POST", "leases"),
    ("GET", "leases"),
    ("GET", "metadata"),
    ("POST", "password"),
    ("GET", "ping"),
)


@pytest.fixture(scope="module")
def cloud(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Return one for all: what is refused here never comes to a database, and changes nothing."""
    folder = tmp_path_factory.mktemp("listeners")
    with served(migrated, folder / "state", **password_files(folder)) as server:
        yield Cloud(server)


@pytest.mark.parametrize(("method", "call"), AGENT_CALLS)
def test_no_user_is_let_in_where_agents_call(cloud: Cloud, method: str, call: str) -> None:
    for who in ROLES:
        path = f"/agent/v1/{call}"
        answer = cloud.server.agents.request(method, path, content=b"{}", auth=(who, password(who)))
        assert answer.status_code == 401, who
        forged = {"X-Roles": "admin", "X-Host": "h1", "Authorization": f"Bearer {password(who)}"}
        answer = cloud.server.agents.request(method, path, content=b"{}", headers=forged)
        assert answer.status_code == 401


@pytest.mark.parametrize(("method", "call"), AGENT_CALLS)
def test_agents_calls_are_not_where_users_are(cloud: Cloud, method: str, call: str) -> None:
    assert cloud.ask("root", method, f"/agent/v1/{call}").status_code == 404


def test_an_agents_token_is_no_users(cloud: Cloud) -> None:
    token = cloud.make("host", name="h1")["token"]
    headers = {"Authorization": f"Bearer {token}", "X-Auth-Token": token}
    assert cloud.server.api.get("/v2.0/networks", headers=headers).status_code == 401
    assert cloud.server.agents.get("/agent/v1/ping", headers=headers).status_code == 200
