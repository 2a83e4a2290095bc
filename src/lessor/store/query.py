"""Queries of lists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Query:
    """Filters, order and page of a list.

    Attributes:
        filters: by model field name; a row passes that has one of the values of each. Ports also
            take `ip_address`, `subnet_id` and `ip_address_substr` (of one of their addresses);
            leases `at` (who had it at that time) and `live` (bool: whether it is alive now). Rows
            that can have tags take `tags`, `tags-any`, `not-tags` and `not-tags-any`, each a list.
        sort: (field, descending) pairs; the id comes last by itself.
        limit: rows at most; None: all.
        marker: the id of the row before the page (after it, with `page_reverse`).
        page_reverse: the page before the marker instead of the one after it.
        visible_to: only what this project may see: its own, what is on its networks, what is shared
            with it (`visible`); None: all.
    """

    filters: Mapping[str, tuple[object, ...]] = field(default_factory=dict)
    sort: tuple[tuple[str, bool], ...] = ()
    limit: int | None = None
    marker: str | None = None
    page_reverse: bool = False
    visible_to: str | None = None
