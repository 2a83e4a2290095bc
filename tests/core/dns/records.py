"""Names in a list, for tests of the pure part: what dnsd/table.py has on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lessor.core.dns.zone import Entry, Span, first_label, has_dot


class ListedNames:
    """See `core.dns.zone.Names`."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(dict.fromkeys(entries))

    def _of(self, name: bytes) -> list[bytes]:
        return [
            one.address
            for one in self._entries
            if name == one.name
            or (not has_dot(name) and first_label(name) == first_label(one.name))
        ]

    def addresses(self, name: bytes, within: Span, limit: int) -> Sequence[bytes]:
        octets = len(within.first)
        found = {one for one in self._of(name) if len(one) == octets}
        return sorted(one for one in found if within.first <= one <= within.last)[:limit]

    def has(self, name: bytes) -> bool:
        return bool(self._of(name))

    def name_of(self, address: bytes) -> bytes | None:
        return next((one.name for one in self._entries if one.address == address), None)
