"""Makes the settings of a process from its settings files (`files` reads them) and command line.

No other folder reads configuration; the results are frozen and passed in.
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

from lessor.config.files import read
from lessor.config.nova_notifications import NOVA_OPTIONS
from lessor.config.types import CONNECTED
from lessor.errors import ConfigError
from lessor.settings import AgentSettings, FlatMapping, NovaSettings, ServerSettings, Tls

FIRST_PHYSICAL_NETWORK = "physnet1"  # the one of flat_network_bridge and flat_interface
RENAMED = {  # fields with another name than their option
    ("quota", name): f"{name}_quota"
    for name in ("fixed_ips", "network", "subnet", "port", "subnetpool", "rbac_policy")
} | {("nova", option.dest): f"nova_{option.dest}" for option in NOVA_OPTIONS}

FieldValues = dict[str, Any]  # by the name of the field in the settings


def load_server(
    config_files: Sequence[Path] = (),
    overrides: Mapping[str, object] | None = None,
    *,
    warn: bool = True,
) -> ServerSettings:
    """Return the settings of `lessor server`.

    Unknown options are ignored, with one warning in the log that names them all.

    Args:
        config_files: paths; none: /etc/lessor/lessor.conf if it exists.
        overrides: values of the command line, by option name ("listen", "database.connection");
            None: not set.
        warn: False omits that warning, for settings that another process loads too.

    Raises:
        ConfigError: a file can't be read or values are wrong; the message has a line for each.
    """
    values = _field_values(config_files, overrides or {}, _server_wrong, warn=warn)
    values["tls"] = _tls(values, "ca_file")
    values["agent_tls"] = _tls(values, "agent_ca_file")
    values["nova"] = _nova(values)
    return ServerSettings(**_fields(ServerSettings, values))


def load_agent(
    config_files: Sequence[Path] = (),
    overrides: Mapping[str, object] | None = None,
    *,
    warn: bool = True,
) -> AgentSettings:
    """Return the settings of `lessor agent`; arguments and errors as for `load_server`."""
    values = _field_values(config_files, overrides or {}, _agent_wrong, warn=warn)
    values["host"] = values["host"] or socket.gethostname()
    values["my_ip"] = values["my_ip"] or default_address()
    values["network_host"] = values["network_host"] in (None, values["host"])
    blocks = values["no_forward_cidr"]
    values["no_forward_connected"] = CONNECTED in blocks
    values["no_forward_cidr"] = [block for block in blocks if block != CONNECTED]
    if values["metadata_host"] == values["my_ip"]:  # nova's default
        values["metadata_host"] = None
    return AgentSettings(**_fields(AgentSettings, values))


def default_address() -> IPv4Address:
    """Return the address of the interface with the default route, or 127.0.0.1 without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # UDP: no packet is sent; an address of RFC 5737
        except OSError:
            return IPv4Address("127.0.0.1")
        return IPv4Address(probe.getsockname()[0])


def _field_values(
    files: Sequence[Path],
    overrides: Mapping[str, object],
    check: Callable[[FieldValues], Iterator[str]],
    *,
    warn: bool,
) -> FieldValues:
    found = read(files, overrides)
    values = {RENAMED.get(key, key[1]): value for key, value in found.values.items()}
    values["flat_mappings"] = _mappings(values)
    values |= found.passed_on
    ignored = [*found.ignored, *_novas_own(values)]
    wrong = [*found.wrong, *_mappings_wrong(values["flat_mappings"]), *check(values)]
    if wrong:
        raise ConfigError("\n".join(wrong))
    if ignored and warn:
        structlog.get_logger().warning("options ignored", options=", ".join(ignored))
    return values


def _tls(values: FieldValues, ca_file: str) -> Tls | None:
    if not values["cert_file"]:
        return None
    files = (values["cert_file"], values["key_file"], values[ca_file])
    return Tls(cert_file=files[0], key_file=files[1], ca_file=files[2])


def _fields(kind: Any, values: FieldValues) -> FieldValues:
    own = {field.name: values[field.name] for field in fields(kind)}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in own.items()}


def _mappings(values: FieldValues) -> tuple[FlatMapping, ...]:
    further = tuple(values.get("flat_mappings", ()))
    bridge = values.get("flat_network_bridge")
    if not bridge:
        return further
    first = FlatMapping(
        physical_network=FIRST_PHYSICAL_NETWORK,
        bridge=bridge,
        interface=values.get("flat_interface"),
    )
    return (first, *further)


