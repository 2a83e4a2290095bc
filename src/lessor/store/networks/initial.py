"""The networks that `fixed_range` asks for, made at the first start.

Source: semantics.md A4.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import select

from lessor.errors import ConfigError
from lessor.model import FLAT
from lessor.net.address import Block
from lessor.settings import ServerSettings
from lessor.store.engine.tx import Tx
from lessor.store.networks import rules as networks
from lessor.store.networks import subnets
from lessor.store.tables import networks as table

LABEL = "nova"
LEAST_BITS = 2  # of a network with room for a VM


def make(tx: Tx) -> None:
    """Make the networks of `fixed_range` if the store has none.

    Raises:
        ConfigError: the range can't be cut as asked.
    """
    if tx.settings.fixed_range is None or tx.conn.execute(select(table.c.id).limit(1)).first():
        return
    blocks = cut(tx.settings, tx.settings.fixed_range)
    for n, block in enumerate(blocks):
        name = f"{LABEL}_{n}" if len(blocks) > 1 else LABEL
        network = networks.create(tx, {"name": name, "shared": True, "network_type": FLAT})
        subnets.create(
            tx,
            {
                "network_id": network.id,
                "cidr": block,
                "name": name,
                "dns_nameservers": (tx.settings.flat_network_dns,),
            },
        )


def cut(settings: ServerSettings, whole: Block) -> list[Block]:
    """Return `num_networks` blocks of `network_size` addresses, rounded up to a power of two.

    A range smaller than `network_size` for each is shared out evenly (A4 rule 3).

    Raises:
        ConfigError: they are too many, or would have no room for a VM.
    """
    count = settings.num_networks
    size = min(settings.network_size, whole.num_addresses // count)
    bits = max(size - 1, 0).bit_length()
    if size < 1 or bits < LEAST_BITS or count << bits > whole.num_addresses:
        raise ConfigError(
            f"fixed_range={whole} can't be cut into num_networks={count} of "
            f"network_size={settings.network_size}: give a larger range, or fewer or smaller ones"
        )
    blocks: Iterator[Block] = whole.subnets(new_prefix=whole.max_prefixlen - bits)
    return [next(blocks) for _ in range(count)]
