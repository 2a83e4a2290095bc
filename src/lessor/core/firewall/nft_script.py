"""Writes a table of nftables as one script that replaces it whole, or as what changes in it.

Named counters and limits are added and never flushed, so that what they counted outlives every
change of the rules. Sets, maps and chains are made if they are missing, emptied, and filled again:
`nft -f` does all of it in one transaction. What a former script declared and this one doesn't is
left in the table; `lessor.core.firewall.nft_listing` finds it.

Source: nft(8).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NftSet:
    """A named set, or a map where `type` has a colon. `elements` are as nft writes them."""

    name: str
    type: str
    elements: Iterable[str] = ()
    interval: bool = False
    timeout_s: int = 0  # > 0: rules fill it, and an element goes so long after it was last met
    size: int = 0  # of one that rules fill

    @property
    def kind(self) -> str:
        """Return the word that nft has for it."""
        return "map" if " : " in self.type else "set"


@dataclass(frozen=True, slots=True)
class NftChain:
    """A chain with its rules; `hook` is None for one that only others jump to."""

    name: str
    rules: Sequence[str]
    hook: str | None = None  # "filter hook prerouting priority -310"


def nft_table(
    table: str,
    counters: Iterable[str],
    sets: Sequence[NftSet],
    chains: Sequence[NftChain],
    limits: Mapping[str, str] | None = None,
) -> str:
    """Return the script that makes `table` ("bridge lessor") hold just this.

    `limits` are rates by name ("rate over 20/second"). Elements are written in sorted order, so
    that equal tables are equal texts.
    """
    lines = [f"add table {table}"]
    lines += [f"add counter {table} {name}" for name in sorted(set(counters))]
    rates = sorted((limits or {}).items())
    lines += [f"add limit {table} {name} {{ {rate} ; }}" for name, rate in rates]
    lines += [_chain_line(table, chain) for chain in chains]  # before maps that jump to them
    for one in sets:
        lines += _set_lines(table, one)
    lines += [f"flush chain {table} {chain.name}" for chain in chains]
    lines += [f"add rule {table} {chain.name} {rule}" for chain in chains for rule in chain.rules]
    return "\n".join(lines) + "\n"


def change(former: str, text: str) -> str:
    """Return the script that makes a table which is as the script `former` left it as `text` does.

    Both are of `nft_table`. What is declared in `former` alone stays, unused. A tap that comes or
    goes changes a few elements of a thousand, and no rule.
    """
    before = _parts(former)
    return "".join(
        f"{line}\n"
        for part, lines in _parts(text).items()
        for line in _changed(before.get(part, []), lines)
    )


def _parts(script: str) -> dict[tuple[str, ...], list[str]]:
    """Return the lines of a script by their subject: a set, a chain's rules, or one thing each."""
    parts: dict[tuple[str, ...], list[str]] = {}
    for line in script.splitlines():
        verb, kind, family, table, *rest = line.split(" ", 5)
        name = rest[0] if rest else table
        if kind in {"set", "map", "element"}:
            part: tuple[str, ...] = ("set", name)
        elif kind == "rule" or (verb, kind) == ("flush", "chain"):
            part = ("rules", name)
        else:
            part = (kind, family, name)
        parts.setdefault(part, []).append(line)
    return parts


def _changed(former: Sequence[str], lines: Sequence[str]) -> Sequence[str]:
    """Return the lines that bring one part from a state to another."""
    if former == lines:
        return ()
    declared = lines[0]
    is_plain_set = declared.startswith(("add set ", "add map ")) and " flags " not in declared
    if not (is_plain_set and former and former[0] == declared):
        return lines
    old, new = _elements(former), _elements(lines)
    gone = sorted(one.partition(" : ")[0] for one in old - new)
    where = " ".join(declared.split(" ", 5)[2:5])
    changes = (("delete", gone), ("add", sorted(new - old)))
    return [f"{verb} element {where} {{ {', '.join(some)} }}" for verb, some in changes if some]


def _elements(lines: Sequence[str]) -> set[str]:
    """Return what a part fills its set with."""
    filled = next((line for line in lines if line.startswith("add element ")), "")
    inner = filled.partition(" { ")[2].removesuffix(" }")
    return set(inner.split(", ")) if inner else set()


def quoted(interface: str) -> str:
    """Return an interface name as an element of a set."""
    return f'"{interface}"'


def _set_lines(table: str, one: NftSet) -> Iterator[str]:
    if one.timeout_s:
        yield f"add set {table} {one.name} {{ {_filled_by_rules(one)} }}"
        return
    flags = " flags interval;" if one.interval else ""
    yield f"add {one.kind} {table} {one.name} {{ {_typed(one)};{flags} }}"
    yield f"flush {one.kind} {table} {one.name}"
    elements = sorted(set(one.elements))
    if elements:
        yield f"add element {table} {one.name} {{ {', '.join(elements)} }}"


def _filled_by_rules(one: NftSet) -> str:
    """Declare a set that is never emptied: rules fill it, and the kernel forgets."""
    kept = f"size {one.size}; flags dynamic,timeout; timeout {one.timeout_s}s;"
    return f"{_typed(one)}; {kept}"


def _typed(one: NftSet) -> str:
    """Declare what elements are: types, or, where a packet's bytes have none, expressions."""
    return f"{'typeof' if '@' in one.type else 'type'} {one.type}"


def _chain_line(table: str, chain: NftChain) -> str:
    hook = f" {{ type {chain.hook}; policy accept; }}" if chain.hook else ""
    return f"add chain {table} {chain.name}{hook}"
