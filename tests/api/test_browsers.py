"""What a page of another site can make a browser send is refused; what clients send is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from lessor.api.browsers import refusal
from tests.api.conftest import Server
from tests.api.people import password, password_files

JSON = {"Content-Type": "application/json"}
BODY = '{"network": {"name": "from-a-page", "lessor:bridge": "br100"}}'
NAMES = frozenset({"localhost", "api.example"})


def status(method: str = "GET", names: frozenset[str] | None = NAMES, **headers: str) -> int:
    known = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    refused = refusal(method, known, names)
    return refused.status if refused else 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:9696", 200),
        ("192.0.2.7", 200),
        ("[::1]:9696", 200),
        ("localhost:9696", 200),
        ("LOCALHOST", 200),
        ("api.example", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:9696", 421),
        ("localhost.evil.example", 421),
        ("evil.example:80:80", 421),
        ("[::1", 421),
    ],
)
def test_a_name_that_is_not_ours_is_refused_where_nobody_logs_in(host: str, expected: int) -> None:
    assert status(host=host) == expected
    assert status(host=host, names=None) == 200


@pytest.mark.parametrize(
    ("origin", "host", "expected"),
    [
        ("http://127.0.0.1:9696", "127.0.0.1:9696", 200),
        ("https://api.example", "api.example", 200),
        ("https://api.example", "api.example:443", 200),
        ("http://[::1]:9696", "[::1]:9696", 200),
        ("http://evil.example", "127.0.0.1:9696", 403),
        ("http://127.0.0.1:8080", "127.0.0.1:9696", 403),
        ("http://127.0.0.1.evil.example:9696", "127.0.0.1:9696", 403),
        ("null", "127.0.0.1:9696", 403),
        ("", "127.0.0.1:9696", 403),
        ("http://evil.example", "", 403),
    ],
)
def test_a_page_of_another_site_is_refused(origin: str, host: str, expected: int) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert status(method, origin=origin, host=host) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("text/plain; application/json", 415),
        ("", 415),
    ],
)
def test_a_body_that_is_not_json_is_refused(kind: str, expected: int) -> None:
    for method in ("POST", "PUT"):
        assert status(method, content_type=kind, content_length="2") == expected
        assert status(method, content_type=kind, transfer_encoding="chunked") == expected
        assert status(method, content_type=kind, content_length="0") == 200
    assert status("GET", content_type=kind) == 200


def test_nothing_that_was_refused_was_done(shared: Server) -> None:
    tries: list[dict[str, str]] = [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        JSON | {"Origin": "http://evil.example"},
        JSON | {"Host": "evil.example"},
    ]
    codes = [
        shared.api.post("/v2.0/networks", content=BODY, headers=headers).status_code
        for headers in tries
    ]
    assert codes == [415, 415, 403, 421]
    assert "from-a-page" not in shared.names("/v2.0/networks")
    for headers in (JSON | {"Origin": str(shared.api.base_url)}, JSON):
        answer = shared.api.post("/v2.0/networks", content=BODY, headers=headers)
        assert answer.status_code == 201, answer.text


def test_a_refusal_says_what_would_help(shared: Server) -> None:
    answer = shared.api.get("/v2.0/networks", headers={"Host": "evil.example:9696"})
    problem = answer.json()["NeutronError"]
    assert (answer.status_code, problem["type"]) == (421, "HTTPMisdirectedRequest")
    assert "'evil.example'" in problem["message"]
    assert "server_names" in problem["message"]


def test_server_names_are_answered(serve: Callable[..., Server]) -> None:
    server = serve(server_names=("Lessor.Example",))
    answer = server.api.get("/v2.0/networks", headers={"Host": "lessor.example:9696"})
    assert answer.status_code == 200, answer.text


def test_with_passwords_any_name_is_answered(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(**password_files(tmp_path))
    answer = server.api.get(
        "/v2.0/networks", headers={"Host": "proxy.example"}, auth=("root", password("root"))
    )
    assert answer.status_code == 200, answer.text


def test_the_page_of_the_api_loads_nothing_from_elsewhere(shared: Server) -> None:
    page = shared.api.get("/schema")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "script-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"<script|<style|style=|onclick|//[a-z]", page.text, re.IGNORECASE)
    loaded = re.findall(r'(?:src|href)="([^"#]+)"', page.text)
    assert set(loaded) == {"/schema/page.css", "/schema/openapi.json"}
    for path in loaded:
        assert shared.api.get(path).status_code == 200, path


def test_the_page_of_the_api_has_each_operation_and_type(shared: Server) -> None:
    document: dict[str, Any] = shared.api.get("/schema/openapi.json").json()
    page = shared.api.get("/schema").text
    for path, item in document["paths"].items():
        for method in item:
            assert f"<b>{method.upper()}</b> {path}</summary>" in page, (method, path)
    for name in document["components"]["schemas"]:
        assert f'<details id="{name}">' in page, name
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page, target


@pytest.mark.parametrize("viewer", ["swagger", "redoc", "elements", "rapidoc", "scalar"])
def test_there_is_one_page(shared: Server, viewer: str) -> None:
    answer: httpx.Response = shared.api.get(f"/schema/{viewer}")
    assert answer.status_code == 404
