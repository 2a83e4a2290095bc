"""Problems about dropped frames of VMs: which port, why, and with which addresses.

Networks have no IPv6, and guests use it all the same: no problem is reported for that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from lessor.core.firewall.dhcp_limit import RATE
from lessor.core.offences import BY_SOURCE, Offence, Reason
from lessor.core.plan.desired import Desired
from lessor.core.vmport import PortSecurity
from lessor.model import AddressPair, Network, Port, Problem
from lessor.net.address import text_of

FEWEST = 3  # frames: a single one is a stray, as of a VM's own containers


@dataclass(frozen=True, slots=True)
class Ongoing:
    """An offence that goes on: frames dropped, and when the last was, in seconds since 1970."""

    packets: int
    at: float


@dataclass(frozen=True, slots=True)
class PortHere:
    """A port whose tap is on this host, and what is enforced there."""

    port: Port
    security: PortSecurity


def ports_here(desired: Desired, taps: Collection[str]) -> dict[str, PortHere]:
    """Return the ports of some taps; a tap that this host should not have is left out."""
    return {
        guard.tap: PortHere(plan.rows[plan.state.taps[guard.tap].port_id], guard)
        for plan in desired.plans
        for guard in plan.guards
        if guard.tap in taps
    }


def port_sentences(
    ongoing: Mapping[Offence, Ongoing], ports: Mapping[str, PortHere]
) -> Iterator[str]:
    """Say which ports are refused, and what would help: one sentence for each port and reason.

    Args:
        ongoing: what goes on.
        ports: the ports of this host, by tap.
    """
    worst: dict[tuple[str, Reason], Offence] = {}
    for offence in sorted(ongoing, key=lambda one: (ongoing[one].at, one.address, one.mac)):
        port = ports.get(offence.tap)
        true = _reason(offence, port) if port else None
        if true and ongoing[offence].packets >= (FEWEST if true in BY_SOURCE else 1):
            worst[offence.tap, true] = offence
    for (tap, reason), offence in sorted(worst.items()):
        yield _sentence(reason, offence, ongoing[offence], ports[tap])


def _reason(offence: Offence, port: PortHere) -> Reason | None:
    """Return why a frame like this would be refused now; None: it wouldn't, or is no matter."""
    if offence.reason not in BY_SOURCE:
        return offence.reason
    if not port.security.is_enforced:  # port security is off by now
        return None
    if offence.reason is Reason.MAC:
        return None if offence.mac in port.security.macs else Reason.MAC
    if offence.mac and offence.mac not in port.security.macs:
        return None  # it had another MAC then; frames with that are an offence of their own now
    return Reason.SOURCE if _is_strange(offence, port) else None


def _is_strange(offence: Offence, port: PortHere) -> bool:
    """Tell whether an address is one that a VM should not have.

    What hosts do without an address (0.0.0.0, RFC 3927's) is no sign of a wrong one.
    """
    if not offence.address:
        return False
    address = ip_address(offence.address)
    if address.is_unspecified or address.is_link_local or address.is_loopback:
        return False
    return all(address not in block for mac, block in port.security.sources if mac == offence.mac)


def _sentence(reason: Reason, offence: Offence, ongoing: Ongoing, port: PortHere) -> str:
    name = f"port {port.port.id} ({offence.tap})"
    last = f"the last at {clock(ongoing.at)}"
    match reason:
        case Reason.MAC:
            return f"{name}: {_wrong_mac(offence, ongoing, port)}"
        case Reason.SOURCE:
            return f"{name}: {_wrong_source(offence, ongoing, port)}"
        case Reason.ANSWER:
            return (
                f"{name} answers DHCP: {ongoing.packets} packets dropped, {last}; a VM may not, "
                "see what runs there"
            )
        case _:
            return (
                f"{name} sends more than {RATE} DHCP requests a second: {ongoing.packets} dropped, "
                f"{last}; see what runs in its VM"
            )


def _wrong_mac(offence: Offence, ongoing: Ongoing, port: PortHere) -> str:
    own, dropped = port.port.mac_address, f"{ongoing.packets} frames dropped, the last at"
    if not offence.mac:
        return (
            f"VM sends as another MAC than the port's {own} ({dropped} {clock(ongoing.at)}); set "
            "the VM's NIC to it"
        )
    change = f"lessor port set {port.port.id}"  # a bound port keeps its MAC
    host = f" --host {port.port.binding_host}" if port.port.binding_host else ""
    return (
        f"VM sends as {offence.mac}, the port is {own} ({dropped} {clock(ongoing.at)}); set the "
        "VM's NIC, or, if you gave it that MAC, "
        f'`{change} --host ""` and then '
        f"`{change} --mac {offence.mac}{host}`"
    )


def _wrong_source(offence: Offence, ongoing: Ongoing, port: PortHere) -> str:
    own = ", ".join(str(ip.address) for ip in port.port.fixed_ips) or "no address"
    dropped = f"({ongoing.packets} dropped, the last at {clock(ongoing.at)}); use DHCP in the VM"
    pairs = [_pair(pair) for pair in port.port.allowed_address_pairs]  # the option replaces them
    options = " ".join(f"--allowed-address {pair}" for pair in (*pairs, offence.address))
    return (
        f"VM sends from {offence.address}, the port has {own} {dropped}, or, if you gave it "
        f"that address, `lessor port set {port.port.id} {options}`"
    )


def _pair(pair: AddressPair) -> str:
    block = text_of(pair.addresses)
    return f"{block},{pair.mac}" if pair.mac else block


def wire_problems(
    ongoing: Mapping[Offence, Ongoing],
    vms: Mapping[str, Network],
    servers: Collection[str],
    place: Mapping[str, str],
) -> Iterator[Problem]:
    """Say which DHCP servers on a wire answer VMs of this host, and of which networks these are.

    Args:
        ongoing: what goes on.
        vms: the networks of this host's VMs, by MAC; a server that answers other machines may be
            theirs.
        servers: addresses of DHCP servers that Lessor has.
        place: what a server's MAC was last seen on, in words, by MAC.
    """
    found: dict[tuple[str, str], dict[Offence, Ongoing]] = {}
    for offence, one in ongoing.items():
        rogue = offence.reason is Reason.WIRE and offence.client in vms
        if rogue and offence.address not in servers:
            found.setdefault((offence.address, offence.mac), {})[offence] = one
    for (address, mac), many in sorted(found.items()):
        packets, at = sum(one.packets for one in many.values()), max(o.at for o in many.values())
        answered = {(network := vms[one.client]).id: network.name for one in many}
        names = ", ".join(sorted(name or key for key, name in answered.items()))
        if packets >= FEWEST:
            text = (
                f"a DHCP server at {address} ({mac}) answers on {place.get(mac, 'the wire')} "
                f"(network {names}): {packets} answers dropped, the last at {clock(at)}; find that "
                "MAC on the switch; machines on the wire that are not Lessor's VMs are not "
                "protected"
            )
            yield Problem(text=text, networks=tuple(sorted(answered)))


def clock(at: float) -> str:
    """Return a time of day, in UTC."""
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"
