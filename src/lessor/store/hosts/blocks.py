"""Address blocks that hosts have and reach themselves: no flat subnet may take them over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from sqlalchemy import bindparam, delete, insert, select

from lessor.errors import Conflict, Invalid
from lessor.model import HostBlock, Network
from lessor.net.address import Block
from lessor.net.blocks import described, in_the_way, special, unfit
from lessor.net.keys import address_at, block_at
from lessor.net.prefixes import Claim, Extent, blocks_of, clash, extent
from lessor.settings import ServerSettings
from lessor.store.address_column import AddressColumn
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.tables import host_blocks

MAXIMUM = 500  # blocks of a host
MAXIMUM_TEXT = 100  # characters
SERVER = "the server"

_COLUMNS = (
    host_blocks.c.host,
    host_blocks.c.first,
    host_blocks.c.prefix,
    host_blocks.c.what,
    host_blocks.c.detail,
    host_blocks.c.physical_network,
)
# Those that overlap, and the LANs of the wire: see `in_the_way`.
_NEAR = (
    select(*_COLUMNS)
    .where(
        (host_blocks.c.physical_network == bindparam("wire"))
        | (
            (host_blocks.c.first <= bindparam("last_address", type_=AddressColumn()))
            & (host_blocks.c.last >= bindparam("first_address", type_=AddressColumn()))
        )
    )
    .order_by(host_blocks.c.host, host_blocks.c.position)
)
_OF_HOST = delete(host_blocks).where(host_blocks.c.host == bindparam("host_name"))


def record(tx: Tx, host: str, blocks: Sequence[HostBlock]) -> None:
    """Replace the blocks of a host by those it reports."""
    tx.conn.execute(_OF_HOST, {"host_name": host})
    rows = [_row(host, n, one) for n, one in enumerate(blocks[:MAXIMUM])]
    if rows:
        tx.conn.execute(insert(host_blocks), rows)


def _row(host: str, position: int, one: HostBlock) -> dict[str, Any]:
    return {
        "host": host,
        "position": position,
        "first": one.cidr.network_address,
        "last": one.cidr.broadcast_address,
        "prefix": one.cidr.prefixlen,
        "what": one.what,
        "detail": one.detail[:MAXIMUM_TEXT],
        "physical_network": one.physical_network[:MAXIMUM_TEXT],
    }


def check(tx: Tx, network: Network, cidr: Block, *, by_project: bool) -> None:
    """Refuse a subnet's block that the operator, a host or the server needs.

    Raises:
        Invalid: no subnet can have it.
        Conflict: the network is flat, and a host or the server has or reaches a part of it.
    """
    settings = tx.settings
    if why := unfit(cidr, settings.reserved_cidrs, settings.min_subnet_prefixlen):
        raise Invalid(f"cidr {cidr} can't be a subnet's: {why}")
    if network.is_overlay:
        return
    found = _in_the_way(tx, network.physical_network, cidr, by_project=by_project)
    if found is None:
        return
    where, block = found
    if by_project:
        why_not = "hosts or the server have or reach a part of it; choose another"
    else:
        why_not = (
            f"it would take over {described(block)} on {where}; choose another, or allow it there "
            "(allowed_host_cidrs)"
        )
    raise Conflict(f"cidr {cidr} can't be a flat network's: {why_not}", type_="CidrConflict")


def check_parts(tx: Tx, wire: str | None, parts: Sequence[Extent]) -> None:
    """Refuse a project parts of a subnet as `check_part` does, however many there are.

    Args:
        tx: the transaction.
        wire: the physical network of a flat network; None: the subnet is a vxlan network's.
        parts: the addresses, in order; they don't overlap.

    Raises:
        Invalid: no subnet can have them.
        Conflict: a host or the server has or reaches some of them.
    """
    if not parts:
        return
    taken = [*special(tx.settings.reserved_cidrs)]
    if wire is not None:
        span = {
            "wire": None,
            "first_address": address_at(parts[0][0]),
            "last_address": address_at(parts[-1][1]),
        }
        near = [block for _, block in [*_near(tx, span), *_own(tx.settings)]]
        taken += [block.cidr for block in near]
    claims = [Claim(*extent(block), "host") for block in taken]
    found = clash([*claims, *(Claim(first, last, "part") for first, last in parts)])
    if found is None:
        return
    part = next(one for one in found if one.owner == "part")
    at = max(one.first for one in found)
    for block in blocks_of((part.first, part.last)):
        if extent(block)[1] >= at:
            check_part(tx, wire, block)
            return


def check_part(tx: Tx, wire: str | None, part: Block) -> None:
    """Refuse a project a part of a subnet beyond its pools that others need.

    Others are the operator, hosts and the server.

    Args:
        tx: the transaction.
        wire: the physical network of a flat network; None: the subnet is a vxlan network's.
        part: the addresses.

    Raises:
        Invalid: no subnet can have them.
        Conflict: a host or the server has or reaches some of them.
    """
    if why := unfit(part, tx.settings.reserved_cidrs, 0):
        raise Invalid(f"{_words(part)} can't be had: {why}")
    if wire is not None and _in_the_way(tx, wire, part, by_project=True):
        raise Conflict(
            f"{_words(part)} can't be had by a project: hosts or the server have or reach it, and "
            "it is in no allocation pool; choose another, or ask an administrator",
            type_="CidrConflict",
        )


def _words(part: Block) -> str:
    single = part.prefixlen == part.max_prefixlen
    return f"address {part.network_address}" if single else f"block {part}"


def _in_the_way(
    tx: Tx, wire: str | None, cidr: Block, *, by_project: bool
) -> tuple[str, HostBlock] | None:
    """Return a block that stands in the way, and where it is."""
    span = {
        "wire": wire,
        "first_address": cidr.network_address,
        "last_address": cidr.broadcast_address,
    }
    known = [*_near(tx, span), *_own(tx.settings)]
    blocks = [one for _, one in known]
    allowed = tx.settings.allowed_host_cidrs
    found = in_the_way(cidr, blocks, wire, allowed=allowed, by_project=by_project)
    return next((pair for pair in known if pair[1] is found), None)


def _near(tx: ReadTx, span: Mapping[str, Any]) -> list[tuple[str, HostBlock]]:
    return [(f"host {row.host}", _block(row)) for row in tx.conn.execute(_NEAR, span)]


def _block(row: Any) -> HostBlock:
    return HostBlock(
        cidr=block_at(row.first, row.prefix),
        what=row.what,
        detail=row.detail,
        physical_network=row.physical_network,
    )


def _own(settings: ServerSettings) -> list[tuple[str, HostBlock]]:
    """Return the addresses at which this server listens; that for all of a machine is none."""
    listeners = {ip_address(address) for address, _ in (settings.listen, settings.agent_listen)}
    return [
        (SERVER, HostBlock(cidr=block_at(address, address.max_prefixlen), what="server"))
        for address in listeners
        if not address.is_unspecified
    ]
