"""The VM that asks for its metadata, in one value, whether it has an instance row or only ports.

Without a row it is described from the port behind its address (`device_id`, name, addresses), so
that a VM gets an instance id and a host name from the first boot on.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from ipaddress import IPv4Address

from lessor.errors import Invalid
from lessor.model import Instance, MetadataFacts, Port
from lessor.net.address import Address
from lessor.net.guest_name import hostname
from lessor.net.labels import label

COMPUTE_OWNER = "compute:"  # device_owner of a VM's port; its zone follows
NO_ZONE = "nova"  # what compute calls the zone of a host that is in none


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """What the trees are made of. `hostname` has its domain; `user_data` is base64."""

    id: str
    name: str
    hostname: str
    project_id: str
    zone: str
    address: Address | None
    keys: tuple[tuple[str, str], ...]  # (name, OpenSSH public key), by name
    user_data: str | None
    metadata: dict[str, str]
    launch_index: int
    password: str


def guest(facts: MetadataFacts, domain: str) -> Guest:
    """Describe the VM behind `facts`; its host name ends in `domain`, or its network's own.

    Where a port has to stand for the VM it is the first one, through whichever it asks: a VM has
    one name.
    """
    port = nics(facts)[0]
    row = facts.instance or _instance_of_port(port)
    network = facts.networks.get(port.network_id)
    domain = (network.dns_domain.rstrip(".") if network else "") or domain
    name = _label(facts.instance, port)
    return Guest(
        id=row.id,
        name=row.name,
        hostname=f"{name}.{domain}" if domain else name,
        project_id=row.project_id or port.project_id,
        zone=row.availability_zone,
        address=_address(facts),
        keys=tuple(sorted(row.public_keys.items())),
        user_data=row.user_data,
        metadata=row.metadata,
        launch_index=row.launch_index,
        password=row.password,
    )


def nics(facts: MetadataFacts) -> tuple[Port, ...]:
    """Return the VM's ports, the oldest first: that one carries its default route (A8.1)."""
    ports = {port.id: port for port in (*facts.ports, facts.port)}
    return tuple(sorted(ports.values(), key=lambda port: (port.created_at, port.id)))


def user_data(guest: Guest) -> bytes | None:
    """Return the VM's user data as it reads them; None: it has none.

    Raises:
        Invalid: what is stored isn't base64.
    """
    if guest.user_data is None:
        return None
    try:
        return base64.b64decode(guest.user_data)
    except ValueError as error:
        raise Invalid(f"user data of instance {guest.id} is not base64: {error}") from error


def short_id(prefix: str, id_: str) -> str:
    """Make an EC2 id, such as "i-0a1b2c3d", of a long one: its SHA-256's first 32 bits.

    EC2's ids are numbers that nova counts in its database. Ours follow from the id alone: every
    host says the same one, today and after the store was restored. Not the first digits of the
    UUID, since ids that people make up differ in their last ones only.
    """
    return f"{prefix}-{hashlib.sha256(id_.encode()).hexdigest()[:8]}"


def _instance_of_port(port: Port) -> Instance:
    zone = port.device_owner.removeprefix(COMPUTE_OWNER)
    known = port.device_owner.startswith(COMPUTE_OWNER) and zone
    return Instance(
        id=port.device_id or port.id,
        name=port.name,
        project_id=port.project_id,
        availability_zone=zone if known else NO_ZONE,
    )


def _label(instance: Instance | None, port: Port) -> str:
    """Return the VM's name in one DNS label, the one that DHCP tells it.

    A port of an instance has its name as dns_name (`store.guestnames`), unless that is set.
    """
    row = label(instance.hostname) or label(instance.name) if instance else ""
    chosen = "" if label(port.dns_name.partition(".")[0]) else row
    address = port.fixed_ips[0].address if port.fixed_ips else IPv4Address(0)
    return chosen or hostname(port, address)


def _address(facts: MetadataFacts) -> Address | None:
    addresses = (ip.address for port in nics(facts) for ip in port.fixed_ips)
    return next(addresses, None)
