"""What a port of a project may not be on a wire that others share. `pairs` has its pairs."""

from __future__ import annotations

from collections.abc import Iterable

from lessor.errors import Forbidden
from lessor.model import Port
from lessor.net.macs import kept
from lessor.store.engine.tx import Tx
from lessor.store.hosts import blocks as hostblocks
from lessor.store.networks.addressing import Ground
from lessor.store.values import FixedIpRequest

_DEVICES = "network:"  # device_owner of a network's own devices begins so


def check(tx: Tx, land: Ground, before: Port | None, after: Port, acts_for: str | None) -> None:
    """Refuse a project's port to be unguarded, or a host or device of a flat network's own.

    Args:
        tx: the transaction.
        land: the port's network.
        before: the port as it was; None: it is new.
        after: the port.
        acts_for: the one project that the caller acts for; None: any.

    Raises:
        Forbidden: it takes an administrator, or the network's project.
    """
    if acts_for is None:
        return
    guarded = before.port_security_enabled if before else land.port_security_enabled
    if guarded and not after.port_security_enabled:
        _check_unguarded(land, acts_for)
    if land.wire is None:
        return
    owner, mac = (before.device_owner, before.mac_address) if before else ("", "")
    if after.device_owner != owner:
        _check_device(land, after.device_owner)
    if after.mac_address != mac:
        _check_mac(land, after.mac_address, tx.settings.base_mac)


def _check_unguarded(land: Ground, project: str) -> None:
    if land.project_id != project:
        raise Forbidden(
            f"port_security_enabled=false of a port of network {land.id}, which is another "
            "project's: its project or an administrator can say so"
        )
    if land.wire is not None:
        raise unguarded(f"a port of flat network {land.id}")


def unguarded(what: str) -> Forbidden:
    """Return the error that says why a project's port on a flat network keeps its guard."""
    return Forbidden(
        f"port_security_enabled=false of {what}: it could be anybody on a wire that others share; "
        "ask an administrator, or take a vxlan network"
    )


def _check_device(land: Ground, device_owner: str) -> None:
    if device_owner.startswith(_DEVICES):
        raise Forbidden(
            f"device_owner {device_owner!r} of a port of flat network {land.id}: its hosts are "
            "gateway and DHCP server there, and would take a VM's port for one of theirs; give "
            "another, or ask an administrator"
        )


def _check_mac(land: Ground, mac: str, base: str) -> None:
    """Hosts and routers of the wire have MACs, too: which, nobody but an operator knows."""
    if not mac.startswith(always := kept(base)):
        raise Forbidden(
            f"MAC address {mac} of a port of flat network {land.id}: on a wire that others share a "
            f"project's ports have MACs that begin with {always} (base_mac); leave it out, or ask "
            "an administrator"
        )


def check_addresses(tx: Tx, land: Ground, wanted: Iterable[FixedIpRequest]) -> None:
    """Refuse a project's port an address beyond the pools that the operator, a host or the server needs.

    Raises:
        Invalid: no subnet can have it.
        Conflict: a host or the server has or reaches it.
    """
    for want in wanted:
        if want.address is not None:
            number = int(want.address)
            hostblocks.check_parts(tx, land.wire, land.beyond_pools((number, number)))
