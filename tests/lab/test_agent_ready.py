"""What systemd is told of an agent: it has started when the taps of its last view are there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lessor.lab.lab import Lab
from lessor.lab.services import AGENT, LESSOR, SERVER
from lessor.lab.state import HostSpec

pytestmark = pytest.mark.lab

LIMIT_S = 60
HOST = "h1"


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab.up(
        tmp_path_factory.mktemp("ready") / "lab", [HostSpec(name=HOST, network_host=True)]
    )
    yield made
    made.down()


@contextmanager
def started(lab: Lab) -> Iterator[socket.socket]:
    """Start an agent as systemd does; give the socket that it tells it at."""
    node = lab.node(HOST)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(f"{node.root}/run/notify")
        told.settimeout(LIMIT_S)
        process = node.spawn("noticed", "env", "NOTIFY_SOCKET=/run/notify", LESSOR, "agent")
        yield told
        node.kill(process)


def test_an_agent_has_started_when_the_taps_of_its_last_view_are_there(lab: Lab) -> None:
    network = lab.network("blue", "10.50.0.0/24")
    profile = {"binding:profile": {"tap": "managed"}, "binding:host_id": HOST}
    port = lab.api.create("ports", {"network_id": network.id, **profile})
    node, name = lab.node(HOST), port["binding:vif_details"]["tap_name"]
    tap = node.root / "sys/class/net" / name
    lab.wait_for(tap.exists, LIMIT_S, "the agent makes the tap")
    for host, what in ((HOST, AGENT), (SERVER, SERVER)):
        lab.kill(host, what)
    lab.exec(HOST, "ip", "link", "del", name)

    with started(lab) as told:
        assert told.recv(100) == b"READY=1"
        assert tap.exists()


def test_an_agent_without_a_view_starts_without_a_server(lab: Lab) -> None:
    for host, what in ((HOST, AGENT), (SERVER, SERVER)):
        lab.kill(host, what)
    lab.exec(HOST, "rm", "-rf", "/var/lib/lessor/agent")
    with started(lab) as told:
        assert told.recv(100) == b"READY=1"
