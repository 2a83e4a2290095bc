"""Attacks on what docs/reference/security.md promises: a short part each time, all with --long."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from tests.lab.attacks import from_vms, program, table
from tests.lab.attacks.attack import Attack, Outcome, Tally, Verdict, judge, run
from tests.lab.attacks.forged import FORGED, Forged
from tests.lab.attacks.program import Runs
from tests.lab.attacks.scene import Mode, Scene, lab, scene


def holds(runs: Runs) -> None:
    for title, outcomes in runs.items():
        sys.stdout.write(table.table(title, outcomes) + "\n")
    bad = [
        f"{title}: {one.attack.name}: {one.verdict.value} {one.tally}"
        for title, outcomes in runs.items()
        for one in outcomes
        if not one.good
    ]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize(
    ("tally", "verdict"),
    [
        pytest.param(Tally(9, 0, 2, 2), Verdict.HELD, id="nothing-passed"),
        pytest.param(Tally(9, 1, 2, 2), Verdict.NOT_HELD, id="one-passed"),
        pytest.param(Tally(9, 0, 2, 1), Verdict.UNPROVEN, id="a-control-did-not"),
        pytest.param(Tally(9, 0, 0, 0), Verdict.UNPROVEN, id="no-control"),
        pytest.param(Tally(0, 0, 1, 1), Verdict.UNPROVEN, id="nothing-tried"),
        pytest.param(Tally(9, 5, 1, 1, allowed=5), Verdict.HELD, id="within-the-limit"),
        pytest.param(Tally(9, 6, 1, 1, allowed=5), Verdict.NOT_HELD, id="over-the-limit"),
    ],
)
def test_silence_alone_is_not_taken_for_held(tally: Tally, verdict: Verdict) -> None:
    assert judge(tally) is verdict


def test_an_attempt_that_fails_is_no_success_and_the_next_is_tried() -> None:
    def broken(_: None) -> Tally:
        raise OSError("no such device")

    good: Attack[None] = Attack("good", "1", "p", lambda _: Tally(1, 0, 1, 1))
    outcomes = list(run([Attack("broken", "", "p", broken), good], None))
    assert [one.verdict for one in outcomes] == [Verdict.FAILED, Verdict.HELD]
    text = table.table("run", outcomes)
    assert "no such device" in text and "2 attacks, 1 not shown to be held off" in text


@pytest.mark.lab
def test_a_short_part_of_the_attacks_on_networks_is_held_off(tmp_path: Path) -> None:
    modes: list[Mode] = ["flat", "vxlan"]
    holds(
        program.in_a_lab(tmp_path / "lab", modes, firewall="nftables", multi_host=False, short=True)
    )


def test_a_short_part_of_the_attacks_on_the_api_is_held_off() -> None:
    holds(program.at_the_api("sqlite", short=True))


@pytest.mark.lab
@pytest.mark.long
@pytest.mark.parametrize("multi_host", [False, True], ids=["single-host", "multi-host"])
@pytest.mark.parametrize("firewall", ["nftables", "iptables"])
def test_all_attacks_on_flat_networks_are_held_off(
    tmp_path: Path, firewall: str, multi_host: bool
) -> None:
    flat: list[Mode] = ["flat"]
    holds(
        program.in_a_lab(
            tmp_path / "lab", flat, firewall=firewall, multi_host=multi_host, short=False
        )
    )


@pytest.mark.lab
@pytest.mark.long
def test_all_attacks_on_vxlan_networks_are_held_off(tmp_path: Path) -> None:
    vxlan: list[Mode] = ["vxlan"]
    holds(
        program.in_a_lab(
            tmp_path / "lab", vxlan, firewall="nftables", multi_host=False, short=False
        )
    )


@pytest.mark.long
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_all_attacks_on_the_api_are_held_off(database: str) -> None:
    holds(program.at_the_api(database, short=False))


@pytest.fixture(scope="module")
def open_scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A scene whose attacker and its peers have no port security."""
    with lab(tmp_path_factory.mktemp("open") / "lab") as made:
        here = scene(made, "flat")
        for vm in (here.attacker, here.neighbour, here.remote):
            made.api.update("ports", vm.state.port_id, {"port_security_enabled": False})
        yield here


@pytest.mark.lab
@pytest.mark.long
def test_the_program_sees_what_passes(open_scene: Scene) -> None:
    """Without guards each kind of frame is counted as passed, but for those of no bridge's."""
    with program.one_cpu(), from_vms.aimed(open_scene) as aimed:
        tried = [one for one in FORGED if "flat" not in one.unheard]
        open_scene.lab.wait_for(partial(_all_pass, aimed, tried), 30, "no port is guarded")


def _all_pass(aimed: from_vms.Range, tried: Sequence[Forged]) -> bool:
    outcomes: list[Outcome] = list(run(from_vms.attacks(aimed, tried), aimed))
    return all(one.verdict is Verdict.NOT_HELD for one in outcomes)
