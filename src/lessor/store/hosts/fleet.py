"""What a server knows of the hosts beside the database: for itself, until it ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lessor.model import Report
from lessor.store.hosts.heartbeats import Heartbeats, SilenceWatch

if TYPE_CHECKING:  # found in transactions, which know the fleet
    from lessor.store.hosts.troubles import Troubles

DELETED = "-"  # before a host's name, where servers tell each other which hosts a change concerns


@dataclass(slots=True)
class Fleet:
    """The hosts, as far as a server remembers them between transactions.

    Attributes:
        opened_at: when this server began to listen to them, in seconds since 1970.
        heartbeats: when they reported last.
        reports: their last reports, without what is news, by host.
        tokens: whose a token is, and until when that is believed (monotonic), by the token's hash.
        able: hosts that had their chance of DHCP servers of overlay networks.
        silence: tells when a host's silence means that it is dead.
        troubles: when they were last looked for, and what was found; None: look again.
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
        """Forget the tokens of a host: they may have ended."""
        self.tokens = {key: known for key, known in self.tokens.items() if known[0] != host}

    def forget_troubles(self) -> None:
        """Have troubles looked for again."""
        self.troubles = None
