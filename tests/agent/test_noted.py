from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest

from lessor.agent import noted as module
from lessor.agent.noted import FILE, note, noted
from lessor.settings import AgentSettings, FlatMapping

SECRET = "hush"
SETTINGS = AgentSettings(
    state_dir=Path("/var/lib/lessor-agent"),
    host="h1",
    my_ip=IPv4Address("192.0.2.1"),
    local_ip=IPv6Address("2001:db8::1"),
    server_cafile=Path("/etc/ca.pem"),
    flat_mappings=(FlatMapping(physical_network="p", bridge="br100", interface=None),),
    dmz_cidr=(IPv4Network("198.51.100.0/24"),),
    gateway_firewall="iptables",
)


def test_settings_come_back_as_they_were(tmp_path: Path) -> None:
    note(tmp_path, SETTINGS)
    assert noted(tmp_path) == SETTINGS


def test_the_secret_is_not_kept(tmp_path: Path) -> None:
    values = {name: getattr(SETTINGS, name) for name in AgentSettings.__dataclass_fields__}
    note(tmp_path, AgentSettings(**values | {"metadata_proxy_shared_secret": SECRET}))
    assert SECRET not in (tmp_path / FILE).read_text()
    assert noted(tmp_path) == SETTINGS


@pytest.mark.parametrize("text", ["", "{}", '{"state_dir": 1}', None])
def test_what_can_t_be_read_is_not_known(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / FILE).write_text(text)
    assert noted(tmp_path) is None


def test_on_a_full_disk_no_former_run_s_settings_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note(tmp_path, SETTINGS)

    def full(path: Path, content: bytes, *, durable: bool) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(module, "atomic_write", full)
    note(tmp_path, SETTINGS)
    assert not (tmp_path / FILE).exists()
