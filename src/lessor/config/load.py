"""Makes the settings of a process from its settings files and command line.

Nothing else reads configuration; what comes out is frozen and passed in.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from typing import Any

import structlog

from lessor.config.nova import NOVA_OPTIONS
from lessor.config.read import read
from lessor.config.types import CONNECTED
from lessor.errors import ConfigError
from lessor.settings import AgentSettings, FlatMapping, NovaSettings, ServerSettings, Tls

FIRST_PHYSICAL_NETWORK = "physnet1"  # the one of flat_network_bridge and flat_interface
RENAMED = {  # where a field isn't named as its option
    ("quota", name): f"{name}_quota"
    for name in ("fixed_ips", "network", "subnet", "port", "subnetpool", "rbac_policy")
} | {("nova", option.dest): f"nova_{option.dest}" for option in NOVA_OPTIONS}

Facts = dict[str, Any]  # values by the name of the settings' field


def load_server(
    config_files: Sequence[Path] = (),
    overrides: Mapping[str, object] | None = None,
    *,
    warn: bool = True,
) -> ServerSettings:
    """Return the settings of `lessor server`.

    Options that are not ours are ignored, with one warning in the log that names them all.

    Args:
        config_files: by name; none: /etc/lessor/lessor.conf if it is there.
        overrides: values of the command line, by option name ("listen", "database.connection");
            None is none.
        warn: say so in the log; False for who loads settings that another process uses.

    Raises:
        ConfigError: a file can't be read or values are wrong; lists all of them, a line each.
    """
    facts = _facts(config_files, overrides or {}, _server_wrong, warn=warn)
    facts["tls"] = _tls(facts, "ca_file")
    facts["agent_tls"] = _tls(facts, "agent_ca_file")
    facts["nova"] = _nova(facts)
    return ServerSettings(**_fields(ServerSettings, facts))


def load_agent(
    config_files: Sequence[Path] = (),
    overrides: Mapping[str, object] | None = None,
    *,
    warn: bool = True,
) -> AgentSettings:
    """Return the settings of `lessor agent`; arguments and errors as those of `load_server`."""
    facts = _facts(config_files, overrides or {}, _agent_wrong, warn=warn)
    facts["host"] = facts["host"] or socket.gethostname()
    facts["my_ip"] = facts["my_ip"] or default_address()
    facts["network_host"] = facts["network_host"] in (None, facts["host"])
    blocks = facts["no_forward_cidr"]
    facts["no_forward_connected"] = CONNECTED in blocks
    facts["no_forward_cidr"] = [block for block in blocks if block != CONNECTED]
    if facts["metadata_host"] == facts["my_ip"]:  # nova's default says it that way
        facts["metadata_host"] = None
    return AgentSettings(**_fields(AgentSettings, facts))


def default_address() -> IPv4Address:
    """Return the address of the interface with the default route, or 127.0.0.1 without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: UDP, and RFC 5737 has nobody there
        except OSError:
            return IPv4Address("127.0.0.1")
        return IPv4Address(probe.getsockname()[0])


def _facts(
    files: Sequence[Path],
    overrides: Mapping[str, object],
    check: Callable[[Facts], Iterator[str]],
    *,
    warn: bool,
) -> Facts:
    found = read(files, overrides)
    facts = {RENAMED.get(key, key[1]): value for key, value in found.values.items()}
    facts["flat_mappings"] = _mappings(facts)
    facts |= found.passed_on
    ignored = [*found.ignored, *_novas_own(facts)]
    wrong = [*found.wrong, *_mappings_wrong(facts["flat_mappings"]), *check(facts)]
    if wrong:
        raise ConfigError("\n".join(wrong))
    if ignored and warn:
        structlog.get_logger().warning("options ignored", options=", ".join(ignored))
    return facts


def _tls(facts: Facts, ca_file: str) -> Tls | None:
    if not facts["cert_file"]:
        return None
    files = (facts["cert_file"], facts["key_file"], facts[ca_file])
    return Tls(cert_file=files[0], key_file=files[1], ca_file=files[2])


def _fields(kind: Any, facts: Facts) -> Facts:
    values = {field.name: facts[field.name] for field in fields(kind)}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _mappings(facts: Facts) -> tuple[FlatMapping, ...]:
    further = tuple(facts.get("flat_mappings", ()))
    bridge = facts.get("flat_network_bridge")
    if not bridge:
        return further
    first = FlatMapping(
        physical_network=FIRST_PHYSICAL_NETWORK,
        bridge=bridge,
        interface=facts.get("flat_interface"),
    )
    return (first, *further)


def _nova(facts: Facts) -> NovaSettings | None:
    """Return who is to be told of VMs' ports, if anybody is."""
    if not (facts["nova_auth_url"] or facts["nova_endpoint_override"]):
        return None
    given: Facts = {field.name: facts[f"nova_{field.name}"] for field in fields(NovaSettings)}
    return NovaSettings(**{name: value for name, value in given.items() if value is not None})


