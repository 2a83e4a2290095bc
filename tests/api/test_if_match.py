"""If-Match: a change that is meant for one revision of a row, and for no later one."""

from __future__ import annotations

import threading
from typing import Any

import pytest

Server = Any  # tests/api/conftest.py
NOUNS = ("network", "subnet", "port", "instance", "subnetpool")


def thing(server: Server, noun: str) -> tuple[str, dict[str, Any]]:
    """Make one, with nothing that stands in the way of its deletion; return its path too."""
    network = server.make("network", **{"lessor:bridge": "br100"})
    fields: dict[str, Any] = {"name": "vm1"}
    if noun == "subnetpool":
        fields["prefixes"] = ["10.0.0.0/8"]
    if noun in {"subnet", "port"}:
        fields = {"network_id": network["id"]}
    if noun == "subnet":
        fields["cidr"] = "10.0.0.0/24"
    row = network if noun == "network" else server.make(noun, **fields)
    return f"/v2.0/{noun}s/{row['id']}", row


def match(revision: object) -> dict[str, str]:
    return {"If-Match": f"revision_number={revision}"}


@pytest.mark.parametrize("noun", NOUNS)
def test_only_the_revision_that_is_meant_is_changed(server: Server, noun: str) -> None:
    path, row = thing(server, noun)
    first = row["revision_number"]
    body = {noun: {"name": "new"}}

    changed = server.api.put(path, json=body, headers=match(first))
    assert changed.status_code == 200, changed.text
    second = changed.json()[noun]["revision_number"]
    assert second > first

    for call in (
        server.api.put(path, json={noun: {"name": "other"}}, headers=match(first)),
        server.api.delete(path, headers=match(first)),
    ):
        problem = call.json()["NeutronError"]
        assert (call.status_code, problem["type"]) == (412, "RevisionNumberConstraintFailed")
        assert f"{first}" in problem["message"]
        assert f"{second}" in problem["message"]
    assert server.api.get(path).json()[noun]["name"] == "new"
    assert server.api.delete(path, headers=match(second)).status_code == 204


@pytest.mark.parametrize("noun", NOUNS)
def test_each_change_is_a_higher_revision_and_no_change_is_none(server: Server, noun: str) -> None:
    path, row = thing(server, noun)
    seen = [row["revision_number"]]
    for name in ("a", "b", "b"):
        answer = server.api.put(path, json={noun: {"name": name}}).json()[noun]
        seen.append(answer["revision_number"])
        assert server.api.get(path).json()[noun]["revision_number"] == seen[-1]
    assert seen[0] < seen[1] < seen[2] == seen[3]


@pytest.mark.parametrize("text", ["5", "revision_number=", "revision_number=x", "etag"])
def test_another_header_is_refused(server: Server, text: str) -> None:
    path, _ = thing(server, "network")
    answer = server.api.delete(path, headers={"If-Match": text})
    assert answer.status_code == 400
    assert "revision_number=NUMBER" in answer.json()["NeutronError"]["message"]


def test_what_is_not_there_is_not_found_whatever_its_revision(server: Server) -> None:
    answer = server.api.delete("/v2.0/ports/no-such-port", headers=match(1))
    assert answer.status_code == 404


def test_of_many_who_mean_the_same_revision_one_wins(server: Server) -> None:
    path, row = thing(server, "network")
    headers = match(row["revision_number"])
    codes: list[int] = []

    def rename(name: str) -> None:
        codes.append(
            server.api.put(path, json={"network": {"name": name}}, headers=headers).status_code
        )

    threads = [threading.Thread(target=rename, args=(f"n{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [412] * 7
