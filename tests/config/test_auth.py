"""Settings of who may do what, and of TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lessor.cli.up import own_server
from lessor.config.load import load_agent, load_server
from lessor.errors import ConfigError
from lessor.settings import ServerSettings, Tls

FILE = """
[DEFAULT]
auth_strategy = keystone
listen = 0.0.0.0:9696
[keystone_authtoken]
auth_type = password
auth_url = http://keystone:5000
password = a-secret
password = the-last-secret
[oslo_policy]
policy_file = /etc/lessor/policy.yaml
[ssl]
cert_file = /a/cert.pem
key_file = /a/key.pem
agent_ca_file = /a/ca.pem
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "lessor.conf"
    made.write_text(FILE)
    return made


def test_keystones_section_is_handed_on_as_it_is(
    file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = load_server([file], {"keystone_authtoken.username": "lessor"})
    assert settings.keystone_authtoken == {
        "auth_type": "password",
        "auth_url": "http://keystone:5000",
        "password": "the-last-secret",
        "username": "lessor",
    }
    assert "secret" not in repr(settings)
    said = capfd.readouterr()
    assert "keystone_authtoken" not in said.out + said.err  # none of its options is ignored
    assert settings.policy_file == Path("/etc/lessor/policy.yaml")


def test_each_listener_has_its_own_idea_of_its_clients(file: Path) -> None:
    settings = load_server([file])
    files = {"cert_file": Path("/a/cert.pem"), "key_file": Path("/a/key.pem")}
    assert settings.tls == Tls(**files)
    assert settings.agent_tls == Tls(**files, ca_file=Path("/a/ca.pem"))
    assert load_server([], {"state_dir": "/s"}).tls is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"auth_strategy": "http_basic"}, "needs http_basic_auth_user_file"),
        ({"auth_strategy": "keystone"}, "needs .keystone_authtoken. with auth_type"),
        ({"auth_strategy": "ldap"}, "auth_strategy='ldap'"),
        ({"ssl.cert_file": "/a"}, "one needs the other"),
        ({"ssl.ca_file": "/a"}, "without them there is no TLS"),
    ],
)
def test_what_lacks_something_is_refused(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_server([], said)


def test_an_agent_has_what_it_looks_at_the_server_with() -> None:
    said = {"server_cafile": "/a/ca.pem", "server_insecure": "false", "host": "h1"}
    settings = load_agent([], said)
    assert (settings.server_cafile, settings.server_insecure) == (Path("/a/ca.pem"), False)


def test_the_server_beside_the_agent_is_asked_as_it_listens(tmp_path: Path) -> None:
    tls = Tls(cert_file=Path("/a"), key_file=Path("/b"))
    plain = ServerSettings(state_dir=tmp_path)
    assert own_server(plain) == {"server_url": "http://127.0.0.1:9697"}
    with_tls = ServerSettings(state_dir=tmp_path, agent_tls=tls)
    assert own_server(with_tls)["server_url"] == "https://127.0.0.1:9697"
