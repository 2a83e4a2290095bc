"""All options, by section and topic: read, documented, and listed in the sample file."""

from __future__ import annotations

from typing import Any

from lessor.config import (
    agent,
    auth,
    dhcp,
    flat,
    gateway,
    metadata,
    nova_notifications,
    overlay,
    process,
    server,
)

# (topic, section, options); Any: oslo.config has no types
TOPICS: tuple[tuple[str, str, list[Any]], ...] = (
    ("Every process", "DEFAULT", process.OPTIONS),
    ("Server", "DEFAULT", server.OPTIONS),
    ("Authentication", "DEFAULT", auth.OPTIONS),
    ("Authorization rules", "oslo_policy", auth.POLICY_OPTIONS),
    ("TLS", "ssl", auth.SSL_OPTIONS),
    ("Database", "database", server.DATABASE_OPTIONS),
    ("Quotas", "quota", server.QUOTA_OPTIONS),
    ("Behind Nova", "DEFAULT", nova_notifications.OPTIONS),
    ("Behind Nova: the compute API", "nova", nova_notifications.NOVA_OPTIONS),
    ("Agent", "DEFAULT", agent.OPTIONS),
    ("Agent: TLS", "DEFAULT", auth.AGENT_OPTIONS),
    ("Flat networks", "DEFAULT", flat.OPTIONS),
    ("DHCP and leases", "DEFAULT", dhcp.OPTIONS),
    ("Overlay networks", "DEFAULT", overlay.OPTIONS),
    ("Overlay networks: types", "ml2", overlay.ML2_OPTIONS),
    ("Overlay networks: VNIs", "ml2_type_vxlan", overlay.VXLAN_OPTIONS),
    ("Overlay networks: Open vSwitch", "ovs", overlay.OVS_OPTIONS),
    ("Overlay networks: tunnels", "agent", overlay.AGENT_OPTIONS),
    ("Gateways", "DEFAULT", gateway.OPTIONS),
    ("Metadata", "DEFAULT", metadata.OPTIONS),
    ("Metadata: answers", "api", metadata.API_OPTIONS),
    ("Metadata: proxy", "neutron", metadata.NEUTRON_OPTIONS),
)

# nova-network's flags for flat networks that have no effect here, each with a replacement or a
# reason. They are ignored like any unknown option; the warning has this text.
NOVA_ONLY = {
    "allow_same_net_traffic": "VMs of one network may always talk",
    "dhcpbridge_flagfile": "the script needs no settings",
    "dns_update_periodic_interval": "names follow every change",
    "ebtables_exec_attempts": "no ebtables is run",
    "ebtables_retry_interval": "no ebtables is run",
    "fake_network": "see `lessor agent plan`",
    "firewall_driver": "see gateway_firewall",
    "flat_injected": "addresses come by DHCP",
    "flat_network_dhcp_start": "see a subnet's allocation pools",
    "gateway": "see a subnet's gateway",
    "l3_lib": "see a subnet's dhcp_server for an external gateway",
    "linuxnet_interface_driver": "flat networks are Linux bridges",
    "network_manager": "the mode is a property of each network",
    "teardown_unused_network_gateway": "unused gateways are always removed",
}


def by_key() -> dict[tuple[str, str], Any]:
    """Return every option by (section, name)."""
    return {(section, option.dest): option for _, section, options in TOPICS for option in options}
