"""What the command line makes of OpenStack's environment."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from lessor.cli import ask
from lessor.cli.credentials import Credentials, credentials
from lessor.errors import Unauthorized
from tests.api.identity import running


@pytest.mark.parametrize(
    "told", [{}, {"OS_AUTH_TYPE": "none"}, {"OS_AUTH_TYPE": "", "PATH": "/bin"}]
)
def test_without_an_authentication_nothing_is_sent(told: dict[str, str]) -> None:
    assert credentials(told) == Credentials()


def test_http_basic_sends_the_password() -> None:
    told = {"OS_AUTH_TYPE": "http_basic", "OS_USERNAME": "alice", "OS_PASSWORD": "x:y"}
    known = credentials(told)
    assert known.headers == {"Authorization": "Basic " + base64.b64encode(b"alice:x:y").decode()}
    assert known.endpoint is None
    assert "Authorization" not in repr(known)
    assert credentials({**told, "OS_ENDPOINT": "http://x:1"}).endpoint == "http://x:1"


def test_keystone_gives_a_token_and_tells_where_the_server_is() -> None:
    with running() as identity:
        identity.users["alice"] = "secret"
        told = {
            "OS_AUTH_URL": f"{identity.url}/v3", "OS_USERNAME": "alice", "OS_PASSWORD": "secret",
            "OS_PROJECT_NAME": "one", "OS_USER_DOMAIN_NAME": "Default",
            "OS_PROJECT_DOMAIN_NAME": "Default",
        }  # fmt: skip
        known = credentials(told)
        assert identity.tokens[known.headers["X-Auth-Token"]]["user"]["name"] == "alice"
        assert known.endpoint == identity.network_url
        with pytest.raises(Unauthorized, match="OS_AUTH_TYPE=password"):
            credentials({**told, "OS_PASSWORD": "wrong"})


@pytest.mark.parametrize("kind", ["no_such", "password"])
def test_what_is_missing_or_unknown_is_said(kind: str) -> None:
    with pytest.raises(Unauthorized, match=f"OS_AUTH_TYPE={kind}"):
        credentials({"OS_AUTH_TYPE": kind})


@pytest.mark.parametrize(
    ("server", "goes_to"),
    [(ask.DEFAULT_SERVER, "http://told:1"), ("http://named:2", "http://named:2")],
)
def test_a_server_that_is_named_goes_before_the_one_that_is_told(
    monkeypatch: pytest.MonkeyPatch, server: str, goes_to: str
) -> None:
    told: dict[str, Any] = {"OS_AUTH_TYPE": "http_basic", "OS_ENDPOINT": "http://told:1"}
    for name, value in {**told, "OS_USERNAME": "a", "OS_PASSWORD": "b"}.items():
        monkeypatch.setenv(name, value)
    with ask.client(server) as client:
        assert client.url == goes_to
