"""Which faults a campaign makes, and when: a pure function of the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SERVER, OTHER, DATABASE = "server", "other-server", "postgresql"
LEAST_S, MOST_S = 1.0, 15.0  # that a fault lasts
CALM_S, LONG_CALM_S = (2.0, 6.0), (12.0, 18.0)  # after a round
LONG_CALM_EVERY = 5  # rounds


@dataclass(frozen=True, slots=True)
class Step:
    """A fault, `after_s` the start of its round, for `lasts_s`; `keys`: reserved meanwhile."""

    kind: str
    target: str
    after_s: float
    lasts_s: float
    keys: frozenset[str]
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Round:
    """Faults that may overlap; then a time without any, in seconds."""

    steps: tuple[Step, ...]
    calm_s: float


@dataclass(frozen=True, slots=True)
class Fleet:
    """What there is to break."""

    network_hosts: tuple[str, ...]
    compute_hosts: tuple[str, ...]
    servers: tuple[str, ...]
    small_disks: tuple[str, ...]  # hosts whose agent's folder can be filled
    stepping: tuple[str, ...]  # nodes whose clock can be stepped
    postgresql: bool

    @property
    def hosts(self) -> tuple[str, ...]:
        return self.network_hosts + self.compute_hosts


PROGRAMS = ("agent", "dnsmasq", "ovs", "disk", "wan", "underlay", "clock")
Target = tuple[str, frozenset[str], tuple[str, ...]]  # name, keys, hosts


def kinds(fleet: Fleet) -> dict[str, Sequence[Target]]:
    """Return each kind of fault with its targets."""
    servers: list[Target] = [(name, frozenset({name}), ()) for name in fleet.servers]
    pairs: list[Target] = [
        (f"{a} {b}", frozenset({f"underlay@{a}", f"underlay@{b}"}), (a, b))
        for a in fleet.hosts for b in fleet.hosts if a != b
    ]  # fmt: skip

    def on(program: str, hosts: Sequence[str] = fleet.hosts, *more: str) -> list[Target]:
        return [(host, frozenset({f"{program}@{host}", *more}), (host,)) for host in hosts]

    whole: list[Target] = [
        (host, frozenset(f"{program}@{host}" for program in PROGRAMS), (host,))
        for host in fleet.hosts
    ]
    found: dict[str, Sequence[Target]] = {
        "server killed": servers,
        "server stopped": servers,
        "server's disk full": [(SERVER, frozenset({SERVER, "server's disk"}), ())],
        "agent killed": on("agent"),
        "agent stopped": on("agent"),
        "agent restarted, server away": on("agent", fleet.hosts, *fleet.servers),
        "agent's disk full": on("disk", fleet.small_disks),
        "dnsmasq killed": on("dnsmasq"),
        "dnsmasq's helper killed": on("dnsmasq"),
        "dnsmasq stopped": on("dnsmasq"),
        "ovs-vswitchd killed": on("ovs"),
        "ovs-vswitchd stopped": on("ovs"),
        "ovsdb-server killed": on("ovs"),
        "ovsdb-server stopped": on("ovs"),
        "power off": whole,
        "host cut off from server": on("wan"),
        "host's words lost": on("wan"),
        "server's words lost": on("wan"),
        "underlay cut": pairs,
        "underlay cut one way": pairs,
        "clock stepped": [
            (node, frozenset({f"clock@{node}", f"agent@{node}", node}), (node,))
            for node in fleet.stepping
        ],
    }
    if fleet.postgresql:
        found |= {
            kind: [(DATABASE, frozenset({DATABASE}), ())]
            for kind in ("postgresql restarted", "postgresql crashed")
        }
    return found


def rounds(seed: int, fleet: Fleet, pace: float = 1.0) -> Iterator[Round]:
    """Yield rounds for ever. Every kind comes once before any comes again.

    `pace`: all times are divided by it.
    """
    dice = random.Random(seed)  # noqa: S311 - it must be the same for the same seed
    known, waiting = kinds(fleet), list[str]()
    number = 0
    while True:
        steps: list[Step] = []
        taken: set[str] = set()
        for _ in range(dice.randint(1, 3)):
            if not waiting:
                waiting = sorted(known)
                dice.shuffle(waiting)
            kind = waiting[-1]
            free = [target for target in known[kind] if not taken & target[1]]
            if not free:
                break  # first in the next round
            waiting.pop()
            step = _step(kind, dice.choice(free), dice, pace)
            taken |= step.keys
            steps.append(step)
        number += 1
        calm = dice.uniform(*(CALM_S if number % LONG_CALM_EVERY else LONG_CALM_S))
        yield Round(tuple(steps), round(calm / pace, 1))


def _step(kind: str, target: Target, dice: random.Random, pace: float) -> Step:
    name, keys, hosts = target
    lasts, after = dice.uniform(LEAST_S, MOST_S) / pace, dice.uniform(0, 3) / pace
    return Step(kind, name, round(after, 1), round(lasts, 1), keys, hosts)
