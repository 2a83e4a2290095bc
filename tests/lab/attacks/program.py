"""All attacks, in the order in which they don't disturb one another."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.lab.attacks import (
    agents,
    floods,
    from_vms,
    hosts,
    listeners,
    metadata,
    projects,
    takeover,
    unknown_ports,
)
from tests.lab.attacks.attack import Attack, Outcome, run
from tests.lab.attacks.forged import FORGED
from tests.lab.attacks.scene import Mode, Scene, lab, scene
from tests.lab.attacks.world import world

S = TypeVar("S")
Runs = dict[str, list[Outcome]]  # by title


def in_a_lab(
    folder: Path,
    modes: Sequence[Mode],
    *,
    firewall: str,
    multi_host: bool,
    short: bool,
    dhcp: str = "dnsmasq",
) -> Runs:
    """Try what VMs can do, on a lab that is made for it."""
    runs: Runs = {}
    with lab(folder, firewall, dhcp) as made:
        for mode in modes:
            here = scene(made, mode, multi_host=multi_host and mode == "flat")
            title = f"{here.label}, {firewall}" if mode == "flat" else here.label
            title += "" if dhcp == "dnsmasq" else f", {dhcp}"
            runs[title] = list(on(here, short=short))
    return runs


def on(here: Scene, *, short: bool = False) -> Iterator[Outcome]:
    """Try what VMs can do on one network."""
    with one_cpu(), from_vms.aimed(here) as aimed:
        aimed.open_up(FORGED)
        yield from run(from_vms.attacks(aimed), aimed)
    with hosts.neighbourhood(here) as near:
        several = [*hosts.attacks(here), *floods.attacks()]
        yield from run(_chosen(several, short=short), near)
        with metadata.secrets(here):
            yield from run(_chosen(metadata.attacks(), short=short), near)
    yield from run(_chosen(takeover.attacks(here), short=short), here)
    if not short:
        with unknown_ports.life(here) as life:
            yield from run(unknown_ports.attacks(), life)


def at_the_api(database: str, *, short: bool) -> Runs:
    """Try what people and hosts can say to the server."""
    with world(database) as here:
        several = [*projects.attacks(), *listeners.attacks(), *agents.attacks()]
        return {f"API, {database}": list(run(_chosen(several, short=short), here))}


def _chosen(attacks: Iterable[Attack[S]], *, short: bool) -> list[Attack[S]]:
    return [one for one in attacks if not (short and one.slow)]


@contextmanager
def one_cpu() -> Iterator[None]:
    """Stay on one CPU: what is sent from it stays in order."""
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(former)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, former)
