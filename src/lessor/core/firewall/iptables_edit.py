"""Fits our iptables chains into what a host has, and takes them out again.

Works on `iptables-save -c` text and writes `iptables-restore --noflush -c` input: a foreign rule
is never written, so its order and counters stay as they are. Ours are the chains named
`lessor-...` and the jumps to them from built-in chains.

Source: iptables-save(8), iptables-restore(8); semantics.md A11.1, A11.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lessor.core.firewall.gateway_iptables import BOTTOM

OURS = "lessor-"
_BUILTINS = ("INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING")
_JUMP = re.compile(rf"-A (\S+) .*-[jg] {OURS}\S+$")
_COUNTED = re.compile(r"(\[\d+:\d+\]) (-A .*)")


@dataclass(slots=True)
class _Table:
    """One table of a save: names of chains, and rules without counters in their order."""

    chains: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    counters: dict[str, str] = field(default_factory=dict)  # rule -> "[packets:bytes]"

    def own_chains(self) -> list[str]:
        return [chain for chain in self.chains if chain.startswith(OURS)]

    def own_rules(self) -> list[str]:
        return [rule for rule in self.rules if _is_ours(rule)]


def own_lines(saved: str) -> list[str]:
    """Return what is ours in a save, in a form that is equal for equal rules."""
    return [
        line
        for name, table in sorted(_tables(saved).items())
        for line in (name, *sorted(table.own_chains()), *table.own_rules())
        if table.own_chains() or table.own_rules()
    ]


def install(saved: str, text: str, top_regex: str = "", bottom_regex: str = "") -> str:
    """Return restore input that makes `text` our part of a host that has `saved`.

    Args:
        saved: `iptables-save -c` of the host.
        text: of a Ruleset "iptables".
        top_regex: our jumps come after the foreign rules that match; "": first of all.
        bottom_regex: our last jump comes before the foreign rules that match; "": last of all.
    """
    present, wanted = _tables(saved), _tables(text)
    blocks = []
    for name, table in wanted.items():
        known = present.get(name, _Table())
        blocks += _block(name, _fill(known, table, _Edges(top_regex, bottom_regex)))
    gone = {name: table for name, table in present.items() if name not in wanted}
    return "".join((*blocks, _removal(gone)))


def remove(saved: str) -> str:
    """Return restore input that takes out all that is ours; "" if there is nothing."""
    return _removal(_tables(saved))


@dataclass(frozen=True, slots=True)
class _Edges:
    top_regex: str
    bottom_regex: str

    def top(self, foreign: list[str]) -> int:
        """Return the index before which our jumps go."""
        if not self.top_regex:
            return 0
        matching = (i for i, rule in enumerate(foreign, 1) if re.search(self.top_regex, rule))
        return max(matching, default=0)

    def bottom(self, foreign: list[str]) -> int:
        """Return the index before which our last jump goes."""
        if not self.bottom_regex:
            return len(foreign)
        matching = (i for i, rule in enumerate(foreign) if re.search(self.bottom_regex, rule))
        return min(matching, default=len(foreign))


def _fill(known: _Table, wanted: _Table, edges: _Edges) -> Iterator[str]:
    yield from (f":{chain} - [0:0]" for chain in wanted.own_chains())
    yield from _drop_jumps(known)
    for rule in wanted.rules:
        if rule.startswith(f"-A {OURS}"):
            yield f"{known.counters.get(rule, '[0:0]')} {rule}"
    for builtin in dict.fromkeys(rule.split()[1] for rule in wanted.rules):
        if not builtin.startswith(OURS):
            yield from _jumps(builtin, known, wanted, edges)
    stale = [chain for chain in known.own_chains() if chain not in wanted.chains]
    yield from _drop_chains(stale)


def _jumps(builtin: str, known: _Table, wanted: _Table, edges: _Edges) -> Iterator[str]:
    foreign = [r for r in known.rules if r.startswith(f"-A {builtin} ") and not _is_ours(r)]
    jumps = [rule for rule in wanted.rules if rule.startswith(f"-A {builtin} ")]
    first = [rule for rule in jumps if not rule.endswith(f" {BOTTOM}")]
    last = [rule for rule in jumps if rule.endswith(f" {BOTTOM}")]
    top = edges.top(foreign)
    bottom = max(edges.bottom(foreign), top) + len(first)
    for place, rules in ((top, first), (bottom, last)):
        for position, rule in enumerate(rules, place + 1):
            counter = known.counters.get(rule, "[0:0]")
            yield f"{counter} {rule.replace(f'-A {builtin}', f'-I {builtin} {position}', 1)}"


def _removal(tables: Mapping[str, _Table]) -> str:
    blocks: list[str] = []
    for name, table in tables.items():
        # A jump that somebody else made has to go too: the chain it leads to can't otherwise.
        jumps = (r for r in table.rules if _JUMP.match(r) and not r.startswith(f"-A {OURS}"))
        lines = [r.replace("-A ", "-D ", 1) for r in jumps]
        lines += _drop_chains(table.own_chains())
        if lines:
            blocks += _block(name, lines)
    return "".join(blocks)


def _drop_jumps(table: _Table) -> Iterator[str]:
    for rule in table.own_rules():
        if not rule.startswith(f"-A {OURS}"):
            yield rule.replace("-A ", "-D ", 1)


def _drop_chains(chains: list[str]) -> Iterator[str]:
    yield from (f"-F {chain}" for chain in chains)
    yield from (f"-X {chain}" for chain in chains)


def _block(name: str, lines: Iterable[str]) -> list[str]:
    return ["\n".join((f"*{name}", *lines, "COMMIT\n"))]


def _is_ours(rule: str) -> bool:
    jump = _JUMP.match(rule)
    return rule.startswith(f"-A {OURS}") or (jump is not None and jump[1] in _BUILTINS)


def _tables(saved: str) -> dict[str, _Table]:
    tables: dict[str, _Table] = {}
    table = _Table()
    for line in saved.splitlines():
        counted = _COUNTED.match(line)
        rule = counted[2] if counted else line
        if line.startswith("*"):
            table = tables[line[1:]] = _Table()
        elif line.startswith(":"):
            table.chains.append(line[1:].split()[0])
        elif rule.startswith("-A "):
            table.rules.append(rule)
            if counted:
                table.counters.setdefault(rule, counted[1])
    return tables
