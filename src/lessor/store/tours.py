"""Requests to hosts for a network's status, and their answers (`lessor network tour`).

They are in the database so that any server can ask a host that polls another one. A question is
gone as soon as its asker has the answers; what a server that died left behind goes with the next.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import bindparam, delete, insert, select, update

from lessor.errors import NotFound
from lessor.model import HostTour, Piece
from lessor.store.columns import packed
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.hosts import dhcp_candidates
from lessor.store.hosts.dhcp_scheduler import serving_hosts
from lessor.store.networks.addressing import hosts_taking_part
from lessor.store.tables import tours

STALE_S = 300.0
_PIECES = msgspec.json.Decoder(tuple[Piece, ...])

_OPEN = select(tours.c.id, tours.c.network_id).where(
    tours.c.host == bindparam("host_name"), tours.c.answer.is_(None)
)
_ANSWERS = select(tours.c.host, tours.c.answer).where(
    tours.c.id == bindparam("tour"), tours.c.answer.is_not(None)
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A tour that has begun: its id, and the hosts that are asked."""

    id: str
    hosts: tuple[str, ...]


def ask(tx: Tx, network_id: str) -> Asked:
    """Ask the hosts that take part in a network, as far as they are alive.

    Raises:
        NotFound: there is no such network.
    """
    hosts = {*serving_hosts(tx, network_id), *hosts_taking_part(tx, network_id)}
    asked = Asked(str(uuid.uuid4()), tuple(sorted(hosts)))
    living = sorted(hosts & dhcp_candidates.alive(tx))
    common = {"id": asked.id, "network_id": network_id, "asked_at": tx.now}
    tx.conn.execute(delete(tours).where(tours.c.asked_at < tx.now - STALE_S))
    if living:
        tx.conn.execute(insert(tours), [common | {"host": host} for host in living])
    tx.concerns(living)
    return asked


def open_for(tx: ReadTx, host: str) -> dict[str, str]:
    """Return the questions that a host has not answered: networks by the tour's id."""
    return {row[0]: row[1] for row in tx.conn.execute(_OPEN, {"host_name": host})}


def answer(tx: Tx, host: str, tour_id: str, pieces: Collection[Piece]) -> None:
    """Write the answer of a host.

    Raises:
        NotFound: the tour has ended.
    """
    here = (tours.c.id == tour_id, tours.c.host == host)
    done = tx.conn.execute(update(tours).where(*here).values(answer=packed(list(pieces))))
    if not done.rowcount:
        raise NotFound(f"nobody waits for tour {tour_id} of host {host} any more")


def answers(tx: ReadTx, tour_id: str) -> dict[str, HostTour]:
    """Return the answers so far, by host."""
    rows: Any = tx.conn.execute(_ANSWERS, {"tour": tour_id})
    return {host: HostTour(host=host, pieces=_PIECES.decode(text)) for host, text in rows}


def end(tx: Tx, tour_id: str) -> None:
    """Delete a tour."""
    tx.conn.execute(delete(tours).where(tours.c.id == tour_id))
