"""How long VMs were without DHCP, and whether a fault explains it.

A fault explains a gap if it can keep a VM of that kind of network from its DHCP server. Faults that
only stop a repair (a dead agent) explain it while they overlap one that does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from tests.campaign.history import ACKED, RELEASE, Exchange, FaultRun, Result, VmSpan, result

Span = tuple[float, float]
BOTH = frozenset({"flat", "vxlan"})
VXLAN = frozenset({"vxlan"})
EXPLAINS = {  # kinds that are not here never stop DHCP by themselves
    "power off": BOTH,
    "dnsmasq killed": BOTH,
    "dnsmasq's helper killed": BOTH,
    "dnsmasq stopped": BOTH,
    "ovs-vswitchd killed": VXLAN,
    "ovs-vswitchd stopped": VXLAN,
    "ovsdb-server killed": VXLAN,
    "ovsdb-server stopped": VXLAN,
    "underlay cut": VXLAN,
    "underlay cut one way": VXLAN,
    "agent's disk full": BOTH,  # with a dnsmasq that ends: it can't be started again
}
GRACE_S = 20.0  # from a fault's end to service: the time of a fail-over
ALLOWED_S = 10.0  # of a gap that no fault explains, on a busy machine


def gaps(span: VmSpan, exchanges: Iterable[Exchange]) -> Iterator[Span]:
    """Yield the times between two answers of a VM in which it asked in vain."""
    answered, vain = span.began, False
    for one in exchanges:
        if one.mac != span.mac or one.what == RELEASE or not span.began <= one.asked <= span.ended:
            continue
        if one.outcome == ACKED:
            if vain:
                yield answered, one.ended
            answered, vain = one.ended, False
        else:
            vain = True
    if vain:
        yield answered, span.ended


def explained(span: VmSpan, faults: Iterable[FaultRun]) -> list[Span]:
    """Return the periods in which a missing answer is no failure, in order, without overlap."""
    near = [one for one in faults if not one.hosts or set(one.hosts) & set(span.hosts)]
    joined: list[tuple[float, float, bool]] = []
    for one in sorted(near, key=lambda fault: fault.began):
        stops = span.network_kind in EXPLAINS.get(one.kind, ())
        end = one.ended + GRACE_S
        if joined and one.began <= joined[-1][1]:
            began, last, before = joined[-1]
            joined[-1] = (began, max(last, end), before or stops)
        else:
            joined.append((one.began, end, stops))
    return [(began, ended) for began, ended, stops in joined if stops]


def without(gap: Span, covered: Iterable[Span]) -> Span:
    """Return the longest part of a gap that is not covered."""
    parts, at = [], gap[0]
    for began, ended in covered:
        if ended <= at or began >= gap[1]:
            continue
        parts.append((at, max(at, began)))
        at = max(at, ended)
    return max((*parts, (at, max(at, gap[1]))), key=length)


def length(span: Span) -> float:
    """Return seconds."""
    return span[1] - span[0]


def unexplained(
    spans: Sequence[VmSpan], exchanges: Sequence[Exchange], faults: Sequence[FaultRun]
) -> dict[str, Span]:
    """Return the longest unexplained gap of each VM that has one."""
    found: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        covered = explained(span, faults)
        mine = [one for one in exchanges if one.mac == span.mac]
        found[span.vm] += [without(gap, covered) for gap in gaps(span, mine)]
    longest = {vm: max(parts, key=length) for vm, parts in found.items() if parts}
    return {vm: gap for vm, gap in longest.items() if length(gap) > 0}


def short_enough(
    spans: Sequence[VmSpan], exchanges: Sequence[Exchange], faults: Sequence[FaultRun]
) -> Result:
    """No VM is without DHCP for long unless a fault keeps it from its server."""
    wrong = (
        f"{vm} asked in vain for {length(gap):.1f} s from {gap[0]:.1f} on, and no fault explains it"
        for vm, gap in unexplained(spans, exchanges, faults).items()
        if length(gap) > ALLOWED_S
    )
    return result(f"no unexplained gap over {ALLOWED_S:g} s", len(spans), wrong)
