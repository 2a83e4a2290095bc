"""Problems of a host: which networks and ports each concerns, and since when it stands."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from lessor.core.plan.desired import Desired
from lessor.model import Problem

MAXIMUM = 200  # problems in a report; the rest is counted
MAXIMUM_TEXT = 500  # characters
MAXIMUM_IDS = 20  # networks, and ports, that one problem names
_NUMBERS = re.compile(r"\d+")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

_Identity = tuple[str, tuple[str, ...], tuple[str, ...], int]


class Since:
    """Remembers since when problems stand. A problem that goes and returns starts again."""

    def __init__(self) -> None:
        self._since: dict[_Identity, float] = {}

    def stamped(self, found: Iterable[Problem], now: float) -> tuple[Problem, ...]:
        """Return the problems of a report, with times; what waits comes after what failed.

        Args:
            found: all that stand now; one without `seen` was seen now.
            now: seconds since 1970.
        """
        before, self._since = self._since, {}
        counts: Counter[tuple[str, tuple[str, ...], tuple[str, ...]]] = Counter()
        stamped = []
        for problem in dict.fromkeys(_bounded(one) for one in found):
            key = problem.key or _NUMBERS.sub("#", problem.text)
            one = key, problem.networks, problem.ports
            identity = (*one, counts[one])
            counts[one] += 1
            seen = problem.seen or now
            since = self._since[identity] = before.get(identity, problem.since or seen)
            stamped.append(replace(problem, key=key[:MAXIMUM_TEXT], since=since, seen=seen))
        return limited(sorted(stamped, key=lambda one: one.waits))


def limited(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return at most `MAXIMUM` problems; the last one says how many more there are."""
    some = tuple(_bounded(one) for one in problems)
    if len(some) <= MAXIMUM:
        return some
    kept, rest = some[: MAXIMUM - 1], some[MAXIMUM - 1 :]
    more = f"{len(rest)} more problems; the agent's log has them"
    since, seen = min(one.since for one in rest), max(one.seen for one in rest)
    return (*kept, Problem(text=more, key="more", since=since, seen=seen))


def _bounded(problem: Problem) -> Problem:
    text = problem.text
    if len(text) > MAXIMUM_TEXT:  # the cause is often at the end: a program's last words
        half = MAXIMUM_TEXT // 2
        text = f"{text[: half - 1]} … {text[-half + 2 :]}"
    networks, ports = problem.networks[:MAXIMUM_IDS], problem.ports[:MAXIMUM_IDS]
    return replace(problem, text=text, networks=networks, ports=ports)


class Concerned:
    """Finds the networks and ports that a text or the name of a thing is about."""

    def __init__(self, desired: Desired) -> None:
        self._networks: dict[str, set[str]] = {}  # by the name of a thing
        self._ports: dict[str, str] = {}  # by the name of a thing
        for plan in desired.plans:
            state = plan.state
            things = (*state.bridges, *state.addresses, *state.ovs_bridges, *state.namespaces)
            taps = [(tap.port_id, tap.name) for tap in state.taps.values()]
            self._add(plan.network.id, things, [*taps, *plan.own_ports])

    def _add(self, network: str, things: Iterable[str], ports: Iterable[tuple[str, str]]) -> None:
        for name in (network, *things):
            self._networks.setdefault(name, set()).add(network)
        for port_id, name in ports:
            for key in (port_id, name):
                self._ports[key] = port_id
                self._networks.setdefault(key, set()).add(network)

    def named(self, problem: Problem, thing: str = "") -> Problem:
        """Return a problem with the networks and ports of a thing, and of those its text names."""
        if problem.networks or problem.ports:
            return problem
        names = [thing, *_UUID.findall(problem.text)]
        networks = tuple(dict.fromkeys(one for name in names for one in self._networks_of(name)))
        ports = tuple(dict.fromkeys(self._ports[name] for name in names if name in self._ports))
        return replace(problem, networks=networks, ports=ports)

    def _networks_of(self, name: str) -> Iterator[str]:
        yield from sorted(self._networks.get(name, ()))


def problem_of(found: str | Problem) -> Problem:
    """Return a problem, which may be given as a bare text."""
    return found if isinstance(found, Problem) else Problem(text=found)
