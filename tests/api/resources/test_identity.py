"""The little of the identity API that clients ask for where there is no Keystone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import served
from tests.api.people import Cloud, password_files

Server = Any  # tests/api/conftest.py


@pytest.fixture(scope="module")
def cloud(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("identity")
    with served(migrated, folder / "state", **password_files(folder)) as server:
        yield Cloud(server)


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["projects"]]


def test_whatever_is_named_is_a_project(server: Server) -> None:
    project = server.api.get("/v3/projects/blue").json()["project"]
    assert (project["id"], project["name"], project["enabled"]) == ("blue", "blue", True)
    assert project["domain_id"] == project["parent_id"] == "default"
    assert server.api.get("/v3/projects?name=red").json()["projects"] == [
        project | {"id": "red", "name": "red"}
    ]


def test_an_id_that_no_row_could_have_is_no_project(server: Server) -> None:
    assert server.api.get(f"/v3/projects/{'x' * 255}").status_code == 200
    answer = server.api.get(f"/v3/projects/{'x' * 256}")
    assert answer.status_code == 404
    assert answer.json()["NeutronError"]["type"] == "ProjectNotFound"


def test_projects_that_have_something_are_listed(server: Server) -> None:
    assert ids(server.api.get("/v3/projects")) == []
    network, _ = server.network(project_id="of-networks")
    server.make("port", network_id=network["id"], project_id="of-ports")
    server.make("port", network_id=network["id"], project_id="of-ports")
    server.make("subnetpool", name="p", prefixes=["10.9.0.0/16"], project_id="of-pools")
    server.make("address_scope", name="s", ip_version=4, project_id="of-scopes")
    server.make("instance", name="i", project_id="of-instances")
    server.make("network", **{"lessor:bridge": "br200"})  # of none
    assert server.api.put("/v2.0/quotas/of-quotas", json={"quota": {"port": 1}}).is_success
    named = ("instances", "networks", "pools", "ports", "quotas", "scopes")
    assert ids(server.api.get("/v3/projects")) == [f"of-{name}" for name in named]


def test_the_version_says_where_it_is(server: Server) -> None:
    for path in ("/v3", "/v3/"):
        version = server.api.get(path).json()["version"]
        assert version["id"].startswith("v3.")
        (link,) = version["links"]
        assert link["href"] == f"{server.api.base_url}/v3/"


def test_clients_without_an_override_still_find_the_network_api(server: Server) -> None:
    """They take the highest version of the list of versions for whatever service they look for."""
    assert [row["id"] for row in server.api.get("/").json()["versions"]] == ["v2.0"]


def test_people_see_their_own_project_and_administrators_all(cloud: Cloud) -> None:
    cloud.network("p1")
    assert cloud.ask("alice", "GET", "/v3/projects/p1").status_code == 200
    assert cloud.ask("rita", "GET", "/v3/projects/p1").status_code == 200
    # 403, not 404: clients then go on with the id as it was given to them
    assert cloud.ask("alice", "GET", "/v3/projects/p2").status_code == 403
    for path in ("/v3/projects", "/v3/projects?name=p2", "/v3/projects?name=p1"):
        assert cloud.ask("alice", "GET", path).status_code == 403
    assert cloud.ask("root", "GET", "/v3/projects/p2").status_code == 200
    assert ids(cloud.ask("root", "GET", "/v3/projects")) == ["p1"]


def test_only_the_version_is_told_to_strangers(cloud: Cloud) -> None:
    assert cloud.ask("stranger", "GET", "/v3").status_code == 200
    assert cloud.ask("stranger", "GET", "/v3/projects/p1").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    assert server.api.request(method, "/v3/projects/p1").status_code == 405
