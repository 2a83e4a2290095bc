"""The client against a small server that keeps networks and refuses what it doesn't know."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx
import pytest

from lessor.client import Client
from lessor.errors import Conflict, Invalid, LessorError, NotFound, Unavailable


class Networks:
    """Answers as the API does, for networks with an id and a name."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}

    def __call__(  # noqa: PLR0911 - an answer for each kind of request
        self, request: httpx.Request
    ) -> httpx.Response:
        path = request.url.path.removeprefix("/v2.0/networks")
        key = path.strip("/")
        body = json.loads(request.content) if request.content else {}
        match request.method, key:
            case "GET", "":
                return httpx.Response(200, json={"networks": self._matching(request)})
            case "POST", "" if "networks" in body:
                return httpx.Response(201, json={"networks": [*map(self._add, body["networks"])]})
            case "POST", "":
                return httpx.Response(201, json={"network": self._add(body["network"])})
            case _, key if key not in self.rows:
                return _refusal(404, "NetworkNotFound", f"there is no network {key}")
            case "GET", key:
                return httpx.Response(200, json={"network": self.rows[key]})
            case "PUT", key:
                self.rows[key] |= body["network"]
                return httpx.Response(200, json={"network": self.rows[key]})
            case "DELETE", key:
                del self.rows[key]
                return httpx.Response(204)
        raise AssertionError(request)

    def _add(self, row: dict[str, Any]) -> dict[str, Any]:
        made = {"id": f"id{len(self.rows)}", **row}
        self.rows[made["id"]] = made
        return made

    def _matching(self, request: httpx.Request) -> list[dict[str, Any]]:
        wanted = request.url.params
        return [r for r in self.rows.values() if all(str(r[n]) == v for n, v in wanted.items())]


def _refusal(status: int, kind: str, message: str) -> httpx.Response:
    error = {"type": kind, "message": message, "detail": ""}
    return httpx.Response(status, json={"NeutronError": error})


@pytest.fixture
def api() -> Client:
    return Client(transport=httpx.MockTransport(Networks()))


def answering(response: httpx.Response) -> Client:
    return Client(transport=httpx.MockTransport(lambda _: response))


def test_what_was_made_is_listed_shown_changed_and_deleted(api: Client) -> None:
    made = api.create("networks", {"name": "blue"})
    assert api.list("networks") == [made]
    assert api.show("networks", made["id"]) == made
    assert api.update("networks", made["id"], {"name": "red"})["name"] == "red"
    api.delete("networks", made["id"])
    assert api.list("networks") == []


def test_several_are_made_in_one_request(api: Client) -> None:
    rows = api.create_many("networks", [{"name": "a"}, {"name": "b"}])
    assert [row["name"] for row in rows] == ["a", "b"]


def test_a_filter_that_is_none_filters_nothing(api: Client) -> None:
    api.create("networks", {"name": "blue"})
    assert len(api.list("networks", {"name": None})) == 1
    assert api.list("networks", {"name": "red"}) == []


def test_one_is_found_by_its_id_and_by_its_name(api: Client) -> None:
    made = api.create("networks", {"name": "blue"})
    assert api.find("networks", made["id"]) == api.find("networks", "blue") == made


def test_an_id_wins_over_a_name_that_is_the_same(api: Client) -> None:
    first = api.create("networks", {"name": "blue"})
    api.create("networks", {"name": first["id"]})
    assert api.find("networks", first["id"]) == first


def test_a_name_of_two_is_refused_with_their_ids(api: Client) -> None:
    api.create_many("networks", [{"name": "blue"}, {"name": "blue"}])
    with pytest.raises(Conflict, match="2 networks have the name 'blue'; give an id: id0, id1"):
        api.find("networks", "blue")


def test_what_is_not_there_is_named_with_the_way_to_look(api: Client) -> None:
    with pytest.raises(NotFound, match="there is no network 'blue'; see `lessor network list`"):
        api.find("networks", "blue")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        pytest.param(400, Invalid, id="bad-request"),
        pytest.param(404, NotFound, id="not-found"),
        pytest.param(409, Conflict, id="conflict"),
        pytest.param(503, Unavailable, id="unavailable"),
        pytest.param(500, LessorError, id="server-failed"),
    ],
)
def test_a_refusal_of_the_server_is_one_of_our_errors(status: int, kind: type[LessorError]) -> None:
    client = answering(_refusal(status, "IpAddressInUse", "10.0.0.2 is in use"))
    with pytest.raises(kind, match=r"10\.0\.0\.2 is in use") as caught:
        client.list("ports")
    assert caught.value.type == "IpAddressInUse"


def test_an_error_that_is_no_servers_of_ours_is_named_by_request_and_status() -> None:
    with pytest.raises(LessorError, match=r"GET \S+/v2\.0/ports: status 502"):
        answering(httpx.Response(502, text="<html>")).list("ports")


def test_nobody_answering_is_said_with_the_address_and_what_would_help() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound, not listening: refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Unavailable, match=f"no server answers at {url} .*`lessor server`"):
            Client(url).list("ports")


def test_a_key_can_not_leave_its_place_in_the_path() -> None:
    asked = []

    def note(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(204)

    Client(transport=httpx.MockTransport(note)).delete("addresses", "net", "../../ports")
    assert asked == [b"/v2.0/addresses/net/..%2F..%2Fports"]
