"""Limits of projects' ports on a shared wire. `pairs` has those of address pairs."""

from __future__ import annotations

from collections.abc import Iterable

from lessor.errors import Forbidden
from lessor.model import Port
from lessor.net.keys import number_of
from lessor.net.macs import kept
from lessor.store.engine.tx import Tx
from lessor.store.hosts import blocks as hostblocks
from lessor.store.networks.addressing import NetworkAddressing
from lessor.store.values import FixedIpRequest

_DEVICES = "network:"  # device_owner of a network's own devices begins so


def check(
    tx: Tx, network: NetworkAddressing, before: Port | None, after: Port, acts_for: str | None
) -> None:
    """Refuse a project's port to be unguarded, or a host or device of a flat network's own.

    Args:
        tx: the transaction.
        network: the port's network.
        before: the port as it was; None: it is new.
        after: the port.
        acts_for: the one project that the caller acts for; None: any.

    Raises:
        Forbidden: it takes an administrator, or the network's project.
    """
    if acts_for is None:
        return
    guarded = before.port_security_enabled if before else network.port_security_enabled
    if guarded and not after.port_security_enabled:
        _check_unguarded(network, acts_for)
    if network.wire is None:
        return
    owner, mac = (before.device_owner, before.mac_address) if before else ("", "")
    if after.device_owner != owner:
        _check_device(network, after.device_owner)
    if after.mac_address != mac:
        _check_mac(network, after.mac_address, tx.settings.base_mac)


def _check_unguarded(network: NetworkAddressing, project: str) -> None:
    if network.project_id != project:
        raise Forbidden(
            f"port_security_enabled=false of a port of network {network.id}, which is another "
            "project's: its project or an administrator can say so"
        )
    if network.wire is not None:
        raise unguarded(f"a port of flat network {network.id}")


def unguarded(what: str) -> Forbidden:
    """Return the error that says why a project's port on a flat network keeps its guard."""
    return Forbidden(
        f"port_security_enabled=false of {what}: it could be anybody on a wire that others share; "
        "ask an administrator, or take a vxlan network"
    )


def _check_device(network: NetworkAddressing, device_owner: str) -> None:
    if device_owner.startswith(_DEVICES):
        raise Forbidden(
            f"device_owner {device_owner!r} of a port of flat network {network.id}: its hosts are "
            "gateway and DHCP server there, and would take a VM's port for one of theirs; give "
            "another, or ask an administrator"
        )


def _check_mac(network: NetworkAddressing, mac: str, base: str) -> None:
    """Refuse MACs beyond base_mac: those of the wire's hosts and routers are not known here."""
    if not mac.startswith(always := kept(base)):
        raise Forbidden(
            f"MAC address {mac} of a port of flat network {network.id}: on a wire that others "
            f"share a project's ports have MACs that begin with {always} (base_mac); leave it out, "
            "or ask an administrator"
        )


def check_addresses(tx: Tx, network: NetworkAddressing, wanted: Iterable[FixedIpRequest]) -> None:
    """Refuse a project's port an address beyond the pools that others need.

    Others are the operator, hosts and the server.

    Raises:
        Invalid: no subnet can have it.
        Conflict: a host or the server has or reaches it.
    """
    for want in wanted:
        if want.address is not None:
            number = number_of(want.address)
            hostblocks.check_parts(tx, network.wire, network.beyond_pools((number, number)))
