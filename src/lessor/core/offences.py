"""Frames of a VM, or of a DHCP server on a wire, that its host drops."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

SOURCE_S = 180  # so long after its last frame a wrong MAC or address is reported
DHCP_S = 600  # and so long an offence against DHCP


class Reason(StrEnum):
    """Why frames were dropped."""

    MAC = "mac"  # from another MAC than the port's
    SOURCE = "source"  # from another address, in IPv4 or ARP
    ANSWER = "answer"  # a VM answered DHCP
    REQUEST = "request"  # too many DHCP requests
    WIRE = "wire"  # a DHCP server on the physical wire answered


BY_SOURCE = frozenset((Reason.MAC, Reason.SOURCE))


@dataclass(frozen=True, slots=True)
class Offence:
    """One kind of frame that is dropped.

    Of `Reason.WIRE`, `mac` and `address` are the server's.
    """

    tap: str  # "": it came from the wire
    reason: Reason
    mac: str = ""  # source; "": not known
    address: str = ""
    client: str = ""  # MAC that a server on the wire answered


@dataclass(frozen=True, slots=True)
class Count:
    """Frames dropped so far, and seconds since the last of them; None: not known."""

    packets: int
    age_s: float | None = None


def lasts_s(reason: Reason) -> float:
    """Return for how many seconds after its last frame an offence is reported."""
    return SOURCE_S if reason in BY_SOURCE else DHCP_S
