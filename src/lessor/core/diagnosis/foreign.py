"""Finds filter rules of other programs that would drop what VMs send.

Every base chain of a hook must let a packet pass, so each is walked by itself with the packet
that matters. Rules are judged true, false or unsure. Only what surely drops is named: an accept
that may match counts as one, a drop that may match doesn't.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Packet:
    """What is known of a packet; None is anything. Its connection is new."""

    hook: str  # "input" or "forward"
    iif: str | None = None
    oif: str | None = None
    protocol: str = "tcp"
    sport: int = 50000
    dport: int = 443

    def port(self, which: str) -> int:
        """Return the port that `sport` or `dport` names."""
        return self.sport if which == "sport" else self.dport


@dataclass(frozen=True, slots=True)
class Step:
    """What a rule does with the packet at hand.

    `matches` None: unknown. `verdict`: accept, drop, return, jump, goto, or "" for none.
    """

    matches: bool | None
    verdict: str = ""
    target: str = ""


@dataclass(slots=True)
class BaseChain:
    """A chain that the kernel calls, with all chains of its table."""

    label: str  # "nft inet filter forward", "iptables FORWARD"
    hook: str
    policy: str  # "accept" or "drop"
    name: str
    chains: Mapping[str, Sequence[object]] = field(default_factory=dict)  # rules, unread
    family: str = "ip"


def fate(base: BaseChain, steps: Mapping[str, Sequence[Step]]) -> str:
    """Return "accept" or "drop": what surely becomes of a packet, its rules read as `steps`."""
    return _walk(base.name, steps, depth=0) or base.policy


def all_of(conditions: Sequence[bool | None]) -> bool | None:
    """Return whether all conditions hold; None: unknown."""
    if False in conditions:
        return False
    return None if None in conditions else True


def interface_is(name: str | None, pattern: str) -> bool | None:
    """Compare an interface with a name, or with a beginning that ends in "*"."""
    if pattern == "*":
        return True
    if name is None:
        return None
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _walk(name: str, steps: Mapping[str, Sequence[Step]], depth: int) -> str:
    """Return accept, drop, or "" if the chain leaves it to its caller."""
    doubt = False  # a rule that may have returned: what follows may not be reached
    for step in steps.get(name, ()):
        verdict = step.verdict
        if step.matches is False:
            continue
        result = verdict if verdict in {"accept", "drop"} else ""
        if verdict in {"jump", "goto"} and depth < 16:  # noqa: PLR2004 - the kernel's own limit
            result = _walk(step.target, steps, depth + 1)
        sure = step.matches is True and not doubt
        if result == "accept" or (result == "drop" and sure):
            return result
        if verdict in {"return", "goto"}:
            if step.matches is True:
                return ""
            doubt = True
    return ""
