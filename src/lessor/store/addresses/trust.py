"""Which lease events a host may report: its token is worth that host alone.

It reports for the networks that it serves DHCP on, and for those that it hands over: as long as one
of its holds is left there, its spool may have earlier events. Events of other networks are skipped,
counted and logged, not refused: a late host would send the same again for ever. The end of its own
leases always counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import BindParameter, bindparam, exists, or_, select

from lessor.errors import Invalid
from lessor.model import LeaseEvent
from lessor.net.address import Address
from lessor.net.keys import key_of
from lessor.net.macs import parsed_mac
from lessor.settings import ServerSettings
from lessor.store.address_column import raw
from lessor.store.engine.tx import ReadTx, Tx
from lessor.store.tables import holds, networks, ports, subnets

SKEW_S = 86400.0  # by so much a host's clock may be fast
LEAST_LEASE_S = 120  # dnsmasq gives none shorter, whatever dhcp_lease_time says; dnsmasq(8)
GIVES, ENDS = frozenset({"add", "old"}), "del"

log = structlog.get_logger("lessor.store")

_HOST: BindParameter[str] = bindparam("host_name")
_MAY = select(networks.c.id).where(
    networks.c.id == bindparam("network"),
    or_(
        networks.c.host == _HOST,
        exists(select(1).where(ports.c.network_id == networks.c.id, ports.c.server_of == _HOST)),
        networks.c.multi_host
        & exists(
            select(1).where(ports.c.binding_host == _HOST, ports.c.network_id == networks.c.id)
        ),
        exists(select(1).where(holds.c.host == _HOST, holds.c.network_id == networks.c.id)),
    ),
)
_IS_THERE = select(networks.c.id).where(networks.c.id == bindparam("network"))
_SUBNETS = select(raw(subnets.c.first), raw(subnets.c.last)).where(
    subnets.c.network_id == bindparam("network")
)

NOT_ITS_NETWORK = "the host neither serves the network nor hands it over"
NO_NETWORK = "there is no such network"
NO_SUBNET = "no subnet of the network has the address"


@dataclass(slots=True)
class Trust:
    """The networks for which a host may report leases; each is looked up once.

    Attributes:
        tx: the transaction.
        host: its name.
        anywhere: after a restore, any existing network counts, and addresses of subnets that the
            store lost.
    """

    tx: ReadTx
    host: str
    anywhere: bool = False
    _known: dict[str, tuple[str, list[tuple[bytes, bytes]]]] = field(default_factory=dict)

    def refusal(self, network_id: str, address: Address) -> str:
        """Return why the host may not report an address; "" if it may."""
        if network_id not in self._known:
            self._known[network_id] = self._look(network_id)
        why, ranges = self._known[network_id]
        key = key_of(address)
        if why or self.anywhere or any(first <= key <= last for first, last in ranges):
            return why
        return NO_SUBNET

    def _look(self, network_id: str) -> tuple[str, list[tuple[bytes, bytes]]]:
        key = {"network": network_id}
        if self.anywhere:
            return "" if self.tx.conn.execute(_IS_THERE, key).first() else NO_NETWORK, []
        if not self.tx.conn.execute(_MAY, key | {"host_name": self.host}).first():
            return NOT_ITS_NETWORK, []
        return "", [(first, last) for first, last in self.tx.conn.execute(_SUBNETS, key)]


@dataclass(frozen=True, slots=True)
class Sifted:
    """Lease events of a host: those that count, and why others don't."""

    fit: list[LeaseEvent] = field(default_factory=list)
    passed_over: list[tuple[LeaseEvent, str]] = field(default_factory=list)

    def log_passed_over(self, host: str) -> None:
        """Log what was passed over, in one line."""
        if self.passed_over:
            event, why = self.passed_over[0]
            log.warning(
                "lease events passed over",
                host=host,
                count=len(self.passed_over),
                network=event.network_id,
                address=str(event.address),
                why=why,
            )


def sift(tx: Tx, trust: Trust, events: Iterable[LeaseEvent]) -> Sifted:
    """Return the lease events of a host that count, with MACs parsed and times in bounds."""
    found = Sifted()
    for event in events:
        try:
            fit = _fit(tx, trust, event)
        except Invalid as error:
            found.passed_over.append((event, str(error)))
        else:
            found.fit.append(fit)
    return found


def _fit(tx: Tx, trust: Trust, event: LeaseEvent) -> LeaseEvent:
    """Return an event as it counts, or raise Invalid."""
    if event.action not in GIVES and event.action != ENDS:
        raise Invalid(f"{event.action!r} is none of add, old and del")
    mac = parsed_mac(event.mac_address)
    if event.action in GIVES and (why := trust.refusal(event.network_id, event.address)):
        raise Invalid(why)
    end = None if event.expires_at is None else max(event.expires_at, 0.0)
    # however long ago: a spool waits for as long as the server is away
    at = min(max(event.at, 0.0), tx.now + SKEW_S)
    return replace(event, mac_address=mac, at=at, expires_at=end)


def latest_end(settings: ServerSettings, now: float) -> float | None:
    """Return when a lease that is given now ends at the latest; None: leases are without end."""
    lasts_s = settings.dhcp_lease_time
    return None if lasts_s < 0 else now + max(lasts_s, LEAST_LEASE_S)
