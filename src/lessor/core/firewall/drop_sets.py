"""The sets of `table bridge lessor` in which its rules keep who was refused, and with what.

The kernel holds each sender with a counter until a while after its last frame. A set holds no more
than SIZE of them: a VM that makes up addresses costs no more memory than that, and its host still
counts what it drops. They are declared alike for a thousand taps and for one.

Source: nft(8), "SETS" and "SET STATEMENT".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from lessor.core.firewall.nft_script import NftSet
from lessor.core.offences import DHCP_S, SOURCE_S, Count, Offence, Reason

SIZE = 1024  # elements


def _set(name: str, kind: str, timeout_s: int) -> NftSet:
    return NftSet(name, kind, timeout_s=timeout_s, size=SIZE)


WRONG_MACS = _set("wrong_macs", "ifname . ether_addr", SOURCE_S)
WRONG_SOURCES = _set("wrong_sources", "ifname . ether_addr . ipv4_addr", SOURCE_S)
ANSWERING = _set("answering_dhcp", "ifname", DHCP_S)
FLOODING = _set("flooding_dhcp", "ifname", DHCP_S)
# server, its address, and the client it answers: servers of others' VMs are not rogue
WIRE_SERVERS = _set("wire_servers", "ether saddr . ip saddr . @th,288,48", DHCP_S)
SETS = (WRONG_MACS, WRONG_SOURCES, ANSWERING, FLOODING, WIRE_SERVERS)

_REASONS = {
    WRONG_MACS.name: Reason.MAC,
    WRONG_SOURCES.name: Reason.SOURCE,
    ANSWERING.name: Reason.ANSWER,
    FLOODING.name: Reason.REQUEST,
    WIRE_SERVERS.name: Reason.WIRE,
}


def counted(nft_json: str) -> dict[str, int]:
    """Read what `nft -j list counters table bridge lessor` prints: packets by counter."""
    rows = json.loads(nft_json)["nftables"]
    return {row["counter"]["name"]: row["counter"]["packets"] for row in rows if "counter" in row}


def offences(nft_json: str) -> Iterator[tuple[Offence, Count]]:
    """Read what `nft -j list set bridge lessor NAME` prints of one of the sets."""
    for row in json.loads(nft_json)["nftables"]:
        found = row.get("set", {})
        for element in found.get("elem", ()):
            body = element["elem"]
            age = found["timeout"] - body["expires"]
            yield _offence(found["name"], body["val"]), Count(body["counter"]["packets"], age)


def _offence(name: str, value: str | Mapping[str, list[str | int]]) -> Offence:
    reason = _REASONS[name]
    parts = [value] if isinstance(value, str) else value["concat"]
    if reason is Reason.WIRE:
        mac, address, client = parts
        return Offence("", reason, str(mac), str(address), _mac(int(client)))
    return Offence(str(parts[0]), reason, *map(str, parts[1:]))


def _mac(number: int) -> str:
    return ":".join(f"{byte:02x}" for byte in number.to_bytes(6, "big"))
