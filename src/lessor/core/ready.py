"""How far the ports of a host are: what a report says of them."""

from __future__ import annotations

from collections.abc import Mapping

from lessor.core.flat import Part
from lessor.core.state import DhcpServer, Tap
from lessor.model import PortReport


def port_reports(
    parts: tuple[Part, ...],
    taps: Mapping[str, Tap],
    servers: Mapping[str, DhcpServer],
    problems: Mapping[str, str],
    *,
    revisions: Mapping[str, int],
    guarded: bool,
) -> dict[str, PortReport]:
    """Return what this host can say of each port, by port id.

    Args:
        parts: what each network asks of this host.
        taps: the taps as they are.
        servers: the DHCP servers as they are: what each has loaded.
        problems: why a tap or DHCP server isn't as it should be, by its name.
        revisions: of the port rows that this was made from, by port id.
        guarded: the protection of all taps is in force.
    """
    reports: dict[str, PortReport] = {}
    for part in parts:
        for tap in part.taps:
            wired = guarded and taps.get(tap.name) == tap
            why = "" if wired else problems.get(tap.name, f"{tap.name} is not ready")
            revision = revisions.get(tap.port_id, 0)
            reports[tap.port_id] = PortReport(revision=revision, wired=wired, pending=why)
        server = servers.get(part.bridge.name)
        loaded = server.reservations if server else {}
        unloaded = problems.get(part.bridge.name, "its reservation is not loaded yet")
        for wanted in part.reservations:
            served = loaded.get(str(wanted.address)) == wanted
            known = reports.get(wanted.port_id, PortReport())
            reports[wanted.port_id] = PortReport(
                revision=revisions.get(wanted.port_id, 0),
                wired=known.wired,
                served=served,
                pending=known.pending or ("" if served else unloaded),
            )
    return reports


def news(said: Mapping[str, PortReport], now: Mapping[str, PortReport]) -> dict[str, PortReport]:
    """Return the reports that differ from what was said before."""
    return {key: report for key, report in now.items() if said.get(key) != report}
