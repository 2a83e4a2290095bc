"""Further bindings of a port: prepared, activated when its VM has moved, deleted."""

from __future__ import annotations

from typing import Any

import pytest

Server = Any  # tests/api/conftest.py


@pytest.fixture
def port(server: Server) -> dict[str, Any]:
    """Return a port that is bound to h1; there is h2 as well."""
    for name in ("h1", "h2"):
        said = {"run_id": name, "physical_networks": ["physnet1"]}
        server.agents.post("/agent/v1/report", json=said, headers=server.token(name))
    network, _ = server.network()
    bound = {"binding:host_id": "h1", "binding:profile": {"here": 1}}
    made: dict[str, Any] = server.make("port", network_id=network["id"], **bound)
    return made


def path(port: dict[str, Any], rest: str = "") -> str:
    return f"/v2.0/ports/{port['id']}/bindings{rest}"


def statuses(server: Server, port: dict[str, Any]) -> dict[str, str]:
    rows = server.api.get(path(port)).json()["bindings"]
    return {row["host"]: row["status"] for row in rows}


def prepare(server: Server, port: dict[str, Any], **more: Any) -> dict[str, Any]:
    answer = server.api.post(path(port), json={"binding": {"host": "h2", **more}})
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()["binding"]
    return made


def test_a_port_is_prepared_for_another_host(server: Server, port: dict[str, Any]) -> None:
    assert statuses(server, port) == {"h1": "ACTIVE"}
    made = prepare(server, port, profile={"there": [2]})
    assert (made["host"], made["status"], made["profile"]) == ("h2", "INACTIVE", {"there": [2]})
    assert (made["vnic_type"], made["vif_type"]) == ("normal", "tap")
    assert made["vif_details"]["bridge_name"] == "br100"
    assert statuses(server, port) == {"h1": "ACTIVE", "h2": "INACTIVE"}
    unchanged = server.api.get(f"/v2.0/ports/{port['id']}").json()["port"]
    assert unchanged == port | {"revision_number": unchanged["revision_number"]}


def test_each_binding_says_for_itself_whether_it_can_be_plugged(
    server: Server, port: dict[str, Any]
) -> None:
    server.token("dead")
    answer = server.api.post(path(port), json={"binding": {"host": "dead"}})
    assert answer.json()["binding"]["vif_type"] == "binding_failed"
    rows = server.api.get(path(port)).json()["bindings"]
    assert {row["host"]: row["vif_type"] for row in rows} == {
        "h1": "tap",
        "dead": "binding_failed",
    }


def test_bindings_change_places_when_one_is_activated(server: Server, port: dict[str, Any]) -> None:
    prepare(server, port, profile={"there": 2})
    answer = server.api.put(path(port, "/h2/activate"))
    assert (answer.status_code, answer.json()["binding"]["status"]) == (200, "ACTIVE")
    assert statuses(server, port) == {"h2": "ACTIVE", "h1": "INACTIVE"}
    moved = server.api.get(f"/v2.0/ports/{port['id']}").json()["port"]
    assert (moved["binding:host_id"], moved["binding:profile"]) == ("h2", {"there": 2})
    assert moved["revision_number"] > port["revision_number"]
    assert moved["fixed_ips"] == port["fixed_ips"]

    assert server.api.delete(path(port, "/h1")).status_code == 204
    assert statuses(server, port) == {"h2": "ACTIVE"}


def test_an_inactive_binding_changes_and_goes(server: Server, port: dict[str, Any]) -> None:
    prepare(server, port)
    body = {"binding": {"profile": {"x": None}}}
    changed = server.api.put(path(port, "/h2"), json=body).json()["binding"]
    assert changed["profile"] == {"x": None}
    assert server.api.get(path(port, "/h2")).json()["binding"] == changed
    assert server.api.delete(path(port, "/h2")).status_code == 204
    assert statuses(server, port) == {"h1": "ACTIVE"}


def test_bindings_go_with_their_port(server: Server, port: dict[str, Any]) -> None:
    prepare(server, port)
    assert server.api.delete(f"/v2.0/ports/{port['id']}").status_code == 204
    assert server.api.get(path(port)).json()["NeutronError"]["type"] == "PortNotFound"


def test_what_can_not_be_is_refused(server: Server, port: dict[str, Any]) -> None:
    api = server.api
    binding = {"binding": {"host": "h1"}}
    prepare(server, port)
    for answer, status, type_ in (
        (api.post(path(port), json=binding), 409, "PortBindingAlreadyExists"),
        (api.post(path(port), json={"binding": {"host": "h2"}}), 409, "PortBindingAlreadyExists"),
        (api.post(path(port), json={"binding": {"host": "no host"}}), 400, "InvalidInput"),
        (api.post(path(port), json={"binding": {}}), 400, "HTTPBadRequest"),
        (
            api.post(path(port), json={"binding": {"host": "h2", "vnic_type": "direct"}}),
            400,
            "InvalidInput",
        ),
        (api.put(path(port, "/h1/activate")), 409, "PortBindingAlreadyActive"),
        (api.put(path(port, "/h9/activate")), 404, "PortBindingNotFound"),
        (api.delete(path(port, "/h9")), 404, "PortBindingNotFound"),
        (api.delete(path(port, "/h1")), 409, "PortBindingError"),
        (api.put(path(port, "/h1"), json={"binding": {"profile": {}}}), 409, "PortBindingError"),
        (api.get("/v2.0/ports/no-such-port/bindings"), 404, "PortNotFound"),
    ):
        assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (status, type_)
    assert statuses(server, port) == {"h1": "ACTIVE", "h2": "INACTIVE"}
