"""The state of hosts that a server has in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lessor.model import Report
from lessor.store.hosts.heartbeats import Heartbeats, SilenceWatch

if TYPE_CHECKING:  # found in transactions, which know the fleet
    from lessor.store.hosts.no_address import Troubles

DELETED = "-"  # before a host's name, where servers tell each other which hosts a change concerns


@dataclass(slots=True)
class Fleet:
    """The state of hosts between transactions.

    Attributes:
        opened_at: when this server began to listen to them, in seconds since 1970.
        heartbeats: when they reported last.
        reports: the parts of their last reports that repeat, by host.
        tokens: (host, monotonic time until which that is valid), by the token's hash.
        able: hosts for which missing DHCP servers of overlay networks were placed.
        silence: decides when a silent host counts as dead.
        troubles: (time, troubles) of the last search; None: search again.
    """

    opened_at: float
    silence: SilenceWatch
    heartbeats: Heartbeats = field(default_factory=Heartbeats)
    reports: dict[str, Report] = field(default_factory=dict)
    tokens: dict[str, tuple[str, float]] = field(default_factory=dict)
    able: frozenset[str] = frozenset()
    troubles: tuple[float, Troubles] | None = None

    def forget(self, host: str) -> None:
        """Forget a deleted host."""
        self.forget_tokens(host)
        self.heartbeats.forget(host)
        self.reports.pop(host, None)

    def forget_tokens(self, host: str) -> None:
        """Forget the tokens of a host."""
        self.tokens = {key: known for key, known in self.tokens.items() if known[0] != host}

    def forget_troubles(self) -> None:
        """Have troubles searched for again."""
        self.troubles = None
