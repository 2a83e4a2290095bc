"""Query strings of lists: filters, fields, sorting, paging."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

Server = Any  # tests/api/conftest.py


@pytest.fixture(scope="module")
def three(shared: Server) -> Server:
    for name, bridge, up in (("b", "br100", True), ("a", "br200", False), ("c", "br100", True)):
        shared.make("network", name=name, admin_state_up=up, **{"lessor:bridge": bridge})
    return shared


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=a", "a"),
        ("name=a&name=b", "ab"),
        ("name=a&name=b&admin_state_up=true", "b"),
        ("admin_state_up=False", "a"),
        ("provider:physical_network=physnet2", "a"),
        ("provider:network_type=flat", "abc"),
        ("status=ACTIVE", "abc"),
        ("status=DOWN", ""),
        ("mtu=1500", "abc"),
        ("id=no-such-id", ""),
        ("sort_key=name", "abc"),
        ("sort_key=name&sort_dir=desc", "cba"),
        ("sort_key=admin_state_up&sort_dir=desc&sort_key=name&sort_dir=asc", "bca"),
    ],
)
def test_a_list_gives_what_was_asked(three: Server, query: str, names: str) -> None:
    found = three.names(f"/v2.0/networks?{query}")
    assert found == list(names) if "sort" in query else sorted(found) == sorted(names)


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("colour=red", "colour"),
        ("subnets=x", "subnets"),
        ("sort_key=colour", "colour"),
        ("sort_key=name&sort_dir=up", "up"),
        ("sort_key=name&sort_dir=asc&sort_dir=asc", "sort_dir"),
        ("limit=many", "many"),
        ("limit=-1", "-1"),
        ("page_reverse=maybe", "maybe"),
        ("page_reverse=", "neither true nor false"),
        ("admin_state_up=perhaps", "perhaps"),
        ("mtu=big", "big"),
    ],
)
def test_a_query_that_makes_no_sense_is_refused_by_name(
    shared: Server, query: str, word: str
) -> None:
    answer = shared.api.get(f"/v2.0/networks?{query}")
    assert answer.status_code == 400
    assert word in answer.json()["NeutronError"]["message"]


def test_fields_leaves_out_the_rest(three: Server) -> None:
    rows = three.api.get("/v2.0/networks?fields=name&fields=mtu&name=a").json()["networks"]
    assert rows == [{"name": "a", "mtu": 1500}]
    one = three.api.get("/v2.0/networks").json()["networks"][0]["id"]
    shown = three.api.get(f"/v2.0/networks/{one}?fields=id").json()["network"]
    assert shown == {"id": one}


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("fields=name&fields=trunk_details", {"name": "a"}),
        ("fields=trunk_details", {}),
        ("fields=tags-any&fields=mtu", {"mtu": 1500}),
        ("fields=&fields=name", {"name": "a"}),
    ],
)
def test_a_field_that_is_not_there_is_left_out(
    three: Server, query: str, shown: dict[str, Any]
) -> None:
    rows = three.api.get(f"/v2.0/networks?name=a&{query}").json()["networks"]
    assert rows == [shown]
    one = three.api.get("/v2.0/networks?name=a").json()["networks"][0]["id"]
    assert three.api.get(f"/v2.0/networks/{one}?{query}").json() == {"network": shown}


def test_no_field_is_every_field(three: Server) -> None:
    rows = three.api.get("/v2.0/networks?name=a").json()["networks"]
    assert three.api.get("/v2.0/networks?name=a&fields=").json()["networks"] == rows


def _follow(server: Server, answer: dict[str, Any], rel: str) -> dict[str, Any] | None:
    hrefs = {link["rel"]: link["href"] for link in answer.get("networks_links", [])}
    if rel not in hrefs:
        return None
    url = urlsplit(hrefs[rel])
    followed: dict[str, Any] = server.api.get(url.path, params=parse_qsl(url.query)).json()
    return followed


def _names(answer: dict[str, Any]) -> str:
    return "".join(row["name"] for row in answer["networks"])


def test_pages_lead_through_all_rows_and_back(server: Server) -> None:
    for name in "edcba":
        server.make("network", name=name, **{"lessor:bridge": "br100"})
    page = server.api.get("/v2.0/networks?limit=2&sort_key=name&sort_dir=asc").json()
    assert _names(page) == "ab"
    second = _follow(server, page, "next")
    assert second
    assert _names(second) == "cd"
    last = _follow(server, second, "next")
    assert last
    assert _names(last) == "e"
    assert _follow(server, last, "next") is None
    back = _follow(server, last, "previous")
    assert back
    assert _names(back) == "cd"
    first = _follow(server, back, "previous")
    assert first
    assert _names(first) == "ab"
    before = _follow(server, first, "previous")
    assert before is not None
    assert _names(before) == ""
    assert _follow(server, before, "previous") is None
    again = _follow(server, before, "next")
    assert again
    assert _names(again) == "ab"


@pytest.mark.parametrize(
    ("query", "names", "rels"),
    [
        ("limit=2", "ab", {"next", "previous"}),
        ("limit=3", "abc", {"next", "previous"}),
        ("limit=4", "abc", {"previous"}),
        ("limit=2&page_reverse=true", "bc", {"next", "previous"}),
        ("limit=4&page_reverse=true", "abc", {"next"}),
        ("limit=1&name=nothing", "", {"previous"}),
        ("limit=1&name=nothing&page_reverse=true", "", {"next"}),
    ],
)
def test_a_page_links_on_unless_it_is_short_in_its_direction(
    three: Server, query: str, names: str, rels: set[str]
) -> None:
    page = three.api.get(f"/v2.0/networks?sort_key=name&sort_dir=asc&{query}").json()
    assert _names(page) == names
    assert {link["rel"] for link in page["networks_links"]} == rels


def test_a_list_without_limit_has_no_links(three: Server) -> None:
    assert set(three.api.get("/v2.0/networks").json()) == {"networks"}
    assert set(three.api.get("/v2.0/networks?limit=0").json()) == {"networks"}


def test_ports_are_found_by_what_they_have(server: Server) -> None:
    network, subnet = server.network()
    first = server.make("port", network_id=network["id"], name="one", device_id="vm1")
    server.make("port", network_id=network["id"], name="two", device_owner="compute:nova")
    asked = {
        "fixed_ips=ip_address=10.0.0.2": ["one"],
        "fixed_ips=ip_address%3D10.0.0.2&fixed_ips=ip_address%3D10.0.0.3": ["one", "two"],
        f"fixed_ips=subnet_id={subnet['id']}": ["one", "two"],
        "fixed_ips=ip_address_substr=.0.3": ["two"],
        "device_id=vm1": ["one"],
        "device_owner=compute:nova": ["two"],
        f"mac_address={first['mac_address'].upper()}": ["one"],
        f"network_id={network['id']}": ["one", "two"],
        "status=DOWN": ["one", "two"],
        "binding:host_id=h1": [],
    }
    found = {query: sorted(server.names(f"/v2.0/ports?{query}")) for query in asked}
    assert found == asked
    assert server.api.get("/v2.0/ports?fixed_ips=10.0.0.2").status_code == 400


def test_subnets_are_found_by_what_they_have(server: Server) -> None:
    network, subnet = server.network()
    for query in (
        f"network_id={network['id']}",
        "cidr=10.0.0.0/24",
        "gateway_ip=10.0.0.1",
        "ip_version=4",
        "enable_dhcp=True",
    ):
        rows = server.api.get(f"/v2.0/subnets?{query}").json()["subnets"]
        assert [row["id"] for row in rows] == [subnet["id"]], query
    assert server.api.get("/v2.0/subnets?ip_version=6").json() == {"subnets": []}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        pytest.param("&".join(["sort_key=name"] * 2000), 200, id="one-key-2000-times"),
        pytest.param("&".join(f"name=n{n}" for n in range(2000)), 200, id="2000-names"),
        pytest.param("&".join(["fixed_ips=ip_address_substr=0.1"] * 900), 200, id="one-part"),
        pytest.param(
            "&".join(f"fixed_ips=ip_address_substr={n}" for n in range(900)), 400, id="900-parts"
        ),
    ],
)
def test_a_long_query_is_answered_or_the_clients_error(
    shared: Server, query: str, status: int
) -> None:
    """SQLite refuses an expression of a thousand terms, which was told as the server's failure."""
    answer = shared.api.get(f"/v2.0/ports?{query}")
    assert answer.status_code == status, answer.text