def _nova(values: FieldValues) -> NovaSettings | None:
    """Return the compute API to notify about VMs' ports; None: no notifications."""
    if not (values["nova_auth_url"] or values["nova_endpoint_override"]):
        return None
    given: FieldValues = {
        field.name: values[f"nova_{field.name}"] for field in fields(NovaSettings)
    }
    return NovaSettings(**{name: value for name, value in given.items() if value is not None})


def _nova_wrong(values: FieldValues) -> Iterator[str]:
    kind, override = values.get("nova_auth_type"), values.get("nova_endpoint_override")
    if not (override or values.get("nova_auth_url")):
        return
    needed = {
        "none": ("endpoint_override",),
        "http_basic": ("endpoint_override", "username", "password"),
        "v3applicationcredential": ("auth_url", "application_credential_secret"),
    }.get(str(kind), ("auth_url", "username", "password", "project_name"))
    missing = [name for name in needed if not values.get(f"nova_{name}")]
    if missing:
        yield f"[nova] auth_type='{kind}': needs {', '.join(missing)} too"


def _novas_own(values: FieldValues) -> Iterator[str]:
    """Remove values that name nova's own programs and data; yield their names."""
    if Path(values.get("dhcpbridge", "")).name == "nova-dhcpbridge":
        values["dhcpbridge"] = ""
        yield "dhcpbridge (nova's; dnsmasq calls ours)"
    if values.get("connection", "").startswith("mysql"):
        values["connection"] = ""
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
                f"flat_mappings: {what} {name} occurs twice ({FIRST_PHYSICAL_NETWORK} is "
                "flat_network_bridge and flat_interface)"
            )
    for name in sorted({m.bridge for m in mappings} & set(interfaces)):
        yield f"flat_mappings: {name} can't be both a bridge and an interface"


def _server_wrong(values: FieldValues) -> Iterator[str]:
    listen, insecure = values.get("listen"), values.get("insecure_listen")
    open_to_all = values.get("auth_strategy") == "noauth" and not insecure
    if listen and open_to_all and not IPv4Address(listen[0]).is_loopback:
        yield (
            f"listen='{listen[0]}:{listen[1]}': an API without authentication listens on loopback "
            "only; set auth_strategy, or allow it with --insecure-listen"
        )
    yield from _auth_wrong(values)
    yield from _nova_wrong(values)
    yield from _ranges_wrong(values.get("vni_ranges", ()))
    scheme, separator, _ = values.get("connection", "").partition(":")
    if separator and scheme.partition("+")[0] not in ("sqlite", "postgresql"):
        yield f"[database] connection: no driver for {scheme}; use sqlite or postgresql"


def _auth_wrong(values: FieldValues) -> Iterator[str]:
    strategy, section = values.get("auth_strategy"), values["keystone_authtoken"]
    if strategy == "http_basic" and not values.get("http_basic_auth_user_file"):
        yield "auth_strategy='http_basic': needs http_basic_auth_user_file"
    if strategy == "keystone" and not section.get("auth_type"):
        yield "auth_strategy='keystone': needs [keystone_authtoken] with auth_type, auth_url, ..."
    certificate = [bool(values.get(name)) for name in ("cert_file", "key_file")]
    if any(certificate) and not all(certificate):
        yield "[ssl] cert_file and key_file: one needs the other"
    for name in ("ca_file", "agent_ca_file"):
        if values.get(name) and not any(certificate):
            yield f"[ssl] {name}: needs cert_file and key_file; without them there is no TLS"


def _ranges_wrong(ranges: Sequence[tuple[int, int]]) -> Iterator[str]:
    for (low, high), (after, last) in pairwise(sorted(ranges)):
        if after <= high:
            yield (
                f"[ml2_type_vxlan] vni_ranges: {low}:{high} and {after}:{last} overlap; join them"
            )


def _agent_wrong(values: FieldValues) -> Iterator[str]:
    if values.get("server_url") == []:
        yield "server_url='': names no server; write http://ADDRESS:9697"
    if values.get("integration_bridge") == values.get("tunnel_bridge"):
        yield (
            f"[ovs] tunnel_bridge='{values.get('tunnel_bridge')}': is the integration_bridge too; "
            "they must differ"
        )
    if values.get("metadata_mode") == "proxy" and not values.get("metadata_proxy_shared_secret"):
        yield (
            "metadata_mode='proxy': needs [neutron] metadata_proxy_shared_secret, with which nova "
            "verifies the headers"
        )
