"""Tries all attacks, and prints what held.

    python -m tests.lab.attacks [--mode flat|vxlan] [--firewall nftables|iptables] [--multi-host]
                                [--database sqlite|postgresql] [--short] [--json FILE]

It makes a lab of its own (needs root) and servers on loopback. Exit status: 0 if all promises held,
1 if an attack passed, or if a control did not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab.attacks import program, table
from tests.lab.attacks.scene import Mode


def main(argv: Sequence[str]) -> int:
    words = argparse.ArgumentParser(prog="python -m tests.lab.attacks", description=__doc__)
    words.add_argument("--mode", choices=("flat", "vxlan"), help="default: both")
    words.add_argument("--firewall", choices=("nftables", "iptables"), default="nftables")
    words.add_argument("--dhcp-driver", choices=("dnsmasq", "native"), default="dnsmasq")
    words.add_argument("--multi-host", action="store_true")
    words.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    words.add_argument("--short", action="store_true", help="leave out what takes seconds")
    words.add_argument("--json", type=Path, metavar="FILE")
    given = words.parse_args(argv)
    modes: list[Mode] = [given.mode] if given.mode else ["flat", "vxlan"]
    with tempfile.TemporaryDirectory(prefix="lessor-attacks-") as folder:
        runs = program.in_a_lab(
            Path(folder) / "lab",
            modes,
            firewall=given.firewall,
            multi_host=given.multi_host,
            short=given.short,
            dhcp=given.dhcp_driver,
        )
    runs |= program.at_the_api(given.database, short=given.short)
    for title, outcomes in runs.items():
        sys.stdout.write(table.table(title, outcomes) + "\n")
    if given.json:
        given.json.write_text(table.as_json(runs))
    return int(not all(one.good for outcomes in runs.values() for one in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
