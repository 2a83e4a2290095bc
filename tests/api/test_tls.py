"""TLS on both listeners, with and without certificates of clients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from lessor.agent.server.client import Client as AgentClient
from lessor.api.server import check_listen, warn_of_clear_text
from lessor.cli.credentials import credentials
from lessor.client import Client
from lessor.errors import ConfigError, Unavailable
from lessor.settings import ServerSettings, Tls
from lessor.tls import trust
from tests.api.certificates import authority, certificate
from tests.api.people import password, password_files
from tests.conftest import ENGINES

Serve = Callable[..., Any]


@pytest.fixture
def engine() -> str:
    """Use one database: a connection knows nothing of it."""
    return ENGINES[0]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def tls(ca: Path) -> Tls:
    cert, key = certificate(ca, "server")
    return Tls(cert_file=cert, key_file=key)


def urls(server: Any) -> tuple[str, str]:
    users, agents = (f"https://127.0.0.1:{s.getsockname()[1]}" for s in server.sockets)
    return users, agents


def test_both_listeners_speak_tls_and_nothing_else(serve: Serve, ca: Path, tls: Tls) -> None:
    server = serve(tls=tls, agent_tls=tls)
    for url in urls(server):
        with httpx.Client(verify=trust(ca), trust_env=False) as client:
            assert client.get(f"{url}/v2.0/networks").status_code in {200, 404}
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
            client.get(url)  # its authority is none of the system's
        with httpx.Client(trust_env=False) as client, pytest.raises(httpx.HTTPError):
            client.get(url.replace("https", "http"))


def test_a_client_shows_its_certificate_where_one_is_asked_for(
    serve: Serve, ca: Path, tls: Tls
) -> None:
    server = serve(tls=Tls(cert_file=tls.cert_file, key_file=tls.key_file, ca_file=ca))
    url, _ = urls(server)
    with httpx.Client(verify=trust(ca), trust_env=False) as other, pytest.raises(httpx.HTTPError):
        other.get(url)
    own = certificate(ca, "client")
    with httpx.Client(verify=trust(ca, *own), trust_env=False) as client:
        assert client.get(url).status_code == 200


def test_an_agent_looks_at_the_servers_certificate(
    serve: Serve, ca: Path, tls: Tls, tmp_path: Path
) -> None:
    server = serve(agent_tls=tls)
    token = tmp_path / "token"
    token.write_text(server.token("h1")["Authorization"].removeprefix("Bearer "))
    url = urls(server)[1]
    assert AgentClient([url], token, trust(ca)).reachable()
    assert AgentClient([url], token, trust(insecure=True)).reachable()
    assert not AgentClient([url], token).reachable()


def test_the_command_line_works_over_tls_with_a_password(
    serve: Serve, ca: Path, tls: Tls, tmp_path: Path
) -> None:
    server = serve(tls=tls, **password_files(tmp_path))
    told = {
        "OS_AUTH_TYPE": "http_basic", "OS_USERNAME": "alice", "OS_PASSWORD": password("alice"),
        "OS_ENDPOINT": urls(server)[0], "OS_CACERT": str(ca),
    }  # fmt: skip
    known = credentials(told)
    assert known.endpoint == urls(server)[0]
    with Client(known.endpoint, headers=known.headers, verify=known.verify) as api:
        assert api.create("networks", {"name": "blue"})["project_id"] == "p1"
    known = credentials({**told, "OS_CACERT": "", "OS_INSECURE": "true"})
    with Client(urls(server)[0], headers=known.headers, verify=known.verify) as api:
        assert [row["name"] for row in api.list("networks")] == ["blue"]
    with Client(urls(server)[0], headers=known.headers) as api, pytest.raises(Unavailable):
        api.list("networks")


def test_a_certificate_that_can_not_be_used_is_said_before_anything_runs(
    ca: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    for files in ((empty,), (None, empty), (tmp_path / "gone",), (ca, tmp_path / "gone")):
        with pytest.raises(ConfigError, match="can't be used for TLS"):
            trust(*files)


def test_with_authentication_the_api_may_listen_anywhere(tmp_path: Path) -> None:
    anywhere = ("192.0.2.1", 9696)
    with pytest.raises(ConfigError, match="insecure-listen"):
        check_listen(ServerSettings(state_dir=tmp_path, listen=anywhere))
    check_listen(ServerSettings(state_dir=tmp_path, listen=anywhere, auth_strategy="http_basic"))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, set()),
        ({"listen": ("0.0.0.0", 1), "auth_strategy": "http_basic"}, {"listen=0.0.0.0:1"}),
        ({"agent_listen": ("192.0.2.1", 2)}, {"agent_listen=192.0.2.1:2"}),
        (
            {
                "agent_listen": ("192.0.2.1", 2),
                "agent_tls": Tls(cert_file=Path("c"), key_file=Path("k")),
            },
            set(),
        ),
        ({"listen": ("127.0.0.2", 1), "auth_strategy": "keystone"}, set()),
    ],
)
def test_credentials_in_clear_text_are_warned_of(
    tmp_path: Path, given: dict[str, Any], named: set[str]
) -> None:
    with capture_logs() as logs:
        warn_of_clear_text(ServerSettings(state_dir=tmp_path, **given))
    assert {log["listener"] for log in logs} == named
