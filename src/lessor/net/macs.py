"""MAC addresses: their form, and new ones."""

from __future__ import annotations

import re
from collections.abc import Callable

from lessor.errors import Invalid

_FORM = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}\Z")
_KEPT = 3  # octets of base_mac that every new MAC has


def parsed_mac(text: str) -> str:
    """Return a MAC in lower case with colons; hyphens are read as well.

    Raises:
        Invalid: it isn't six octets, or is a group's or nobody's and so can't be a port's.

    Source: IEEE 802-2014 section 8.2 (the first octet's lowest bit marks a group).
    """
    mac = text.strip().lower().replace("-", ":")
    if not _FORM.match(mac):
        raise Invalid(f"{text!r} is not a MAC address: give six octets like fa:16:3e:12:34:56")
    if int(mac[:2], 16) & 1:
        raise Invalid(f"{mac} is a group address (its first octet is odd); a port needs its own")
    if mac == "00:00:00:00:00:00":
        raise Invalid(f"{mac} is nobody's address; give another, or none to have one made")
    return mac


def kept(base: str) -> str:
    """Return what every MAC made of `base` begins with: three octets."""
    return ":".join(base.lower().split(":")[:_KEPT])


def new_mac(base: str, random_octet: Callable[[], int]) -> str:
    """Return a MAC that begins like `base`: three octets, or four if the fourth isn't 00.

    Source: Neutron's base_mac (semantics.md B4).
    """
    octets = base.lower().split(":")
    kept = octets[: _KEPT + (octets[_KEPT] != "00")]
    return ":".join([*kept, *(f"{random_octet():02x}" for _ in range(6 - len(kept)))])
