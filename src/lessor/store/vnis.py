"""Numbers of vxlan networks (VNIs): given or the lowest free one, unique by constraint."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, exists, select, union_all
from sqlalchemy.exc import IntegrityError

from lessor.errors import Conflict, Invalid, Unavailable
from lessor.settings import ServerSettings
from lessor.store.tables import networks
from lessor.store.writer import Tx

VXLAN = "vxlan"

_LOW: Any = bindparam("low")
_HIGH: Any = bindparam("high")
_NEXT = networks.alias("next")


def _taken(table: Any, number: Any) -> Any:
    return exists(select(1).where(table.c.network_type == VXLAN, table.c.segmentation_id == number))


# The range's first number, or the one behind the first that has no successor: the index is read
# only up to the first gap.
_GAP = union_all(
    select(_LOW.label("vni")).where(~_taken(networks, _LOW)),
    select(
        select(networks.c.segmentation_id + 1)
        .where(
            networks.c.network_type == VXLAN,
            networks.c.segmentation_id >= _LOW,
            networks.c.segmentation_id < _HIGH,
            ~_taken(_NEXT, networks.c.segmentation_id + 1),
        )
        .order_by(networks.c.segmentation_id)
        .limit(1)
        .scalar_subquery()
    ),
)
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
        free = [row[0] for row in tx.conn.execute(_GAP, {"low": start, "high": high}) if row[0]]
        if free:
            tx.no_vni_below[low] = int(min(free))
            return tx.no_vni_below[low]
    return None


def _check_range(settings: ServerSettings, number: int) -> None:
    if not any(low <= number <= high for low, high in settings.vni_ranges):
        raise Invalid(
            f"segmentation_id {number} is out of range: vni_ranges is {_ranges(settings)}; give one "
            "of them, or none to have one chosen"
        )


def _ranges(settings: ServerSettings) -> str:
    return ",".join(f"{low}:{high}" for low, high in settings.vni_ranges)


def in_use(tx: Tx, number: int | None, error: IntegrityError) -> Exception:
    """Return the error that says which network has a VNI, or `error` if it is about something else."""
    holder = tx.conn.execute(_HOLDER, {"vni": number}).first()
    if holder is None:
        return error
    return Conflict(
        f"segmentation_id {number} is in use by network {holder.id} ({holder.name or 'unnamed'}); "
        "give another, or none to have one chosen",
        type_="TunnelIdInUse",
    )
