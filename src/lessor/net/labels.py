"""Labels and domains, fit for DNS and for a line of a dnsmasq file, whatever a user typed."""

from __future__ import annotations

import re

LONGEST = 63  # characters of a label (RFC 1035, 2.3.4)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
_UNFIT = re.compile(r"[^a-z0-9]+", re.ASCII)
# dnsmasq reads these words of a dhcp-host line as a lease time or an order, not as a name
_TAKEN = re.compile(r"ignore|infinite|[0-9]+[smhdw]?", re.ASCII)


def label(text: str) -> str:
    """Make a DNS label of `text`: lower case, anything unfit a dash; "" if nothing is left.

    Over 63 characters it becomes the first two, a dash and the last sixty, as in nova-network:
    dnsmasq ignores a host with a longer name without a word (LP 1238910). A word that dnsmasq
    would take for something else gets "host-" before it.
    """
    lower = text.lower()
    dashed = lower if lower.isascii() and lower.isalnum() else _UNFIT.sub("-", lower).strip("-")
    if _TAKEN.fullmatch(dashed):
        dashed = f"host-{dashed}"
    if len(dashed) > LONGEST:
        dashed = f"{dashed[:2]}-{dashed[-60:]}"
    return dashed


def is_label(text: str) -> bool:
    """Tell whether `text` can stand as a host's name in a dnsmasq file."""
    return len(text) <= LONGEST and bool(_LABEL.fullmatch(text)) and not _TAKEN.fullmatch(text)


def is_domain(text: str) -> bool:
    """Tell whether `text` is a domain of labels, its last one not a number (RFC 1123, 2.1)."""
    labels = text.split(".")
    fit = all(len(one) <= LONGEST and _LABEL.fullmatch(one.lower()) for one in labels)
    return fit and len(text) <= 253 and not labels[-1].isdigit()  # noqa: PLR2004 - RFC 1035, 3.1
