"""Which destinations nothing of VMs is forwarded to: the management network, for one.

Where two settings name an address, the narrower block decides, as in a routing table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lessor.core.around import Connected
from lessor.net.address import Block, is_within, place_of_block, without
from lessor.settings import AgentSettings


def no_forward(settings: AgentSettings, connected: Sequence[Connected]) -> tuple[Block, ...]:
    """Return the blocks that VMs' packets are not forwarded to.

    Args:
        settings: of the agent.
        connected: networks in which the host has addresses of its own.
    """
    blocks: list[Block] = list(settings.no_forward_cidr)
    if settings.no_forward_connected:
        outside = {settings.public_interface, *_vm_devices(settings)}
        public = [one.cidr for one in connected if one.device in outside]
        others = (one.cidr for one in connected if one.device not in outside)
        blocks += less(others, public)
    return less(blocks, settings.dmz_cidr)


def lans(settings: AgentSettings, connected: Iterable[Connected]) -> tuple[Connected, ...]:
    """Return the networks of which the host has an address of its own on a VM bridge."""
    bridges = _vm_devices(settings)
    found = {Connected(bridges[c.device], c.cidr) for c in connected if c.device in bridges}
    return tuple(sorted(found, key=lambda one: (one.device, place_of_block(one.cidr))))


def less(blocks: Iterable[Block], holes: Iterable[Block]) -> tuple[Block, ...]:
    """Return blocks without the holes that lie within; a wider hole changes nothing."""
    left = list(blocks)
    for hole in holes:
        left = [part for block in left for part in _cut(block, hole)]
    return tuple(sorted(set(left), key=place_of_block))


def _cut(block: Block, hole: Block) -> Iterable[Block]:
    return without(block, hole) if is_within(hole, block) else (block,)


def _vm_devices(settings: AgentSettings) -> dict[str, str]:
    """Return the bridge of each bridge and interface of VMs: an address moves from one to other."""
    return {
        name: mapping.bridge
        for mapping in settings.flat_mappings
        for name in (mapping.bridge, mapping.interface)
        if name
    }
