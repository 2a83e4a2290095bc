"""IPv4 is named where it is meant: the rest of the product serves whatever family comes."""

from __future__ import annotations

import re
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "lessor"
NAMED = re.compile(r"\bIPv4(Address|Network|Interface)\b")

# module, or folder with a slash at its end -> why it names types of IPv4
NAMING = {
    "net/address.py": "makes one type of both families",
    "net/keys.py": "makes one order of both families",
    "net/blocks.py": "has the special blocks of IPv4",
    "net/dhcp_rules.py": "DHCPv4",
    "net/dhcp_values.py": "DHCPv4",
    "wire.py": "decodes the types of both families",
    "model.py": "the address of the metadata service",
    "settings.py": "the default of flat_network_dns, which is nova's",
    "config/types.py": "options that are of IPv4, as nova's are",
    "config/load.py": "the address of the default route's interface, for IPv4 options",
    "core/dhcp/": "DHCPv4",
    "core/dnsmasq/files.py": "DHCPv4",
    "core/leases.py": "reads leases of DHCPv4",
    "core/diagnosis/spoofs.py": "reads headers of IPv4",
    "core/metadata/guest.py": "a port without an address is named after 0.0.0.0",
    "core/metadata/network_data.py": "the default route",
    "core/plan/overlay.py": "names tunnels; routes of DHCPv4",
    "agent/drivers/native/responder.py": "DHCPv4",
    "agent/around.py": "reads the host's IPv4 addresses, routes and name servers",
    "agent/drivers/addresses.py": "ARP announces addresses of IPv4",
    "agent/host/arp.py": "ARP",
    "agent/host/netdump.py": "reads the host's IPv4 addresses and routes",
    "agent/leases/leasefile.py": "reads the leases of Lessor 0.1.0, which were of DHCPv4",
    "agent/server/client.py": "remembers servers at IPv4 addresses",
    "api/agent_app.py": "the metadata service is asked over IPv4",
    "api/rest/fields.py": "refuses IPv6",
    "api/resources/subnets.py": "refuses IPv6",
    "cli/kinds.py": "refuses IPv6",
    "cli/blocks.py": "cuts nova-manage's --fixed_range_v4",
    "cli/nova_manage.py": "nova-manage's --fixed_range_v4",
    "metadata/backend.py": "the metadata service is asked over IPv4",
    "metadata/client_address.py": "the metadata service is asked over IPv4",
    "metadata/neighbours.py": "reads the neighbour entries of IPv4",
    "dhcpd/client.py": "DHCPv4",
    "lab/cabling.py": "the addresses of its machines",
    "lab/capture.py": "reads headers of IPv4",
    "lab/lease.py": "reads what a client of DHCPv4 got",
    "lab/underlay.py": "has wires of either family",
}


def naming() -> set[str]:
    """Return the modules that name types of IPv4."""
    return {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if NAMED.search(path.read_text())
    }


def test_ipv4_is_named_only_where_it_is_meant() -> None:
    assert sorted(one for one in naming() if not one.startswith(tuple(NAMING))) == []


def test_every_reason_has_a_module() -> None:
    found = naming()
    assert [one for one in NAMING if not any(name.startswith(one) for name in found)] == []
