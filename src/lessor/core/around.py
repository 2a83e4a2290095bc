"""Which subnets a host does not serve, as they would take over addresses that it needs itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from lessor.model import HostBlock, Problem, Scope, Subnet
from lessor.net.address import Block
from lessor.net.blocks import described, in_the_way, unfit
from lessor.settings import AgentSettings


@dataclass(frozen=True, slots=True, order=True)
class Connected:
    """A network in which a host has an address of its own."""

    device: str
    cidr: Block


@dataclass(frozen=True, slots=True)
class Around:
    """What a host has and reaches on its own. `ours`: blocks that we gave it addresses of."""

    blocks: tuple[HostBlock, ...] = ()
    ours: frozenset[Block] = frozenset()
    connected: tuple[Connected, ...] = ()


NOTHING = Around()


class Refusals:
    """Leaves out subnets that cannot be served here. A scope that did not change stays the same."""

    def __init__(self, settings: AgentSettings) -> None:
        self._settings = settings
        self._kept: dict[str, tuple[Scope, frozenset[str], Scope]] = {}

    def fit(self, key: str, scope: Scope, around: Around) -> tuple[Scope, list[Problem]]:
        """Return what of a network can be served here, and what stands in the way of the rest.

        A subnet that is served already stays so, whatever the host got since: that is a problem,
        and VMs go on.
        """
        problems, refused = [], set()
        for subnet in scope.subnets.values():
            for text, is_refused in self._refusals(scope, subnet, around):
                problems.append(Problem(text=text, networks=(key,)))
                refused |= {subnet.id} if is_refused else set()
        return self._without(key, scope, frozenset(refused)), problems

    def _refusals(self, scope: Scope, subnet: Subnet, around: Around) -> Iterator[tuple[str, bool]]:
        settings, cidr = self._settings, subnet.cidr
        name = f"subnet {cidr} of network {scope.network.name or scope.network.id}"
        if why := unfit(cidr, settings.reserved_cidrs, settings.min_subnet_prefixlen):
            yield f"{name} is not served here: {why}", True
            return
        if scope.network.is_overlay:
            return
        wire, allowed = scope.network.physical_network, settings.allowed_host_cidrs
        found = in_the_way(cidr, around.blocks, wire, allowed=allowed)
        if found is None:
            return
        is_new = cidr not in around.ours
        state = "is not served here" if is_new else "is served, and should not be"
        text = (
            f"{name} {state}: it takes over {described(found)} on this host; delete the subnet, "
            "or allow it (allowed_host_cidrs)"
        )
        yield text, is_new

    def _without(self, key: str, scope: Scope, refused: frozenset[str]) -> Scope:
        if not refused:
            self._kept.pop(key, None)
            return scope
        known = self._kept.get(key)
        if known and known[0] is scope and known[1] == refused:
            return known[2]
        kept = {k: subnet for k, subnet in scope.subnets.items() if k not in refused}
        made = replace(scope, subnets=kept)
        self._kept[key] = (scope, refused, made)
        return made
