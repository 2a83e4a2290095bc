"""What a VM without an answer looks like on its hosts: kept, since the lab is gone afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from lessor.errors import LessorError
from lessor.lab.lab import FABRIC, Lab
from lessor.lab.services import LESSOR, SERVER
from tests.campaign.guest import Control, Guest

SUSPECT_S = 40.0  # without an answer: more than the longest fault and a fail-over
LOOK_S = 2.0
AT_MOST = 6  # looks at the hosts: each takes seconds of their time

ON_HOSTS = (
    "ip -br addr; ip neigh; ps -eo pid,ppid,stat,etime,args | grep -v 'ps -eo'",
    "for b in br-int br-tun br-phy; do echo == $b; ovs-ofctl -O OpenFlow14 dump-flows $b; done",
    "ovs-vsctl show; ovs-appctl fdb/show br-phy; ovs-appctl tnl/neigh/show; ovs-appctl tnl/ports/show",
    "ovs-appctl ovs/route/show; ovs-appctl dpctl/dump-flows; ip netns; nft list ruleset",
    "tail -n 50 /var/lib/lessor/networks/*/reservations",
)


class Witness(threading.Thread):
    """Looks at the hosts while a VM gets no answer for long, whatever the verdict will be.

    Args:
        folder: gets a folder for each look, named after the VM and the time in seconds.
    """

    def __init__(self, lab: Lab, guests: Sequence[Guest], control: Control, folder: Path) -> None:
        super().__init__(name="witness", daemon=True)
        self._lab, self._guests, self._control, self._folder = lab, guests, control, folder
        self._seen: set[str] = set()

    def run(self) -> None:
        while not self._control.over.wait(LOOK_S) and len(self._seen) < AT_MOST:
            for guest in self._guests:
                port, last = guest.port, guest.last
                if port is None or last is None or last.mac != port.mac or port.mac in self._seen:
                    continue
                if time.monotonic() - last.ended > SUSPECT_S:
                    self._seen.add(port.mac)
                    collect(self._lab, self._folder / f"{guest.name}-{time.monotonic():.0f}")


def collect(lab: Lab, folder: Path) -> None:
    """Write what each host and the server say now into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for host in lab.hosts:
        parts = [_said(lab, host, words) for words in ON_HOSTS]
        (folder / f"{host}-evidence.txt").write_text("\n".join(parts))
    parts = [
        _said(lab, SERVER, f"{LESSOR} status; {LESSOR} port list"),
        _said(lab, FABRIC, "nft list ruleset; ip -br link; bridge fdb"),
    ]
    (folder / "lab-evidence.txt").write_text("\n".join(parts))


def _said(lab: Lab, node: str, words: str) -> str:
    try:
        return f"# {words}\n{lab.exec(node, 'sh', '-c', f'({words}) 2>&1 || true')}"
    except LessorError as error:
        return f"# {words}\n{error}"
