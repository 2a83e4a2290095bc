"""The table of authorization rules (`access` applies it); an operator's policy file may change it.

Names are Neutron's, so a policy.yaml for Neutron keeps its meaning: ACTION_NOUN, and
ACTION_NOUN:ATTRIBUTE for attributes with a rule of their own. Rules are in oslo.policy's language.
The store narrows results before `get_` rules: a caller sees the objects of its project, those on
its networks, and those shared with it (`Query.visible_to`; each noun declares its condition).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from oslo_policy import policy

from lessor.api.auth.caller import Caller
from lessor.api.auth.checks import Compiled, compiled
from lessor.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of the table."""

    name: str
    check: str
    doc: str = ""


ADMIN = "rule:admin_only"
SERVICE = "rule:admin_only or rule:service_api"
READER = "rule:admin_only or rule:service_api or rule:reader"
MEMBER = "rule:admin_only or rule:project_member"
MEMBER_OR_SERVICE = "rule:admin_only or rule:service_api or rule:project_member"
NET_OWNER = "rule:admin_only or rule:network_owner"
NET_OWNER_OR_SERVICE = "rule:admin_only or rule:service_api or rule:network_owner"

# Base rules; those without a use here are for policy files of Neutron.
BASE = (
    Rule("context_is_admin", "role:admin", "an administrator: sees and may do everything"),
    Rule("admin_only", "rule:context_is_admin", "administrators"),
    Rule("service_api", "role:service", "other services, such as Nova"),
    Rule("context_is_advsvc", "rule:service_api", "Neutron's older name of it"),
    Rule("member", "role:member", "may change objects of its project"),
    Rule("reader", "role:reader or role:member", "may see objects of its project"),
    Rule("regular_user", "rule:reader", "Neutron's older name of it"),
    Rule("project_member", "rule:member and project_id:%(project_id)s", "in its own project"),
    Rule(
        "network_owner",
        "rule:member and project_id:%(network:project_id)s",
        "on a network of its own project",
    ),
    Rule(
        "object_owner",
        "rule:member and project_id:%(object:project_id)s",
        "of the object to share",
    ),
    Rule("owner", "project_id:%(project_id)s", "of the same project"),
    Rule("admin_or_owner", "rule:context_is_admin or rule:owner"),
    Rule("admin_or_network_owner", "rule:context_is_admin or rule:network_owner"),
    Rule("admin_owner_or_network_owner", "rule:owner or rule:admin_or_network_owner"),
    Rule("network_device", "field:port:device_owner=~^network:", "a port of the network itself"),
    Rule("shared", "field:networks:shared=True", "shared with the caller's project"),
    Rule("external", "field:networks:router:external=True", "leads out of the cloud"),
    Rule("restrict_wildcard", "rule:admin_only or not field:rbac_policy:target_tenant=*"),
    Rule("default", "rule:admin_only", "actions without a rule of their own"),
)


def _attributes(actions: str, noun: str, names: Iterable[str], check: str) -> Iterable[Rule]:
    return (Rule(f"{action}_{noun}:{name}", check) for action in actions.split() for name in names)


