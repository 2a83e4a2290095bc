"""Maps a leased address to its network, even after the network has left this host.

The end of a lease is often reported after its network left the view, so blocks are stored in a
small file.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lessor.agent.host import unwritten
from lessor.agent.host.atomic import atomic_write
from lessor.core.state import DhcpServer
from lessor.errors import Invalid
from lessor.net.address import Address, Block
from lessor.wire import decode, encode

MAX_BLOCKS = 4096  # blocks remembered; the oldest go first


@dataclass(frozen=True, slots=True)
class ServedBlock:
    """A block of addresses that a DHCP server of this host serves, or served."""

    server: str
    cidr: Block
    network_id: str


@dataclass(frozen=True, slots=True)
class _Blocks:
    blocks: list[ServedBlock] = field(default_factory=list)


class ServedBlocks:
    """The blocks that DHCP servers of this host serve or served, newest first."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._blocks = _load(file)

    def add(self, servers: Iterable[DhcpServer]) -> None:
        """Remember the blocks of these servers."""
        fresh = [ServedBlock(s.name, r.cidr, r.network_id) for s in servers for r in s.ranges]
        if fresh == self._blocks[: len(fresh)]:
            return
        self._blocks = [*fresh, *(b for b in self._blocks if b not in fresh)][:MAX_BLOCKS]
        unwritten.attempt(self._file, self._write)

    def _write(self) -> None:
        atomic_write(self._file, encode(_Blocks(self._blocks)), durable=True)

    def network_of(self, server: str, address: Address) -> str | None:
        """Return the id of the present or last network of `address`; None: it is unknown."""
        return next(
            (b.network_id for b in self._blocks if b.server == server and address in b.cidr), None
        )


def _load(file: Path) -> list[ServedBlock]:
    try:
        return decode(file.read_bytes(), _Blocks).blocks
    except (FileNotFoundError, Invalid):
        return []
