"""Keeps frames of unknown ports of our bridges from the host itself, as nftables tables.

On a bridge's hooks a frame to or from the host has one port alone, which doesn't tell whose bridge
it is. The host's own hooks do, by the bridge's name: what comes in there without KNOWN_MARK came
from a port that `core.firewall.tap_guard_rules` doesn't know, and what goes out there gets the
mark, so that `table bridge lessor` keeps it from such a port.

IP and ARP are all that a host listens to there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lessor.core.firewall.nft_script import NftChain, NftSet, nft_table, quoted
from lessor.core.firewall.tap_guard_rules import KNOWN_MARK
from lessor.core.state import Ruleset

IP, ARP = "inet lessor_host", "arp lessor_host"
NAMES = (f"nft {IP}", f"nft {ARP}")

_FIRST, _LAST = -310, 310  # before raw and after all that sets marks
# With br_netfilter on, each bridged packet comes through here: what is cheap to ask is asked first.
_UNKNOWN = f"meta mark & {KNOWN_MARK:#010x} == 0 iifname @bridges counter name from_unknown drop"
_OURS = f"oifname @bridges meta mark set meta mark or {KNOWN_MARK:#010x} return"
_CLEAR = f"meta mark set meta mark and {0xFFFFFFFF ^ KNOWN_MARK:#010x}"


def host_rulesets(bridges: Collection[str]) -> Iterator[Ruleset]:
    """Yield the tables; `bridges` are the names of ours."""
    known = NftSet("bridges", "ifname", tuple(map(quoted, bridges)))
    for table, way_in, way_out in ((IP, "prerouting", "postrouting"), (ARP, "input", "output")):
        chains = (
            NftChain(way_in, (_UNKNOWN,), f"filter hook {way_in} priority {_FIRST}"),
            # What was routed here from a bridge still has that bridge's mark.
            NftChain(way_out, (_OURS, _CLEAR), f"filter hook {way_out} priority {_LAST}"),
        )
        yield Ruleset(f"nft {table}", nft_table(table, ("from_unknown",), (known,), chains))
