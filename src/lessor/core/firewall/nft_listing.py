"""Reads what `nft -j list table` prints: to tell whether a table is as it was left.

nft prints rules in its own form, hash sets in any order, and counters as they run. What stays the
same as long as nobody changes the table is a digest of the rest.

Source: libnftables-json(5).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

_RUNNING = frozenset(("handle", "packets", "bytes"))  # what changes by itself
_FILLED_BY_RULES = "timeout"  # the flag of sets whose elements do
_DECLARED = re.compile(r"^add (counter|limit|set|map|chain) \S+ \S+ (\S+)", re.MULTILINE)
_REFERRING = ("chain", "map", "set", "counter", "limit")  # one kind may refer to those after it


def digest(nft_json: str, leave_out: Iterable[tuple[str, str]] = ()) -> str:
    """Return a digest of a table, the objects `leave_out` (kind, name) and their rules aside."""
    left_out = set(leave_out)
    objects = [o for o in _objects(nft_json) if left_out.isdisjoint((_name(o), _chain(o)))]
    text = json.dumps([_still(one) for one in objects], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def stale(nft_json: str, text: str) -> list[tuple[str, str]]:
    """Return (kind, name) of what the table has and its script `text` doesn't declare.

    The order is one in which they can be deleted.
    """
    names = [_name(one) for one in _objects(nft_json)]
    return _gone((name for name in names if name[0] in _REFERRING), text)


def undeclared(former: str, text: str) -> list[tuple[str, str]]:
    """Return (kind, name) of what the script `former` declared and `text` doesn't: see `stale`."""
    return _gone(dict.fromkeys(_DECLARED.findall(former)), text)


def _gone(names: Iterable[tuple[str, str]], text: str) -> list[tuple[str, str]]:
    declared = set(_DECLARED.findall(text))
    gone = (name for name in names if name not in declared)
    return sorted(gone, key=lambda name: _REFERRING.index(name[0]))


def deletion(table: str, objects: Iterable[tuple[str, str]]) -> str:
    """Return the script that deletes (kind, name) objects of a table ("bridge lessor")."""
    listed = list(objects)
    lines = [f"flush chain {table} {name}" for kind, name in listed if kind == "chain"]
    lines += [f"delete {kind} {table} {name}" for kind, name in listed]
    return "\n".join(lines) + "\n"


def _objects(nft_json: str) -> list[dict[str, Any]]:
    return [row for row in json.loads(nft_json)["nftables"] if "metainfo" not in row]


def _name(one: dict[str, Any]) -> tuple[str, str]:
    kind, body = next(iter(one.items()))
    return kind, str(body.get("name", ""))


def _chain(one: dict[str, Any]) -> tuple[str, str]:
    return "chain", str(one.get("rule", {}).get("chain", ""))


def _still(value: Any) -> Any:
    """Drop what changes by itself; sort the elements of sets and maps."""
    if isinstance(value, dict):
        running = _RUNNING | ({"elem"} if _FILLED_BY_RULES in value.get("flags", ()) else set())
        still = {key: _still(inner) for key, inner in value.items() if key not in running}
        if isinstance(still.get("elem"), list):
            still["elem"].sort(key=repr)
        return still
    if isinstance(value, list):
        return [_still(inner) for inner in value]
    return value
