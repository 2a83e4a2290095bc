"""VNIs of vxlan networks: given or the lowest free one, unique by constraint."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import IntegrityError

from lessor.errors import Conflict, Invalid, Unavailable
from lessor.model import VXLAN
from lessor.settings import ServerSettings
from lessor.store.engine.tx import Tx
from lessor.store.sharing import visible
from lessor.store.tables import networks

_LOW: Any = bindparam("low")
_HIGH: Any = bindparam("high")

# In their order the numbers in use are low, low + 1, ... up to the first gap; so many are counted.
# A join of each with its successor stops at the gap, but PostgreSQL without statistics compares all
# with all.
_USED = (
    select(
        networks.c.segmentation_id.label("vni"),
        func.row_number().over(order_by=networks.c.segmentation_id).label("place"),
    )
    .where(networks.c.network_type == VXLAN, networks.c.segmentation_id.between(_LOW, _HIGH))
    .subquery()
)
_BEFORE_GAP = select(func.count()).select_from(_USED).where(_USED.c.vni == _LOW + _USED.c.place - 1)
_HOLDER = select(networks.c.id, networks.c.name).where(
    networks.c.network_type == VXLAN, networks.c.segmentation_id == bindparam("vni")
)


def vni(tx: Tx, asked: int | None) -> int:
    """Return the VNI of a new network.

    Raises:
        Invalid: the one asked for is out of range.
        Unavailable: every VNI is in use.
    """
    if asked is not None:
        _check_range(tx.settings, asked)
        return asked
    found = lowest_free(tx)
    if found is None:
        raise Unavailable(
            f"no VNI is free: every one of vni_ranges {_ranges(tx.settings)} is a network's; "
            "delete networks, or widen vni_ranges",
            type_="NoNetworkAvailable",
        )
    return found


def lowest_free(tx: Tx) -> int | None:
    """Return the lowest VNI of the ranges that no network has; None: all are in use."""
    for low, high in sorted(tx.settings.vni_ranges):
        start = tx.no_vni_below.get(low, low)  # else many networks at once would walk it for each
        free = start + tx.conn.execute(_BEFORE_GAP, {"low": start, "high": high}).scalar_one()
        tx.no_vni_below[low] = free
        if free <= high:
            return free
    return None


def _check_range(settings: ServerSettings, number: int) -> None:
    if not any(low <= number <= high for low, high in settings.vni_ranges):
        raise Invalid(
            f"segmentation_id {number} is out of range: vni_ranges is {_ranges(settings)}; give "
            "one of them, or none to have one chosen"
        )


def _ranges(settings: ServerSettings) -> str:
    return ",".join(f"{low}:{high}" for low, high in settings.vni_ranges)


def in_use(tx: Tx, number: int | None, error: IntegrityError, acts_for: str | None) -> Exception:
    """Return the error that says which network has a VNI, as far as the caller may know.

    Where it is about something else, `error` itself is returned.
    """
    holder = tx.conn.execute(_HOLDER, {"vni": number}).first()
    if holder is None:
        return error
    seen = visible.sees(tx, "network", holder.id, acts_for)
    by = f" by network {holder.id} ({holder.name or 'unnamed'})" if seen else ""
    return Conflict(
        f"segmentation_id {number} is in use{by}; give another, or none to have one chosen",
        type_="TunnelIdInUse",
    )
