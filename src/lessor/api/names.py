"""Names that end up in DNS or in a DHCP server's files: what clients may send."""

from __future__ import annotations

import re

from lessor.errors import Invalid

LONGEST = 255  # RFC 1035 section 3.1
LABELS = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)


def domain(value: str) -> str:
    """Read a domain; the dot at its end, which Neutron demands, is taken and dropped.

    Raises:
        Invalid: other characters than letters, digits, hyphens and dots, or it is too long.
    """
    return dns_name(value.removesuffix("."))


def dns_name(value: str) -> str:
    """Read a host's name. A label over 63 characters is shortened later (LP 1238910), not refused.

    Raises:
        Invalid: other characters than letters, digits, hyphens and dots, or it is too long.
    """
    if not value:
        return value
    if len(value) > LONGEST:
        raise Invalid(f"{len(value)} characters; the most is {LONGEST}")
    if not LABELS.fullmatch(value):
        raise Invalid(
            f"{value!r} is not a name of letters, digits and hyphens, with dots between labels"
        )
    return value
