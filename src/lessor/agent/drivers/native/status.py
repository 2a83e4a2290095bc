"""Reads a server's status from lessor-dhcpd, as an operator's command does: without a driver."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from lessor.core.diagnosis.dhcp import DhcpStatus
from lessor.core.state import DhcpServer, Reservation
from lessor.dhcpd.client import Dhcpd
from lessor.errors import LessorError
from lessor.wire import decode

PROGRAM = "lessor-dhcpd"


def status(process: Dhcpd, folder: Path, server: DhcpServer) -> DhcpStatus:
    """Return the status of a server.

    Args:
        process: not connected; it is connected meanwhile.
        folder: of the process.
        server: as it should be.
    """
    pid, hears, reservations = 0, False, frozenset[tuple[str, str]]()
    with closing(process):
        try:
            welcome = process.join()
            state = {one.name: one for one in welcome.servers}.get(server.name) if welcome else None
            if welcome and state:
                _, texts = process.dump(server.name)
                found = [decode(text, Reservation) for text in texts.values()]
                reservations = frozenset((one.mac, str(one.address)) for one in found)
                pid, hears = welcome.pid, state.attached
        except (LessorError, OSError):
            pid, hears = 0, False
    deaf = "" if hears else f", does not hear {server.interface}"
    return DhcpStatus(
        program=PROGRAM,
        process=f"pid {pid}{deaf}" if pid else "",
        serves=hears,
        process_command="ps -ef | grep -- lessor.dhcpd",
        reservations=reservations,
        store=(f"{PROGRAM}'s table", str(folder)),
        reservations_command=f"lessor agent reservations {server.name}",
    )
