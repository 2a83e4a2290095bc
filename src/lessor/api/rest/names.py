"""Names that end up in DNS or in a DHCP server's files: what clients may send."""

from __future__ import annotations

import re

from lessor.errors import Invalid
from lessor.net.labels import is_domain

LONGEST = 255  # RFC 1035 section 3.1
LABELS = re.compile(
    r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*"
)
OF_ADDRESSES = re.compile(r"(.+\.)?(in-addr|ip6)\.arpa|arpa", re.IGNORECASE)  # RFC 1035, 3596


def domain(value: str) -> str:
    """Read a domain, with or without the dot at its end that Neutron demands; it stays as it is.

    Raises:
        Invalid: no VM can be found by a name in it, or it is one of addresses: all of it would be
            answered here alone, the names of other machines' addresses too.
    """
    bare = value.removesuffix(".")
    dns_name(bare)
    if value and not is_domain(bare):
        raise Invalid(
            f"{value!r} is no domain: labels have 1 to 63 letters, digits and hyphens, the last one "
            "is no number, and there are dots between them; give another, or '' for dhcp_domain"
        )
    if OF_ADDRESSES.fullmatch(bare):
        raise Invalid(
            f"{value!r} is a domain of addresses, in which no host has its name; give another"
        )
    return value


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
