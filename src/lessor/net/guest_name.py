"""The name of a VM, which DHCP, DNS, the API and the metadata service share."""

from __future__ import annotations

from lessor.model import Port
from lessor.net.address import Address
from lessor.net.labels import label


def hostname(port: Port, address: Address) -> str:
    """Return the label a port's VM is told and found by: its dns_name, its name, or its address.

    Without a usable name it is as in Neutron: 10.0.0.5 is "host-10-0-0-5" (semantics.md B8).
    """
    given = label(port.dns_name.split(".", 1)[0]) if port.dns_name else ""
    return given or label(port.name) or f"host-{str(address).replace('.', '-')}"
