"""The log names a DHCP server by its networks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from lessor.agent.dhcplog import label, log_incident
from lessor.agent.drivers.dhcp import Incident
from lessor.core.state import DhcpServer
from lessor.model import View
from tests.agent.drivers.dnsmasq_host import RANGE
from tests.core.plan.test_desired import scope

FLAT = DhcpServer("br100", "br100", (RANGE, replace(RANGE, network_id="n2")), {})
OVERLAY = replace(FLAT, name="n1", namespace="qdhcp-n1", ranges=(RANGE,))


def view(**names: str) -> View:
    made = scope("any", 1)
    return View(
        epoch="e",
        scopes={
            key: replace(made, network=replace(made.network, id=key, name=name))
            for key, name in names.items()
        },
    )


@pytest.mark.parametrize(
    ("server", "known", "text"),
    [
        pytest.param(FLAT, view(n1="office", n2="lab"), "office, lab (br100)", id="flat"),
        pytest.param(OVERLAY, view(n1="red"), "red", id="vxlan"),
        pytest.param(OVERLAY, view(n1=""), "n1", id="without-name"),
        pytest.param(OVERLAY, view(n9="other"), "n1", id="not-in-the-view"),
        pytest.param(FLAT, None, "br100", id="no-view"),
    ],
)
def test_a_server_is_named_by_its_networks(
    server: DhcpServer, known: View | None, text: str
) -> None:
    assert label(known, server) == text


@pytest.mark.parametrize(
    ("event", "level"), [("dhcp server died", "warning"), ("dhcp server restarted", "info")]
)
def test_an_incident_is_logged_with_its_networks(event: str, level: str) -> None:
    with capture_logs() as logs:
        log_incident("net1", Incident(event, "br100", "office (br100)", {"why": "signal SIGKILL"}))
    assert logs == [
        {
            "event": event,
            "log_level": level,
            "host": "net1",
            "network": "office (br100)",
            "server": "br100",
            "why": "signal SIGKILL",
        }
    ]
