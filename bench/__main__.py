"""Measures Lessor and prints one table; `scripts/bench` calls it."""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from bench import table
from bench.figure import Figure, Measure
from bench.processes import waited_s

NAMES = (
    *(
        "hook",
        "dhcpd",
        "dns",
        "api",
        "dora",
        "start",
        "memory",
        "answer",
        "overlay",
        "copies",
        "networks",
        "traffic",
    ),
)


def main() -> int:
    """Run the given measurements. Exit status 1: one broke; a missed expectation is no failure."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="less of each, in two minutes at most")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.names) - set(NAMES)):
        parser.error(f"no measurement {', '.join(unknown)}; there are {', '.join(NAMES)}")
    figures: list[Figure] = []
    names, broken = asked.names or NAMES, []
    for at, name in enumerate(names, 1):
        print(
            f"bench: {name} ({at} of {len(names)}), load {os.getloadavg()[0]:.1f}", file=sys.stderr
        )
        if not _measured(name, asked.quick, figures):
            broken.append(name)
    print(table.text(figures))
    if asked.json:
        asked.json.write_text(table.as_json(figures))
    if broken:
        print(f"bench: broke: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


def _measured(name: str, quick: bool, figures: list[Figure]) -> bool:
    """Add the figures of one measurement; return whether it was complete."""
    started, waited = time.monotonic(), waited_s()
    measure: Measure = import_module(f"bench.{name}").measure
    try:
        for figure in measure(quick):
            figures.append(replace(figure, load=round(os.getloadavg()[0], 1)))
            print(
                f"bench: {figure.what}: {table.number(figure.value)} {figure.unit}", file=sys.stderr
            )
    except Exception:  # noqa: BLE001 - the others are measured all the same
        traceback.print_exc()
        return False
    took = time.monotonic() - started
    crowded = (waited_s() - waited) / took
    print(
        f"bench: {name} took {took:.0f} s; for {crowded:.0%} of it something on this machine of "
        f"{os.cpu_count()} processors waited for one",
        file=sys.stderr,
    )
    return True


if __name__ == "__main__":
    sys.exit(main())
