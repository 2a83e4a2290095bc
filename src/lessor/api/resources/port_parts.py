"""The lists inside a port: addresses, DHCP options, allowed address pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

from lessor.api.rest.fields import address, block, mac, uuid
from lessor.errors import Invalid
from lessor.model import AddressPair, DhcpOption, Port
from lessor.net.address import text_of
from lessor.store.values import FixedIpRequest


class FixedIpBody(Struct, forbid_unknown_fields=True):
    """An address of a port; on requests either part may be left to the server."""

    subnet_id: str | UnsetType = UNSET
    ip_address: str | UnsetType = UNSET


class DhcpOptionBody(Struct, forbid_unknown_fields=True):
    """A DHCP option of a port. On an update a null value takes the option away."""

    opt_name: Annotated[str, Meta(min_length=1, max_length=64)]
    opt_value: Annotated[str, Meta(max_length=255)] | None
    ip_version: int | str = 4


class PairBody(Struct, forbid_unknown_fields=True):
    """Something else that a port may send with."""

    ip_address: str
    mac_address: str | None = None


def fixed_ips(given: list[FixedIpBody]) -> tuple[FixedIpRequest, ...]:
    """Read the addresses that a port wants."""
    return tuple(
        FixedIpRequest(
            None if fixed.subnet_id is UNSET else uuid(fixed.subnet_id),
            None if fixed.ip_address is UNSET else address(fixed.ip_address),
        )
        for fixed in given
    )


def show_fixed_ips(row: Port, _: Any) -> list[dict[str, str]]:
    """Show the addresses that a port has."""
    return [
        {"subnet_id": fixed.subnet_id, "ip_address": str(fixed.address)} for fixed in row.fixed_ips
    ]


def options(given: list[DhcpOptionBody] | None) -> tuple[DhcpOption | Removal, ...]:
    """Read DHCP options; one whose value is null is asked to go.

    Raises:
        Invalid: it is for another IP version than 4.
    """
    return tuple(_option(option) for option in given or ())


class Removal(Struct, frozen=True):
    """A port's DHCP option that is to go."""

    name: str
    ip_version: int


def _option(given: DhcpOptionBody) -> DhcpOption | Removal:
    name = given.opt_name.strip()
    if str(given.ip_version) != "4":
        raise Invalid(f"option {name} of IP version {given.ip_version}; only 4 is supported")
    if given.opt_value is None:
        return Removal(name, 4)
    return DhcpOption(name, given.opt_value)


def merged(
    present: Sequence[DhcpOption], given: Sequence[DhcpOption | Removal]
) -> tuple[DhcpOption, ...]:
    """Return a port's options after an update: those not named stay (Neutron's rule)."""
    kept = {(option.name, option.ip_version): option for option in present}
    for option in given:
        if isinstance(option, Removal):
            kept.pop((option.name, option.ip_version), None)
        else:
            kept[option.name, option.ip_version] = option
    return tuple(kept.values())


def show_options(row: Port, _: Any) -> list[dict[str, Any]]:
    """Show a port's DHCP options."""
    return [
        {"opt_name": option.name, "opt_value": option.value, "ip_version": option.ip_version}
        for option in row.extra_dhcp_opts
    ]


def pairs(given: list[PairBody] | None) -> tuple[AddressPair, ...]:
    """Read allowed address pairs: an address or a block each."""
    return tuple(
        AddressPair(
            block(pair.ip_address),
            None if pair.mac_address is None else mac(pair.mac_address),
        )
        for pair in given or ()
    )


def show_pairs(row: Port, _: Any) -> list[dict[str, str]]:
    """Show allowed address pairs; without a MAC of its own a pair has the port's."""
    return [
        {
            "ip_address": text_of(pair.addresses),
            "mac_address": pair.mac or row.mac_address,
        }
        for pair in row.allowed_address_pairs
    ]
