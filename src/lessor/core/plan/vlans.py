"""Local VLANs: the numbers by which br-int separates networks, on one host only."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lessor.errors import Exhausted

FIRST, LAST = 1, 4094  # 4095 is the dead VLAN (semantics.md B15.1)


def local_vlans(known: Mapping[str, int], networks: Collection[str]) -> dict[str, int]:
    """Return a local VLAN for each network: the one it has, else the lowest that is free.

    Raises:
        Exhausted: there are more networks than numbers.
    """
    kept: dict[str, int] = {}
    for network in sorted(networks):
        vlan = known.get(network)
        if vlan is not None and FIRST <= vlan <= LAST and vlan not in kept.values():
            kept[network] = vlan
    taken = set(kept.values())
    free = (vlan for vlan in range(FIRST, LAST + 1) if vlan not in taken)
    for network in sorted(set(networks) - kept.keys()):
        vlan = next(free, None)
        if vlan is None:
            raise Exhausted(f"network {network} gets no local VLAN: all {LAST} are in use here")
        kept[network] = vlan
    return kept
