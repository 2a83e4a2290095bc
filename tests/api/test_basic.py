"""auth_strategy=http_basic: passwords, how long they are remembered, files that change."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import httpx
import pytest

from lessor.errors import ConfigError
from tests.api.people import Cloud, Things, password, password_files
from tests.conftest import ENGINES

Serve = Callable[..., Any]


@pytest.fixture
def engine() -> str:
    """Use one database: who is let in is decided before it is asked."""
    return ENGINES[0]


@pytest.fixture
def verified(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the passwords that bcrypt was asked about, in order."""
    asked: list[bytes] = []
    real = bcrypt.checkpw

    def counted(given: bytes, hashed: bytes) -> bool:
        asked.append(given)
        return real(given, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    return asked


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    return password_files(tmp_path)


def networks(server: Any, name: str, secret: str) -> httpx.Response:
    answer: httpx.Response = server.api.get("/v2.0/networks", auth=(name, secret))
    return answer


def test_a_password_is_verified_once_and_then_remembered(
    serve: Serve, files: dict[str, Any], verified: list[bytes]
) -> None:
    server = serve(**files)
    for _ in range(3):
        assert networks(server, "alice", password("alice")).status_code == 200
    assert verified == [password("alice").encode()]
    assert networks(server, "bob", password("bob")).status_code == 200
    assert len(verified) == 2


def test_nothing_is_remembered_with_a_cache_time_of_zero(
    serve: Serve, files: dict[str, Any], verified: list[bytes]
) -> None:
    server = serve(**files, auth_cache_time=0)
    for _ in range(2):
        assert networks(server, "alice", password("alice")).status_code == 200
    assert len(verified) == 2


@pytest.mark.parametrize(
    ("name", "secret"),
    [("alice", "wrong"), ("alice", ""), ("alice", password("bob")), ("carol", "x"), ("", "")],
)
def test_a_wrong_name_or_password_is_refused_and_asked_for_again(
    serve: Serve, files: dict[str, Any], verified: list[bytes], name: str, secret: str
) -> None:
    server = serve(**files)
    for _ in range(2):
        answer = networks(server, name, secret)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Basic realm="Lessor"'
        error = answer.json()["NeutronError"]
        assert error["type"] == "Unauthorized"
        assert "wrong" in error["message"]
    assert len(verified) == 2  # as long as for a known name, and never remembered


@pytest.mark.parametrize("cost", [4, 6])
def test_an_unknown_name_costs_as_much_as_those_of_the_file(
    serve: Serve, files: dict[str, Any], monkeypatch: pytest.MonkeyPatch, cost: int
) -> None:
    compared: list[bytes] = []
    check = bcrypt.checkpw

    def checkpw(secret: bytes, hashed: bytes) -> bool:
        compared.append(hashed)
        return check(secret, hashed)

    users: Path = files["http_basic_auth_user_file"]
    hashes = {n: bcrypt.hashpw(b"x", bcrypt.gensalt(cost)).decode() for n in ("alice", "bob")}
    odd = bcrypt.hashpw(b"x", bcrypt.gensalt(5)).decode()
    lines = [*(f"{name}:{hashed}" for name, hashed in hashes.items()), f"root:{odd}"]
    users.write_text("\n".join(lines))
    server = serve(**files)
    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    for name in ("alice", "carol"):
        assert networks(server, name, "wrong").status_code == 401
    assert [hashed[4:6] for hashed in compared] == [f"{cost:02}".encode()] * 2


@pytest.mark.parametrize("header", ["", "Bearer x", "Basic !!!", "Basic", "basic YWxpY2U="])
def test_a_header_of_another_form_is_refused(
    serve: Serve, files: dict[str, Any], header: str
) -> None:
    answer = serve(**files).api.get("/v2.0/networks", headers={"Authorization": header})
    assert answer.status_code == 401


def test_two_credentials_of_one_request_are_refused(serve: Serve, files: dict[str, Any]) -> None:
    """A proxy before us may have looked at the other one."""
    server = serve(**files)
    right, wrong = (
        "Basic " + base64.b64encode(f"alice:{word}".encode()).decode()
        for word in (password("alice"), "wrong")
    )
    for pair in ((right, wrong), (wrong, right), (right, right)):
        headers = [("Authorization", one) for one in pair]
        answer = server.api.get("/v2.0/networks", headers=headers)
        assert answer.status_code == 401
        assert "twice" in answer.json()["NeutronError"]["message"]
    assert networks(server, "alice", password("alice")).status_code == 200


def test_headers_that_say_who_calls_are_not_believed(serve: Serve, files: dict[str, Any]) -> None:
    cloud = Cloud(serve(**files))
    forged = {"X-Roles": "admin", "X-Project-Id": "p1", "X-Identity-Status": "Confirmed"}
    things = Things(cloud)
    path = f"/v2.0/networks/{things['network']}"
    who = ("bob", password("bob"))
    assert cloud.server.api.get(path, headers=forged, auth=who).status_code == 404
    assert cloud.server.api.get(path, headers=forged).status_code == 401


def test_a_changed_file_counts_at_once(serve: Serve, files: dict[str, Any]) -> None:
    server = serve(**files)
    assert networks(server, "alice", password("alice")).status_code == 200
    users: Path = files["http_basic_auth_user_file"]
    lines = [line for line in users.read_text().splitlines() if not line.startswith("alice:")]
    changed = bcrypt.hashpw(b"a new one", bcrypt.gensalt(4)).decode()
    users.write_text("\n".join([*lines, f"alice:{changed}"]))
    assert networks(server, "alice", password("alice")).status_code == 401
    assert networks(server, "alice", "a new one").status_code == 200

    users.write_text("alice:no hash")
    answer = networks(server, "alice", "a new one")
    assert answer.status_code == 503
    assert "line 1" in answer.json()["NeutronError"]["message"]


def test_without_a_roles_file_every_user_is_an_administrator(
    serve: Serve, files: dict[str, Any]
) -> None:
    server = serve(**{**files, "http_basic_auth_roles_file": None})
    body = {"network": {"lessor:bridge": "br100", "shared": True}}
    answer = server.api.post("/v2.0/networks", json=body, auth=("nobody", password("nobody")))
    assert answer.status_code == 201


def test_a_password_may_have_a_colon_and_be_longer_than_bcrypt_reads(
    serve: Serve, files: dict[str, Any]
) -> None:
    users: Path = files["http_basic_auth_user_file"]
    long = "a:b" * 40
    hashed = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()
    users.write_text(f"alice:{hashed.replace('$2b$', '$2y$')}\n")  # as htpasswd marks it
    assert networks(serve(**files), "alice", long).status_code == 200


@pytest.mark.parametrize(
    ("users", "roles", "words"),
    [
        ("alice:plain", "", "users, line 1: must be NAME:BCRYPT_HASH"),
        ("", "# x\nalice", "roles, line 2: must be NAME:PROJECT:ROLE"),
        ("", "alice::member", "alice needs a project"),
        ("alice:$2b$04$short", "", "users, line 1"),
    ],
)
def test_a_line_of_another_form_keeps_the_server_from_starting(
    serve: Serve, files: dict[str, Any], users: str, roles: str, words: str
) -> None:
    from lessor.api.auth.authentication import authentication  # noqa: PLC0415 - see its own words
    from lessor.settings import ServerSettings  # noqa: PLC0415

    files["http_basic_auth_user_file"].write_text(users)
    files["http_basic_auth_roles_file"].write_text(roles)
    with pytest.raises(ConfigError, match=words):
        authentication(ServerSettings(state_dir=Path("/nowhere"), **files))


def test_a_policy_file_changes_rules(serve: Serve, files: dict[str, Any], tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        '"create_network:shared": "rule:project_member"\n'
        '"get_network:provider:network_type": "rule:reader"\n'
        '"get_port": "rule:owner"\n'
        '"delete_network": "!"\n'
        '"get_port:device_id": "rule:owner"\n'
    )
    cloud = Cloud(serve(**files, policy_file=policy))
    network = cloud.make("network", "alice", shared=True)
    assert network["shared"] is True
    assert network["provider:network_type"] == "vxlan"
    path = f"/v2.0/networks/{network['id']}"
    for who in ("root", "alice"):
        assert cloud.ask(who, "DELETE", path).status_code == 403
    port = cloud.make("port", "bob", network_id=network["id"])
    assert "device_id" in port
    shown = {
        w: cloud.ask(w, "GET", f"/v2.0/ports/{port['id']}").status_code for w in ("bob", "alice")
    }
    assert shown == {"bob": 200, "alice": 404}  # without the rule she sees ports on her network
    listed = cloud.ask("alice", "GET", "/v2.0/ports").json()["ports"]
    assert listed == []


def test_no_secret_is_in_memory_or_in_the_log(
    serve: Serve, files: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    server = serve(**files, debug=True)
    networks(server, "alice", password("alice"))
    networks(server, "alice", "wrong-" + password("alice"))
    said = capfd.readouterr()
    for secret in (
        password("alice"),
        base64.b64encode(b"alice:" + password("alice").encode()).decode(),
    ):
        assert secret not in said.out + said.err
    assert password("alice") not in repr(server.settings)
