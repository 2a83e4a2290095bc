"""What a look at a host finds of a DHCP server, whichever program serves it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class DhcpStatus:
    """A DHCP server as found on the host.

    Attributes:
        program: its name.
        process: the running process, and what is odd about it; "": none runs.
        serves: whether it runs where it should.
        process_command: shows the process.
        reservations: (MAC, address) of each reservation that it has.
        store: what holds them, and where.
        reservations_command: shows them.
    """

    program: str
    process: str
    serves: bool
    process_command: str
    reservations: frozenset[tuple[str, str]]
    store: tuple[str, str]
    reservations_command: str
