"""Everything is broken again and again, and what must hold whatever fails is checked.

By environment variables: LESSOR_CAMPAIGN_SEED (1), LESSOR_CAMPAIGN_MINUTES (30), both for the long
one, and LESSOR_CAMPAIGN_REPORT, a file that the report is added to; of a run that fails, all logs
and what was seen on hosts while a VM had no answer are kept beside it, in a folder of its name with
`.logs`.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest

from lessor.lab.services import SERVER
from tests.campaign import invariants, verdict
from tests.campaign.api import GivenUp
from tests.campaign.campaign import Campaign, campaign
from tests.campaign.history import Result, result
from tests.campaign.report import report

pytestmark = pytest.mark.lab

SEED = int(os.environ.get("LESSOR_CAMPAIGN_SEED", "1"))
MINUTES = float(os.environ.get("LESSOR_CAMPAIGN_MINUTES", "30"))
REPORT = os.environ.get("LESSOR_CAMPAIGN_REPORT", "")
SHORT_S, SHORT_SEED, SHORT_PACE = 30.0, 1, 4.0


def test_a_short_campaign_of_faults_breaks_no_invariant(tmp_path: Path) -> None:
    run_campaign(tmp_path, "sqlite", SHORT_SEED, SHORT_S, SHORT_PACE)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_a_campaign_of_faults_breaks_no_invariant(tmp_path: Path, engine: str) -> None:
    run_campaign(tmp_path, engine, SEED, MINUTES * 60)


def run_campaign(folder: Path, engine: str, seed: int, seconds: float, pace: float = 1.0) -> None:
    title = f"Campaign: {engine}, seed {seed}, {seconds / 60:.1f} minutes"
    sys.stdout.write(f"{title}\n")
    began = time.monotonic()
    with campaign(folder / "lab", engine) as run:
        facts: dict[str, object] = {}
        results: list[Result] = []
        try:
            run.break_things(seed, seconds, pace)
            _judge(run, facts, results)
        except GivenUp:
            words = [run.lab.node(SERVER).last_words(SERVER)]
            results.append(result("a server answers within two minutes", 1, words))
            run.stop()
        results[:0] = verdict.dhcp(run)
        results += verdict.worked(run)
        seen = run.history.ports, run.history.sightings
        former = sum(1 for _ in invariants.former_answers(*seen))
        stale = sum(1 for _ in invariants.stale_answers(*seen, run.history.nics))
        late = invariants.asked_too_late(run.history.ports, run.history.exchanges)
        facts |= {
            "times count from": _told(time.time() - time.monotonic()),
            "whole run": f"{time.monotonic() - began:.0f} s",
            "lives of VMs": len(run.history.spans),
            "ARP answered with the MAC of a port that was deleted": former,
            "of these, by flows of a host that did not know it yet": stale,
            "asked by a VM whose address had a new port": late,
            "load": f"{os.getloadavg()[0]:.1f}",
        }
        text = report(title, run.history, results, facts)
        _publish(text)
        broken = [f"{one.invariant}: {line}" for one in results for line in one.violations]
        if REPORT and broken:
            shutil.copytree(run.lab.folder / "log", f"{REPORT}.logs", dirs_exist_ok=True)
    assert not broken, "\n".join(broken[:50])


def _judge(run: Campaign, facts: dict[str, object], results: list[Result]) -> None:
    converged_s, converged = verdict.convergence(run)
    facts["convergence"] = f"{converged_s:.1f} s"
    logs = verdict.log_sizes(run)
    results += [converged, verdict.leases(run), *verdict.store(run)]
    results += verdict.addresses(run, facts)
    results += verdict.hosts(run, logs)
    run.stop()


def _told(wall: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))


def _publish(text: str) -> None:
    sys.stdout.write(text)
    if REPORT:
        with Path(REPORT).open("a") as file:
            file.write(text + "\n")