def _nova_wrong(facts: Facts) -> Iterator[str]:
    kind, override = facts.get("nova_auth_type"), facts.get("nova_endpoint_override")
    if not (override or facts.get("nova_auth_url")):
        return
    needed = {
        "none": ("endpoint_override",),
        "http_basic": ("endpoint_override", "username", "password"),
        "v3applicationcredential": ("auth_url", "application_credential_secret"),
    }.get(str(kind), ("auth_url", "username", "password", "project_name"))
    missing = [name for name in needed if not facts.get(f"nova_{name}")]
    if missing:
        yield f"[nova] auth_type='{kind}': needs {', '.join(missing)} too"


def _novas_own(facts: Facts) -> Iterator[str]:
    """Take out values that mean nova's own programs and data; say which."""
    if Path(facts.get("dhcpbridge", "")).name == "nova-dhcpbridge":
        facts["dhcpbridge"] = ""
        yield "dhcpbridge (nova's; dnsmasq calls ours)"
    if facts.get("connection", "").startswith("mysql"):
        facts["connection"] = ""
        yield "[database] connection (nova's; ours is in state_dir)"


def _mappings_wrong(mappings: Sequence[FlatMapping]) -> Iterator[str]:
    interfaces = [m.interface for m in mappings if m.interface]
    for what, names in (
        ("physical network", [m.physical_network for m in mappings]),
        ("bridge", [m.bridge for m in mappings]),
        ("interface", interfaces),
    ):
        for name in [name for name, times in Counter(names).items() if times > 1]:
            yield (
                f"flat_mappings: {what} {name} is there twice ({FIRST_PHYSICAL_NETWORK} is "
                "flat_network_bridge and flat_interface)"
            )
    for name in sorted({m.bridge for m in mappings} & set(interfaces)):
        yield f"flat_mappings: {name} can't be a bridge and the interface of one"


def _server_wrong(facts: Facts) -> Iterator[str]:
    listen, insecure = facts.get("listen"), facts.get("insecure_listen")
    open_to_all = facts.get("auth_strategy") == "noauth" and not insecure
    if listen and open_to_all and not IPv4Address(listen[0]).is_loopback:
        yield (
            f"listen='{listen[0]}:{listen[1]}': the API asks nobody who he is, so it listens on "
            "loopback only; set auth_strategy, or --insecure-listen lets it"
        )
    yield from _auth_wrong(facts)
    yield from _nova_wrong(facts)
    yield from _ranges_wrong(facts.get("vni_ranges", ()))
    scheme, separator, _ = facts.get("connection", "").partition(":")
    if separator and scheme.partition("+")[0] not in ("sqlite", "postgresql"):
        yield f"[database] connection: no driver for {scheme}; sqlite and postgresql are known"


def _auth_wrong(facts: Facts) -> Iterator[str]:
    strategy, section = facts.get("auth_strategy"), facts["keystone_authtoken"]
    if strategy == "http_basic" and not facts.get("http_basic_auth_user_file"):
        yield "auth_strategy='http_basic': needs http_basic_auth_user_file"
    if strategy == "keystone" and not section.get("auth_type"):
        yield "auth_strategy='keystone': needs [keystone_authtoken] with auth_type, auth_url, ..."
    certificate = [bool(facts.get(name)) for name in ("cert_file", "key_file")]
    if any(certificate) and not all(certificate):
        yield "[ssl] cert_file and key_file: one needs the other"
    for name in ("ca_file", "agent_ca_file"):
        if facts.get(name) and not any(certificate):
            yield f"[ssl] {name}: needs cert_file and key_file; without them there is no TLS"


def _ranges_wrong(ranges: Sequence[tuple[int, int]]) -> Iterator[str]:
    for (low, high), (after, last) in pairwise(sorted(ranges)):
        if after <= high:
            yield (
                f"[ml2_type_vxlan] vni_ranges: {low}:{high} and {after}:{last} overlap; join them"
            )


def _agent_wrong(facts: Facts) -> Iterator[str]:
    if facts.get("server_url") == []:
        yield "server_url='': names no server; write http://ADDRESS:9697"
    if facts.get("integration_bridge") == facts.get("tunnel_bridge"):
        yield (
            f"[ovs] tunnel_bridge='{facts.get('tunnel_bridge')}': is the integration_bridge too; "
            "they must be two"
        )
    if facts.get("metadata_mode") == "proxy" and not facts.get("metadata_proxy_shared_secret"):
        yield (
            "metadata_mode='proxy': needs [neutron] metadata_proxy_shared_secret, which nova "
            "checks the headers with"
        )
