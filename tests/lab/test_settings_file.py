from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from lessor.lab.settings_file import agent_flags, network_hosts, settings_text, shared_flags
from lessor.lab.state import HostSpec

NET1, NET2 = (HostSpec(name=name, network_host=True) for name in ("net1", "net2"))
CMP1 = HostSpec(name="cmp1", flags={"my_ip": "192.0.2.99"})
ADDRESS = IPv4Address("192.0.2.11")


def test_sections_and_repeated_options_are_laid_out() -> None:
    text = settings_text({"a": "1", "database/connection": "x"}, {"a": "2", "dns_server": "p\nq"})
    assert text == "[DEFAULT]\na = 2\ndns_server = p\ndns_server = q\n[database]\nconnection = x\n"


@pytest.mark.parametrize(
    ("hosts", "shared", "of_compute"),
    [
        pytest.param([NET1, CMP1], "net1", "net1", id="one-network-host"),
        pytest.param([NET1, NET2, CMP1], None, "net1", id="the-first-to-come"),
        pytest.param([CMP1], None, None, id="none"),
    ],
)
def test_only_network_hosts_may_own_networks(
    hosts: list[HostSpec], shared: str | None, of_compute: str | None
) -> None:
    everybody = shared_flags(hosts)
    assert everybody.get("network_host") == shared
    told = everybody | agent_flags(CMP1, ADDRESS, network_hosts(hosts))
    assert told.get("network_host") == of_compute


def test_a_hosts_own_flags_win() -> None:
    assert agent_flags(CMP1, ADDRESS, [])["my_ip"] == "192.0.2.99"
