"""The name servers that a host's own resolv.conf lists.

Source: resolv.conf(5).
"""

from __future__ import annotations

from collections.abc import Iterator

from lessor.net.address import read_address

_NAMESERVER = 2  # fields of its line


def read_resolvers(text: str) -> tuple[str, ...]:
    """Return the addresses of the name servers, in order; what is none is left out."""
    return tuple(dict.fromkeys(_resolvers(text)))


def _resolvers(text: str) -> Iterator[str]:
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= _NAMESERVER and fields[0] == "nameserver":
            try:
                address = read_address(fields[1])
            except ValueError:
                continue
            if not address.is_link_local:  # that takes an interface, and is rare
                yield str(address)
