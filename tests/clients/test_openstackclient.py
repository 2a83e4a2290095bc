"""The real `openstack` program against a real server process (issue 2, done-when 4)."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

OPENSTACK = Path(__file__).parents[2] / ".venv-clients" / "bin" / "openstack"
SERVER = """
import sys
from pathlib import Path
from lessor import logs
from lessor.api.server import serve
from lessor.settings import FlatMapping, ServerSettings
logs.setup(False)
mapping = FlatMapping(physical_network="physnet1", bridge="br100", interface="eth1")
any_port = ("127.0.0.1", 0)
serve(ServerSettings(state_dir=Path(sys.argv[1]), listen=any_port, agent_listen=any_port,
                     flat_mappings=(mapping,)))
"""

Openstack = Callable[..., Any]
pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(not OPENSTACK.exists(), reason="scripts/setup makes .venv-clients"),
]


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path)], stderr=subprocess.PIPE, text=True
    )
    assert server.stderr is not None
    try:
        line = next(line for line in server.stderr if "listening" in line)
        found = re.search(r"api=(\S+)", line)
        assert found
        yield f"http://{found[1]}"
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(10) == 0
        server.stderr.close()


@pytest.fixture
def openstack(endpoint: str, tmp_path: Path) -> Openstack:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OS_")}
    env = {**clean, "HOME": str(tmp_path), "no_proxy": "127.0.0.1"}

    def call(*args: str, output: bool = True) -> Any:
        argv = [str(OPENSTACK), "--os-auth-type", "none", "--os-endpoint", endpoint, *args]
        if output:
            argv += ["-f", "json"]
        done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 0, f"{args}: {done.stderr}"
        return json.loads(done.stdout) if output else None

    return call


def test_network_subnet_and_port_live_their_whole_lives(
    endpoint: str, openstack: Openstack
) -> None:
    host = {"host": {"name": "h1"}}
    assert httpx.post(f"{endpoint}/v2.0/hosts", json=host, trust_env=False).status_code == 201
    network = openstack(
        "network", "create", "blue", "--provider-network-type", "flat",
        "--provider-physical-network", "physnet1", "--mtu", "1400", "--description", "a net",
    )  # fmt: skip
    assert (network["name"], network["mtu"]) == ("blue", 1400)
    assert network["provider:physical_network"] == "physnet1"
    assert network["status"] == "ACTIVE"

    subnet = openstack(
        "subnet", "create", "blue4", "--network", "blue", "--subnet-range", "10.1.0.0/24",
        "--allocation-pool", "start=10.1.0.10,end=10.1.0.20", "--dns-nameserver", "10.1.0.5",
        "--host-route", "destination=10.9.0.0/16,gateway=10.1.0.9",
    )  # fmt: skip
    assert subnet["gateway_ip"] == "10.1.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.1.0.10", "end": "10.1.0.20"}]
    assert subnet["host_routes"] == [{"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"}]

    port = openstack(
        "port", "create", "vm1", "--network", "blue", "--fixed-ip",
        "subnet=blue4,ip-address=10.1.0.12", "--mac-address", "fa:16:3e:00:00:09",
        "--device", "vm-1", "--host", "h1", "--dns-name", "vm1",
        "--extra-dhcp-option", "name=ntp-server,value=10.1.0.3",
        "--allowed-address", "ip-address=10.1.0.0/28",
    )  # fmt: skip
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.1.0.12"}]
    assert port["mac_address"] == "fa:16:3e:00:00:09"
    assert port["binding_vif_type"] == "bridge"

    assert [row["Name"] for row in openstack("network", "list")] == ["blue"]
    assert openstack("network", "list")[0]["Subnets"] == [subnet["id"]]
    assert [row["Subnet"] for row in openstack("subnet", "list", "--network", "blue")] == [
        "10.1.0.0/24"
    ]
    listed = openstack("port", "list", "--network", "blue", "--fixed-ip", "ip-address=10.1.0.12")
    assert [row["Name"] for row in listed] == ["vm1"]
    assert openstack("port", "list", "--mac-address", "fa:16:3e:00:00:0a") == []

    openstack("network", "set", "blue", "--name", "azure", output=False)
    openstack("subnet", "set", "blue4", "--dns-nameserver", "10.1.0.6", output=False)
    openstack("port", "set", "vm1", "--name", "vm2", "--no-fixed-ip", output=False)
    openstack("port", "set", "vm2", "--fixed-ip", "subnet=blue4", output=False)
    openstack("port", "unset", "vm2", "--host", output=False)
    assert openstack("network", "show", "azure")["id"] == network["id"]
    assert openstack("subnet", "show", "blue4")["dns_nameservers"] == ["10.1.0.6", "10.1.0.5"]
    shown = openstack("port", "show", "vm2")
    assert len(shown["fixed_ips"]) == 1
    assert shown["binding_vif_type"] == "unbound"

    openstack("port", "delete", "vm2", output=False)
    openstack("subnet", "delete", "blue4", output=False)
    openstack("network", "delete", "azure", output=False)
    assert openstack("network", "list") == []


def test_what_the_client_asks_of_the_server_itself_is_answered(openstack: Openstack) -> None:
    aliases = {row["Alias"] for row in openstack("extension", "list", "--network")}
    assert {"provider", "binding", "agent"} <= aliases
    assert openstack("network", "agent", "list") == []


def test_refusals_reach_the_user_as_sentences(endpoint: str, openstack: Openstack) -> None:
    with pytest.raises(AssertionError, match="eth9"):
        openstack("network", "create", "x", "--provider-physical-network", "eth9")
