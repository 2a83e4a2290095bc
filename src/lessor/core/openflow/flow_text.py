"""Flows as ovs-ofctl writes them; ports are given by name."""

from __future__ import annotations


def flow(table: int, priority: int, match: str, actions: str) -> str:
    """Return one flow; an empty match is every packet.

    Source: ovs-ofctl(8), Flow Syntax.
    """
    return f"table={table},priority={priority},{f'{match},' if match else ''}actions={actions}"


def to(table: int) -> str:
    """Return the action that goes on in another table."""
    return f"resubmit(,{table})"
