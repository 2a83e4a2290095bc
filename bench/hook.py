"""One lease event through `lessor-dhcpbridge`, against a program that does nothing.

dnsmasq waits for its script at each event, so what it costs is what a DHCP server can't do.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench.figure import Figure, Limit, Peer
from lessor.agent.drivers.dnsmasq.hook import HOOK

TRUE = "/bin/true"
THREE_TIMES = Limit(3, of_ratio=True)
EVENT = ("old", "fa:16:3e:00:00:01", "10.64.0.2", "vm1")


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the median cost of an event, against /bin/true called in turns with it."""
    n = 500 if quick else 2000
    with tempfile.TemporaryDirectory(prefix="lessor-bench-") as folder:
        environ = _environ(Path(folder))
        argv = [str(HOOK), *EVENT]
        ours, peer = [], []
        for _ in range(n):
            ours.append(_spawned(argv, environ))
            peer.append(_spawned([TRUE], environ))
        _check(Path(environ["LESSOR_SPOOL"]), n)
    yield Figure(
        what="lease event through the hook, median",
        value=median(ours) * 1000,
        unit="ms",
        n=n,
        peer=Peer(TRUE, median(peer) * 1000),
        expected=THREE_TIMES,
    )


def _environ(folder: Path) -> dict[str, str]:
    """Return what dnsmasq 2.90 gives its script, and what the agent adds."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "LESSOR_SPOOL": str(folder / "current"),
        "LESSOR_INSTANCE": "br100",
        "LESSOR_LEASES": str(folder / "leases"),
        "LESSOR_ALARM": str(folder / "alarm"),
        "DNSMASQ_INTERFACE": "br100",
        "DNSMASQ_LEASE_EXPIRES": "1800000000",
        "DNSMASQ_TIME_REMAINING": "86400",
        "DNSMASQ_SUPPLIED_HOSTNAME": "vm1",
        "DNSMASQ_TAGS": "known br100",
    }


def _spawned(argv: list[str], environ: dict[str, str]) -> float:
    """Return the seconds from the start of a program to its end."""
    started = time.perf_counter()
    pid = os.posix_spawn(argv[0], argv, environ)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    taken = time.perf_counter() - started
    if status:
        raise RuntimeError(f"{argv[0]}: exit {status}")
    return taken


def _check(spool: Path, n: int) -> None:
    """Make sure that every event was spooled: else something else was measured."""
    spooled = sum(1 for line in spool.read_text().splitlines() if line)
    if spooled != n:
        raise RuntimeError(f"{spool}: {spooled} lines for {n} events")
