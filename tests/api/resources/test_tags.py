"""Tags: hung on rows, taken off, listed by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from lessor.store import tagrows

Server = Any  # tests/api/conftest.py
NO_ID = "00000000-0000-0000-0000-000000000000"
NOUNS = ("network", "subnet", "port")


def things(server: Server, **fields: Any) -> dict[str, dict[str, Any]]:
    """Make one of each resource that can have tags."""
    network = server.make("network", **{"lessor:bridge": "br100"}, **fields)
    subnet = server.make("subnet", network_id=network["id"], cidr="10.0.0.0/24", **fields)
    port = server.make("port", network_id=network["id"], **fields)
    return {"network": network, "subnet": subnet, "port": port}


def path(noun: str, row: dict[str, Any], rest: str = "") -> str:
    return f"/v2.0/{noun}s/{row['id']}{rest}"


def tags(server: Server, noun: str, row: dict[str, Any]) -> list[str]:
    """Return the tags of a row, which are the same wherever they are shown."""
    listed = {r["id"]: r["tags"] for r in server.api.get(f"/v2.0/{noun}s").json()[f"{noun}s"]}
    shown = server.api.get(path(noun, row)).json()[noun]["tags"]
    own = server.api.get(path(noun, row, "/tags")).json()["tags"]
    assert own == shown == listed[row["id"]]
    return list(own)


@pytest.mark.parametrize("noun", NOUNS)
def test_tags_are_set_added_and_taken_off(server: Server, noun: str) -> None:
    row = things(server)[noun]
    assert tags(server, noun, row) == row["tags"] == []
    api, many = server.api, path(noun, row, "/tags")

    answer = api.put(many, json={"tags": ["red", "blue"]})
    assert (answer.status_code, answer.json()) == (200, {"tags": ["blue", "red"]})
    assert api.put(f"{many}/a b").status_code == 201
    assert api.post(many, json={"tags": ["red", "green"]}).status_code == 201
    assert tags(server, noun, row) == ["a b", "blue", "green", "red"]
    assert api.get(f"{many}/red").status_code == api.head(f"{many}/red").status_code == 204
    assert api.delete(f"{many}/red").status_code == 204
    assert api.get(f"{many}/red").status_code == api.head(f"{many}/red").status_code == 404
    assert tags(server, noun, row) == ["a b", "blue", "green"]
    assert api.delete(many).status_code == 204
    assert tags(server, noun, row) == []


@pytest.mark.parametrize("noun", NOUNS)
def test_tags_can_be_given_at_creation(server: Server, noun: str) -> None:
    row = things(server, tags=["x", "a"])[noun]
    assert row["tags"] == tags(server, noun, row) == ["a", "x"]


def test_each_port_of_a_bulk_has_its_own_tags(server: Server) -> None:
    network, _ = server.network()
    ports = [{"network_id": network["id"], "tags": t} for t in (["a"], [], ["b", "c"])]
    made = server.api.post("/v2.0/ports", json={"ports": ports}).json()["ports"]
    assert [row["tags"] for row in made] == [["a"], [], ["b", "c"]]
    assert [tags(server, "port", row) for row in made] == [["a"], [], ["b", "c"]]


@pytest.mark.parametrize("noun", NOUNS)
def test_a_change_of_tags_is_a_new_revision(server: Server, noun: str) -> None:
    row = things(server)[noun]
    server.api.put(path(noun, row, "/tags/x"))
    after = server.api.get(path(noun, row)).json()[noun]["revision_number"]
    assert after > row["revision_number"]
    server.api.put(path(noun, row, "/tags/x"))
    same = server.api.get(path(noun, row)).json()[noun]["revision_number"]
    assert same == after


@pytest.mark.parametrize("noun", NOUNS)
def test_what_is_made_anew_has_no_old_tags(server: Server, noun: str) -> None:
    row = things(server, tags=["x"])
    for one in ("port", "subnet", "network"):
        server.api.delete(path(one, row[one]))
    assert server.store.read(tagrows.of, [row[noun]["id"]]) == {}


def test_a_network_takes_the_tags_of_its_subnets_along(server: Server) -> None:
    row = things(server, tags=["x"])
    server.api.delete(path("port", row["port"]))
    server.api.delete(path("network", row["network"]))
    assert server.store.read(tagrows.of, [one["id"] for one in row.values()]) == {}


@pytest.fixture(scope="module")
def tagged(shared: Server) -> Server:
    """Return a server with ports whose names are their tags, and one without."""
    network, _ = shared.network()
    for words in ("", "a", "b", "ab", "abc"):
        shared.make("port", network_id=network["id"], name=words or "-", tags=list(words))
    shared.tagged_network = network["id"]
    return shared


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("tags=a", "a ab abc"),
        ("tags=a,b", "ab abc"),
        ("tags=a&tags=b", "ab abc"),
        ("tags-any=a,b", "a ab abc b"),
        ("tags-any=c,x", "abc"),
        ("not-tags=a,b", "- a b"),
        ("not-tags-any=a,b", "-"),
        ("tags=a&not-tags=c", "a ab"),
        ("tags=a&name=ab", "ab"),
        ("tags=a&not-tags-any=b&tags-any=a,c", "a"),
        ("tags=x", ""),
    ],
)
def test_lists_are_filtered_by_tags(tagged: Server, query: str, names: str) -> None:
    query += f"&network_id={tagged.tagged_network}"
    assert sorted(tagged.names(f"/v2.0/ports?{query}")) == names.split()


def test_fields_leaves_tags_out_or_gives_them_alone(tagged: Server) -> None:
    rows = tagged.api.get("/v2.0/ports?name=ab&fields=tags").json()["ports"]
    assert rows == [{"tags": ["a", "b"]}]
    rows = tagged.api.get("/v2.0/ports?name=ab&fields=name").json()["ports"]
    assert rows == [{"name": "ab"}]


def _tagging(words: object) -> Callable[[Server, str], Any]:
    return lambda server, where: server.api.put(where, json={"tags": words})


@pytest.mark.parametrize(
    ("call", "status", "type_"),
    [
        pytest.param(_tagging(["x" * 256]), 400, "HTTPBadRequest", id="long"),
        pytest.param(_tagging([""]), 400, "HTTPBadRequest", id="empty"),
        pytest.param(_tagging([5]), 400, "HTTPBadRequest", id="number"),
        pytest.param(_tagging("abc"), 400, "HTTPBadRequest", id="text"),
        pytest.param(_tagging([str(n) for n in range(51)]), 400, "InvalidInput", id="many"),
        pytest.param(
            lambda s, where: s.api.put(f"{where}/{'x' * 256}"), 400, "InvalidInput", id="long-one"
        ),
        pytest.param(
            lambda s, where: s.api.delete(f"{where}/nothing"), 404, "TagNotFound", id="missing"
        ),
        pytest.param(
            lambda s, _: s.api.put(f"/v2.0/ports/{NO_ID}/tags/a"),
            404,
            "TagResourceNotFound",
            id="no-port",
        ),
        pytest.param(
            lambda s, _: s.api.get(f"/v2.0/ports/{NO_ID}/tags"),
            404,
            "TagResourceNotFound",
            id="no-list",
        ),
        pytest.param(
            lambda s, where: s.api.put(where.removesuffix("/tags"), json={"port": {"tags": ["a"]}}),
            400,
            "HTTPBadRequest",
            id="by-update",
        ),
    ],
)
def test_what_can_be_no_tag_is_refused(
    shared: Server, call: Callable[[Server, str], Any], status: int, type_: str
) -> None:
    network = shared.make("network", **{"lessor:bridge": "br100"})
    port = shared.make("port", network_id=network["id"])
    answer = call(shared, path("port", port, "/tags"))
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (status, type_)
    assert tags(shared, "port", port) == []
