"""Reads foreign base chains from `nft -j list ruleset`.

Source: libnftables-json(5).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from lessor.core.diagnosis.foreign import BaseChain, Packet, Step, all_of, interface_is

_HOOKS = ("input", "forward")
_FAMILIES = ("ip", "inet", "bridge")
_OURS = "lessor"


def nft_base_chains(nft_json: str) -> list[BaseChain]:
    """Return the filter chains of other tables than ours that the kernel calls."""
    rows = [row for row in json.loads(nft_json)["nftables"] if "metainfo" not in row]
    rules: dict[tuple[str, str], dict[str, list[object]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if rule := row.get("rule"):
            rules[rule["family"], rule["table"]][rule["chain"]].append(rule["expr"])
    return [
        BaseChain(
            label=f"nft {chain['family']} {chain['table']} {chain['name']}",
            hook=chain["hook"],
            policy=chain.get("policy", "accept"),
            name=chain["name"],
            chains=rules[chain["family"], chain["table"]],
            family=chain["family"],
        )
        for row in rows
        if (chain := row.get("chain")) and _judges(chain)
    ]


def nft_steps(base: BaseChain, packet: Packet) -> dict[str, list[Step]]:
    """Return what each rule of the chain's table does with a packet."""
    return {name: [_step(rule, packet) for rule in its] for name, its in base.chains.items()}


def _judges(chain: Mapping[str, Any]) -> bool:
    return (
        chain.get("hook") in _HOOKS
        and chain["family"] in _FAMILIES
        and chain["type"] == "filter"
        and chain["table"] != _OURS
    )


def _step(expressions: Any, packet: Packet) -> Step:
    conditions: list[bool | None] = []
    for expression in expressions:
        kind, body = next(iter(expression.items()))
        match kind:
            case "match":
                conditions.append(_matches(body, packet))
            case "accept" | "drop" | "return":
                return Step(all_of(conditions), kind)
            case "reject":
                return Step(all_of(conditions), "drop")
            case "jump" | "goto":
                return Step(all_of(conditions), kind, str(body["target"]))
            case "vmap":
                return _vmap(body, packet, conditions)
            case "counter" | "log" | "mangle":
                continue
            case _:  # limits, queues, matches of iptables: unknown
                conditions.append(None)
    return Step(all_of(conditions))


def _vmap(body: Mapping[str, Any], packet: Packet, conditions: list[bool | None]) -> Step:
    """Return the step of the first sure element; unsure ones may accept."""
    data = body["data"]
    if not isinstance(data, dict) or "set" not in data:
        return Step(None, "accept")
    for element, verdict in data["set"]:
        holds = _equal(body["key"], element, packet)
        if holds is not False:
            step = _step([verdict], packet)
            return Step(all_of([*conditions, holds]), step.verdict, step.target)
    return Step(False)


def _matches(body: Mapping[str, Any], packet: Packet) -> bool | None:
    holds = _equal(body["left"], body["right"], packet)
    if body["op"] == "!=":
        return None if holds is None else not holds
    return holds if body["op"] in {"==", "in"} else None


def _equal(left: Any, right: Any, packet: Packet) -> bool | None:
    if isinstance(right, dict) and "set" in right:
        right = right["set"]
    if isinstance(right, list):
        found = [_equal(left, one, packet) for one in right]
        return True if True in found else None if None in found else False
    return _is(left, right, packet)


def _is(left: Any, right: Any, packet: Packet) -> bool | None:  # noqa: PLR0911 - one a kind
    match left:
        case {"meta": {"key": "iifname" | "iif"}}:
            return interface_is(packet.iif, str(right))
        case {"meta": {"key": "oifname" | "oif"}}:
            return interface_is(packet.oif, str(right))
        case {"meta": {"key": "l4proto"}} | {"payload": {"protocol": "ip", "field": "protocol"}}:
            return str(right) == packet.protocol
        case {"meta": {"key": "nfproto"}}:
            return str(right) == "ipv4"
        case {"ct": {"key": "state"}}:
            return str(right) == "new"
        case {"ct": {"key": "status"}}:  # nobody has rewritten it
            return False
        case {"payload": {"protocol": "tcp" | "udp" | "th" as protocol, "field": field}}:
            return _port(protocol, field, right, packet)
        case {"payload": {"protocol": "icmp" | "icmpv6" | "ip6"}}:
            return False
    return None


def _port(protocol: str, field: str, right: Any, packet: Packet) -> bool | None:
    if protocol not in {"th", packet.protocol}:
        return False
    if field not in {"sport", "dport"}:
        return None
    port = packet.port(field)
    match right:
        case int():
            return right == port
        case {"range": [int() as first, int() as last]}:
            return first <= port <= last
    return None
