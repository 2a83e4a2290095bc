"""A VM's lease, as written by our udhcpc script."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lessor import wire

FILE = "lease.json"  # in a VM's folder


@dataclass(frozen=True, slots=True, kw_only=True)
class VmLease:
    """A DHCP client's lease. Times in seconds; `dora_ms` in milliseconds on the wire."""

    address: IPv4Address
    prefix_length: int
    server: IPv4Address
    lease_time_s: int
    mtu: int | None = None
    router: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    routes: tuple[tuple[IPv4Network, IPv4Address], ...] = ()  # RFC 3442
    domain: str = ""
    hostname: str = ""
    dora_ms: float | None = None


def parse_lease(text: str, dora_ms: float | None = None) -> VmLease:
    """Parse the `lease` file of guest/lease.sh.

    Raises:
        KeyError, ValueError: it is incomplete.
    """
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    routes = values["staticroutes"].split()
    return VmLease(
        address=IPv4Address(values["ip"]),
        prefix_length=int(values["mask"]),
        server=IPv4Address(values["serverid"]),
        lease_time_s=int(values["lease"]),
        mtu=int(values["mtu"]) if values["mtu"] else None,
        router=IPv4Address(values["router"].split()[0]) if values["router"] else None,
        dns=tuple(IPv4Address(word) for word in values["dns"].split()),
        routes=tuple(
            (IPv4Network(destination), IPv4Address(via))
            for destination, via in zip(routes[::2], routes[1::2], strict=True)
        ),
        domain=values["domain"],
        hostname=values["hostname"],
        dora_ms=dora_ms,
    )


def write_lease(folder: Path, lease: VmLease) -> None:
    """Store a lease in the VM's folder."""
    (folder / FILE).write_bytes(wire.encode(lease))


def read_lease(folder: Path) -> VmLease | None:
    """Return the stored lease; None: there is none."""
    path = folder / FILE
    return wire.decode(path.read_bytes(), VmLease) if path.exists() else None
