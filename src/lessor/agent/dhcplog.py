"""Logs what happens to DHCP servers, with the networks that they serve."""

from __future__ import annotations

import structlog

from lessor.agent.drivers.dhcp import Incident
from lessor.core.state import DhcpServer
from lessor.model import View


def log_incident(host: str, incident: Incident) -> None:
    """Log an incident: a warning, or that the server serves again."""
    log = structlog.get_logger().bind(host=host)
    say = log.info if incident.event.endswith("restarted") else log.warning
    say(incident.event, network=incident.label, server=incident.server, **incident.fields)


def label(view: View | None, server: DhcpServer) -> str:
    """Return the names of a server's networks; the server's own where the view has none of them."""
    scopes = view.scopes if view else {}
    ids = dict.fromkeys(one.network_id for one in server.ranges)
    names = [scopes[key].network.name or key for key in ids if key in scopes]
    if not names:
        return server.name
    where = "" if server.namespace else f" ({server.name})"
    return ", ".join(names) + where
