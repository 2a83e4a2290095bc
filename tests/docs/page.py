"""What a page of the documentation tells its reader to type, and what it says comes of it.

```sh                     type this in the first terminal, and wait until it is done
```sh again               look until it is as shown: it takes a moment
```sh terminal=vm         type this in the terminal of that name, which may stay busy
```text                   what the block before it prints; a line "…": lines are left out
```text first-time        the same, but only on a machine that has nothing yet
<!-- press Ctrl-C in terminal=up -->
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

FENCE = re.compile(r"^```(\S*) ?(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PRESS = re.compile(r"<!-- press Ctrl-(\w) in terminal=(\w+) -->")
GIVEN = re.compile(r"^<!-- given\n(.*?)^-->$", re.MULTILINE | re.DOTALL)
STEP = re.compile(f"{FENCE.pattern}|{PRESS.pattern}|{GIVEN.pattern}", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## ", re.MULTILINE)
LEFT_OUT = "…"
FIRST = "first"

# What differs each time, and what it is compared as. Ids are wrapped in tables: parts of them, too.
CHANGING = (
    (r"^(Created symlink) '(.+)' → '(.+)'", r"\1 \2 → \3"),  # systemd of Debian 13
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\b\d+ s ago", "<age>"),
    (r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", "<mac>"),
    (r"(?<=took_ms=)\d+", "<number>"),
    (r"^\d+(?= dnsmasq$)", "<number>"),
    (r"^\d+(?= rows copied$)", "<number>"),
    (r"(?<=eth0@if)\d+", "<number>"),
    (r"\b\d+ packets, \d+ bytes", "<packets>"),
    (r"(?<=: pid )\d+", "<number>"),
    (r"(?<=by the view of revision )\d+", "<number>"),
    (r"(?<=^\[) *\d+\.\d+(?=\])", "<seconds>"),
    (r"^[\w-]{43}$", "<token>"),
    (r"(tap|i-)?[0-9a-f][0-9a-f-]{7,}", "<id>"),
    (r"(?<=up=)\d+\.\d+", "<seconds>"),
    (r"\s+", " "),
)


@dataclass(frozen=True, slots=True)
class Step:
    """Something to type, or a key to press, in a terminal."""

    terminal: str
    typed: str = ""
    key: str = ""
    again: bool = False
    shown: tuple[str, ...] = ()  # without what is seen on new machines only


def steps(text: str) -> list[Step]:
    """Return what a page tells to do, in order."""
    found: list[Step] = []
    for match in STEP.finditer(text):
        kind, words, body, letter, terminal, given = match.groups()
        if given:
            found.append(Step(FIRST, typed=given.rstrip("\n")))
        elif letter:
            found.append(Step(terminal, key=letter))
        elif kind == "sh":
            where = re.search(r"terminal=(\w+)", words)
            terminal = where[1] if where else FIRST
            found.append(Step(terminal, typed=body.rstrip("\n"), again="again" in words.split()))
        elif kind == "text" and words != "first-time":
            found[-1] = replace(found[-1], shown=tuple(body.splitlines()))
    return found


def sections(text: str) -> list[str]:
    """Return the parts of a page, each from its heading on."""
    starts = [0, *(match.start() for match in HEADING.finditer(text)), len(text)]
    return [text[start:end] for start, end in pairwise(starts)]


def missing(shown: Sequence[str], said: str) -> str:
    """Return the first part of `shown` that isn't in what was said, in its order; "" if all are.

    The parts are what stands between lines "…"; the lines of a part follow one another. What
    differs each time and blank lines don't count.
    """
    lines = [line for line in map(normal, said.splitlines()) if line]
    at = 0
    for part in _parts(shown):
        size = len(part)
        starts = (n for n in range(at, len(lines) - size + 1) if lines[n : n + size] == part)
        start = next(starts, None)
        if start is None:
            return "\n".join(part)
        at = start + size
    return ""


def _parts(shown: Sequence[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for line in (*map(normal, shown), LEFT_OUT):
        if line == LEFT_OUT and part:
            yield part
            part = []
        elif line and line != LEFT_OUT:
            part.append(line)


def normal(line: str) -> str:
    """Return a line without what differs each time."""
    for pattern, word in CHANGING:
        line = re.sub(pattern, word, line)
    return line.strip()
