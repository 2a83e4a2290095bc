"""auth_strategy=keystone against a stand-in of the identity API that checks who asks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from lessor.api.auth.authentication import authentication
from lessor.errors import ConfigError
from lessor.settings import ServerSettings
from tests.api.identity import SERVICE_SECRET, Identity, running
from tests.conftest import ENGINES

Serve = Callable[..., Any]


@pytest.fixture
def engine() -> str:
    """Use one database: who is let in is decided before it is asked."""
    return ENGINES[0]


@pytest.fixture
def identity() -> Iterator[Identity]:
    with running() as made:
        yield made


@pytest.fixture
def server(serve: Serve, identity: Identity) -> Any:
    return serve(
        auth_strategy="keystone",
        keystone_authtoken=identity.section(),
        project_network_types=("vxlan",),
    )


def ask(
    server: Any, token: str, method: str = "GET", path: str = "networks", **more: Any
) -> httpx.Response:
    headers = {"X-Auth-Token": token, **more.pop("headers", {})}
    answer: httpx.Response = server.api.request(method, f"/v2.0/{path}", headers=headers, **more)
    return answer


def test_roles_and_the_project_are_those_of_the_token(server: Any, identity: Identity) -> None:
    alice, bob = identity.token("alice", "member", "reader"), identity.token("bob", project="p2")
    made = ask(server, alice, "POST", json={"network": {"lessor:bridge": "br100"}})
    assert made.status_code == 403
    made = ask(server, alice, "POST", json={"network": {}})
    assert made.status_code == 201, made.text
    assert made.json()["network"]["project_id"] == "p1"
    path = f"networks/{made.json()['network']['id']}"
    root, rita = identity.token("root", "admin", project="p9"), identity.token("rita", "reader")
    seen = [ask(server, who, path=path).status_code for who in (alice, bob, root, rita)]
    assert seen == [200, 404, 200, 200]
    assert ask(server, rita, "DELETE", path).status_code == 403
    nova = identity.token("nova", "service", project="services")
    assert ask(server, nova, path=path).status_code == 200


@pytest.mark.parametrize("token", ["", "unknown"])
def test_without_a_token_that_keystone_knows_nobody_is_let_in(server: Any, token: str) -> None:
    answer = ask(server, token)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith('Keystone uri="http://127.0.0.1:')
    assert answer.json()["NeutronError"]["type"] == "Unauthorized"


def test_keystone_alone_says_what_projects_there_are(server: Any, identity: Identity) -> None:
    headers = {"X-Auth-Token": identity.token("root", "admin")}
    for path in ("/v3", "/v3/projects", "/v3/projects/p1"):
        assert server.api.get(path, headers=headers).status_code == 404


def test_a_token_is_validated_once_and_then_remembered(server: Any, identity: Identity) -> None:
    token = identity.token("alice", "member")
    for _ in range(3):
        assert ask(server, token).status_code == 200
    assert identity.asked == [token]
    for _ in range(2):
        ask(server, "unknown")
    assert identity.asked.count("unknown") == 2  # what is refused is not remembered


def test_a_revoked_token_is_refused_when_it_is_not_remembered_any_more(
    serve: Serve, identity: Identity
) -> None:
    section = identity.section(token_cache_time="0")
    server = serve(auth_strategy="keystone", keystone_authtoken=section)
    token = identity.token("alice", "member")
    assert ask(server, token).status_code == 200
    del identity.tokens[token]
    assert ask(server, token).status_code == 401


def test_an_expired_token_counts_only_behind_a_service(server: Any, identity: Identity) -> None:
    """Nova finishes what a user began, though his token ended meanwhile."""
    token = identity.token("alice", "member", for_s=-60)
    assert ask(server, token).status_code == 401
    service = identity.token("nova", "service", project="services")
    assert ask(server, token, headers={"X-Service-Token": service}).status_code == 200
    mere_user = identity.token("bob", "member", project="p2")
    assert ask(server, token, headers={"X-Service-Token": mere_user}).status_code == 401


def test_a_token_of_no_project_is_told_so(server: Any, identity: Identity) -> None:
    answer = ask(server, identity.token("alice", "admin", project=None))
    assert answer.status_code == 403
    assert "no project" in answer.json()["NeutronError"]["message"]


def test_who_has_the_administrators_role_in_the_whole_system_needs_no_project(
    server: Any, identity: Identity
) -> None:
    token = identity.token("root", "admin", project=None)
    identity.tokens[token]["system"] = {"all": True}
    assert ask(server, token, path="hosts").status_code == 200


def test_an_application_credential_for_some_requests_is_good_for_those(
    serve: Serve, identity: Identity
) -> None:
    section = identity.section(service_type="network")
    server = serve(auth_strategy="keystone", keystone_authtoken=section)
    token = identity.token("alice", "member")
    rules = [{"path": "/v2.0/networks", "method": "GET", "service": "network"}]
    identity.tokens[token]["application_credential"] = {"id": "a", "access_rules": rules}
    for _ in range(2):
        assert ask(server, token).status_code == 200
        assert ask(server, token, "POST", json={"network": {}}).status_code == 401


def test_headers_that_auth_token_would_set_are_not_believed(
    server: Any, identity: Identity
) -> None:
    forged = {"X-Roles": "admin", "X-Project-Id": "p1", "X-Identity-Status": "Confirmed"}
    assert ask(server, identity.token("bob", "reader"), path="metrics", headers=forged).is_error
    assert ask(server, "", headers=forged).status_code == 401


def test_while_keystone_is_away_known_tokens_count_and_others_wait(
    serve: Serve, identity: Identity
) -> None:
    with running() as other:
        section = other.section(http_request_max_retries="0")
        server = serve(auth_strategy="keystone", keystone_authtoken=section)
        known, new = other.token("alice", "member"), other.token("bob", "member")
        assert ask(server, known).status_code == 200
    assert ask(server, known).status_code == 200
    answer = ask(server, new)
    assert answer.status_code == 503
    assert answer.json()["NeutronError"]["type"] == "ServiceUnavailable"
    with running(other, urlsplit(other.url).port or 0):
        assert ask(server, new).status_code == 200


def test_wrong_credentials_of_our_own_are_our_fault_not_the_callers(
    serve: Serve, identity: Identity
) -> None:
    section = identity.section(password="wrong")
    server = serve(auth_strategy="keystone", keystone_authtoken=section)
    assert ask(server, identity.token("alice", "member")).status_code == 503


def test_no_secret_is_in_the_log(
    serve: Serve, identity: Identity, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"auth_strategy": "keystone", "keystone_authtoken": identity.section()}
    server = serve(**settings, debug=True)
    tokens = [identity.token("alice", "member"), "a-token-that-nobody-knows"]
    for token in tokens:
        ask(server, token)
    said = capfd.readouterr()
    for secret in (*tokens, SERVICE_SECRET):
        assert secret not in said.out + said.err
    assert SERVICE_SECRET not in repr(server.settings)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({}, "auth_type, auth_url"),
        ({"auth_type": "password"}, "needs .keystone_authtoken. auth_url"),
        ({"auth_type": "no_such_plugin", "auth_url": "http://x"}, "no_such_plugin"),
        ({"auth_type": "password", "auth_url": "http://x", "insecure": "maybe"}, "insecure"),
    ],
)
def test_a_section_that_can_not_be_used_keeps_the_server_from_starting(
    section: dict[str, str], words: str
) -> None:
    settings = ServerSettings(
        state_dir=Path("/nowhere"), auth_strategy="keystone", keystone_authtoken=section
    )
    with pytest.raises(ConfigError, match=words):
        authentication(settings)
