"""Makes bundles of flow changes for ovs-ofctl out of lines with port names.

Ours are the flows with our cookie; others, and those that OVS learned from a flow of ours, are
left alone. One table can't have two flows of the same priority and match: there ours takes the
place of another's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

COOKIE = "0x4c6573736f720000"  # "Lessor" and two zeros
OURS = f"cookie={COOKIE}/-1"
# ovs-ofctl(8), Port names
RESERVED = frozenset(
    ("IN_PORT", "TABLE", "NORMAL", "FLOOD", "ALL", "CONTROLLER", "LOCAL", "ANY", "NONE", "UNSET")
)
# after the name no "[": that is a field ("output:NXM_OF_IN_PORT[]")
_IN_PORT = re.compile(r'\bin_port="?([A-Za-z_][\w.-]*+)"?(?!\[)')
_OUTPUT = re.compile(r'\boutput:"?([A-Za-z_][\w.-]*+)"?(?!\[)')
_LEARN = re.compile(r"\blearn\([^)]*\bcookie=(\w+)")
_METER = re.compile(r"\bmeter:([A-Za-z_][\w.-]*+),?")
_ACTIONS = "actions="


def renamed(lines: Iterable[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Return the lines with other port names where `names` has one."""

    def real(found: re.Match[str]) -> str:
        return found[0].replace(found[1], names.get(found[1], found[1]))

    patterns = (_IN_PORT, _OUTPUT, _METER)

    def whole(line: str) -> str:
        for pattern in patterns:
            line = pattern.sub(real, line)
        return line

    return tuple(map(whole, lines))


def metered(bundle: str, numbers: Mapping[str, int]) -> tuple[str, set[int]]:
    """Return a bundle with the numbers of its meters, and these: a port's own is that of its meter.

    A flow whose port has no number goes without a meter; so do all, if there are no numbers.
    """
    found: set[int] = set()

    def number(meter: re.Match[str]) -> str:
        if meter[1] not in numbers:
            return ""
        found.add(numbers[meter[1]])
        return meter[0].replace(meter[1], str(numbers[meter[1]]))

    return _METER.sub(number, bundle), found


def resolvable(
    lines: Iterable[str], present: Collection[str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return the lines without ports that are missing, and how many lines miss each.

    A line about what comes from a missing port is left out; an output to one is left out of its
    line, and the rest of the line stays: what it keeps from other ports is still kept from them.
    """
    kept: list[str] = []
    missing: dict[str, int] = {}
    for line in lines:
        match, _, actions = line.partition(_ACTIONS)
        absent = _ports(_IN_PORT, match) - set(present)
        unreachable = _ports(_OUTPUT, actions) - set(present)
        for name in absent | unreachable:
            missing[name] = missing.get(name, 0) + 1
        if not absent:
            kept.append(f"{match}{_ACTIONS}{_without(actions, unreachable)}")
    return tuple(kept), missing


def replacement(lines: Iterable[str]) -> str:
    """Return a bundle that leaves these of our flows and no other, and nothing learned."""
    known = tuple(lines)
    gone = [f"delete {OURS}", *_forget_learned(known)]
    return "\n".join((*gone, *map(_added, known), ""))


def changes(old: Iterable[str], new: Iterable[str]) -> str:
    """Return a bundle that turns the flows `old` into `new`; others keep their counters.

    When a tunnel's network is another, or a port's frames teach no more, what was learned may be
    wrong, and goes.
    """
    was, now = dict.fromkeys(old), dict.fromkeys(new)
    matches = {_match(line) for line in now}
    gone = [line for line in was if line not in now]
    lines = [f"delete_strict {OURS},{_match(line)}" for line in gone if _match(line) not in matches]
    if any("tun_id=" in line or "learn(" in line for line in gone):
        lines += _forget_learned((*was, *now))
    lines += [_added(line) for line in now if line not in was]
    return "\n".join((*lines, "")) if lines else ""


def count(lines: Iterable[str]) -> int:
    """Return how many flows a switch has of these: one for each table, priority and match."""
    return len(set(map(_match, lines)))


def _forget_learned(lines: Iterable[str]) -> list[str]:
    cookies = sorted({cookie for line in lines for cookie in _LEARN.findall(line)})
    return [f"delete cookie={cookie}/-1" for cookie in cookies]


def _added(line: str) -> str:
    return f"add cookie={COOKIE},{line}"


def _match(line: str) -> str:
    return line.partition(_ACTIONS)[0].rstrip(", ")


def _ports(pattern: re.Pattern[str], text: str) -> set[str]:
    return {name for name in pattern.findall(text) if name.upper() not in RESERVED}


def _without(actions: str, ports: Collection[str]) -> str:
    if not ports:
        return actions
    left = _OUTPUT.sub(lambda found: "" if found[1] in ports else found[0], actions)
    return re.sub(r",{2,}", ",", left).strip(",") or "drop"