NETWORKS = (
    Rule("create_network", MEMBER),
    Rule("get_network", READER),
    Rule("update_network", MEMBER),
    Rule("delete_network", MEMBER),
    *_attributes("create update", "network", ("shared",), ADMIN),
    *_attributes("create update", "network", ("port_security_enabled",), MEMBER),
    *_attributes(
        "create update get",
        "network",
        ("provider:network_type", "provider:physical_network", "provider:segmentation_id"),
        ADMIN,
    ),
    *_attributes("create update get", "network", ("lessor:host", "lessor:bridge"), ADMIN),
    *_attributes("create update", "network", ("lessor:multi_host", "lessor:share_address"), ADMIN),
    *_attributes("get", "network", ("lessor:bridge_interface", "lessor:dhcp_moves"), ADMIN),
)
SUBNETS = (
    Rule("create_subnet", NET_OWNER),
    Rule("get_subnet", READER),
    Rule("update_subnet", f"{NET_OWNER} or rule:project_member"),
    Rule("delete_subnet", f"{NET_OWNER} or rule:project_member"),
    *_attributes("create update", "subnet", ("lessor:dhcp_server",), NET_OWNER),
)
PORTS = (
    Rule("create_port", MEMBER_OR_SERVICE),
    Rule("get_port", READER),
    Rule("update_port", MEMBER_OR_SERVICE),
    Rule("delete_port", f"{MEMBER_OR_SERVICE} or rule:network_owner"),
    *_attributes(
        "create update", "port", ("device_owner",),
        f"not rule:network_device or {NET_OWNER_OR_SERVICE}",
    ),
    *_attributes("create", "port", ("mac_address",), NET_OWNER_OR_SERVICE),
    *_attributes("update", "port", ("mac_address",), SERVICE),
    *_attributes("create update", "port", ("fixed_ips:ip_address",), NET_OWNER_OR_SERVICE),
    *_attributes("create update", "port", ("port_security_enabled",), NET_OWNER_OR_SERVICE),
    *_attributes("create update", "port", ("allowed_address_pairs",), NET_OWNER),
    *_attributes("create update get", "port", ("binding:host_id", "binding:profile"), SERVICE),
    *_attributes(
        "get", "port", ("binding:vif_type", "binding:vif_details", "lessor:pending"), SERVICE
    ),
)  # fmt: skip
POOLS = (
    Rule("create_subnetpool", MEMBER),
    Rule("get_subnetpool", READER),
    Rule("update_subnetpool", MEMBER),
    Rule("delete_subnetpool", MEMBER),
    *_attributes("create update", "subnetpool", ("shared", "is_default"), ADMIN),
    Rule("create_address_scope", MEMBER),
    Rule("get_address_scope", READER),
    Rule("update_address_scope", MEMBER),
    Rule("delete_address_scope", MEMBER),
    *_attributes("create update", "address_scope", ("shared",), ADMIN),
)
SHARING = (
    Rule("create_rbac_policy", "rule:admin_only or rule:object_owner"),
    Rule("create_rbac_policy:target_tenant", "rule:restrict_wildcard"),
    Rule("get_rbac_policy", READER),
    Rule("update_rbac_policy", MEMBER),
    Rule("update_rbac_policy:target_tenant", "rule:restrict_wildcard"),
    Rule("delete_rbac_policy", MEMBER),
)
OWN = (
    Rule("create_instance", MEMBER),
    Rule("create_instance:id", SERVICE, "or a project could set the metadata of another's VM"),
    Rule("get_instance", READER),
    Rule("update_instance", MEMBER),
    Rule("delete_instance", MEMBER),
    Rule("get_lease", READER),
    Rule("get_lease:host", SERVICE),
    Rule("delete_lease", ADMIN),
    Rule("get_address", READER),
    Rule("get_address:host", SERVICE),
    Rule("create_address", ADMIN),
    Rule("delete_address", ADMIN),
)
LIMITS = (
    Rule("get_quota", f"{ADMIN} or rule:reader and project_id:%(project_id)s"),
    Rule("list_quotas", ADMIN),
    Rule("update_quota", ADMIN),
    Rule("delete_quota", ADMIN),
    Rule("get_network_ip_availability", ADMIN),
    Rule(
        "get_project",
        f"{ADMIN} or project_id:%(project_id)s",
        "/v3/projects, which exists without Keystone",
    ),
    Rule("list_projects", ADMIN, "the same"),
    Rule(
        "get_auto_allocated_topology",
        f"{ADMIN} or rule:reader and project_id:%(project_id)s",
        "also creates it, with create_network",
    ),
    Rule("delete_auto_allocated_topology", MEMBER),
)
BINDINGS = (
    Rule("get_port_binding", SERVICE),
    Rule("create_port_binding", SERVICE),
    Rule("update_port_binding", SERVICE, "also activates it"),
    Rule("delete_port_binding", SERVICE),
)
FLEET = (
    Rule("create_host", ADMIN),
    Rule("create_host_token", ADMIN, "a new one"),
    Rule("get_host", ADMIN),
    Rule("delete_host", ADMIN),
    Rule("get_agent", ADMIN),
    Rule("update_agent", ADMIN),
    Rule("delete_agent", ADMIN),
    Rule("get_dhcp-networks", ADMIN, "of an agent"),
    Rule("create_dhcp-network", ADMIN),
    Rule("delete_dhcp-network", ADMIN),
    Rule("get_dhcp-agents", ADMIN, "of a network"),
    Rule("get_availability_zone", READER),
    Rule("get_metrics", ADMIN, "/metrics"),
)
TABLE = (*BASE, *NETWORKS, *SUBNETS, *PORTS, *POOLS, *SHARING, *LIMITS, *BINDINGS, *OWN, *FLEET)


class Rules:
    """All compiled rules.

    Args:
        changes: the operator's rules, by name; they replace rules of the table or add to them.
            Rules of resources that we don't have (Neutron's routers) are only used if another
            rule refers to them.

    Raises:
        ConfigError: a rule is malformed.
    """

    def __init__(self, changes: Mapping[str, str] | None = None) -> None:
        changes = changes or {}
        texts = {rule.name: rule.check for rule in TABLE}
        ours = {n: text for n, text in changes.items() if n.partition(":")[0] in texts}
        self._rules: Mapping[str, Compiled] = compiled(dict(changes), texts | ours)
        self._default = self._rules["default"]
        self._attributes: dict[str, dict[str, Compiled]] = {}
        for name, rule in self._rules.items():
            action, colon, attribute = name.partition(":")
            if colon:
                self._attributes.setdefault(action, {})[attribute] = rule

    def of(self, name: str) -> Compiled:
        """Return a rule; `default` if there is no rule of this name."""
        return self._rules.get(name, self._default)

    def attributes(self, action: str) -> Mapping[str, Compiled]:
        """Return the rules of an action's single attributes, by attribute."""
        return self._attributes.get(action, {})

    def known(self, user: str, project_id: str, roles: Iterable[str]) -> Caller:
        """Return the caller with these properties."""
        plain = Caller(user, project_id, frozenset(role.lower() for role in roles))
        is_admin, is_service = (
            self.of(name).check(plain, {}) for name in ("context_is_admin", "service_api")
        )
        return Caller(user, project_id, plain.roles, is_admin=is_admin, is_service=is_service)


def read_changes(file: Path) -> dict[str, str]:
    """Parse a policy file, YAML or JSON.

    Raises:
        ConfigError: it isn't there, or not of that form.
    """
    try:
        found = policy.parse_file_contents(file.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"[oslo_policy] policy_file {file}: {error}") from error
    if not all(isinstance(text, str) for text in found.values()):
        raise ConfigError(f"[oslo_policy] policy_file {file}: each line must be NAME: RULE")
    return found
