"""The OpenStack tree of the metadata service: documents that appear version by version.

Source: semantics.md A15.2, A15.3.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from lessor.core.metadata.ec2 import LATEST
from lessor.core.metadata.guest import Guest, user_data
from lessor.core.metadata.network_data import network_data
from lessor.model import MetadataFacts

FOLSOM = "2012-08-10"
GRIZZLY = "2013-04-04"
HAVANA = "2013-10-17"
LIBERTY = "2015-10-15"
NEWTON_ONE = "2016-06-30"
NEWTON_TWO = "2016-10-06"
OCATA = "2017-02-22"
ROCKY = "2018-08-27"
OPENSTACK_VERSIONS = (
    FOLSOM, GRIZZLY, HAVANA, LIBERTY, NEWTON_ONE, NEWTON_TWO, OCATA, ROCKY,
)  # fmt: skip
DOCUMENTS = {  # in the order in which nova lists them, with the version that brought each
    "meta_data.json": FOLSOM,
    "user_data": FOLSOM,
    "password": GRIZZLY,
    "vendor_data.json": HAVANA,
    "network_data.json": LIBERTY,
    "vendor_data2.json": NEWTON_TWO,
}


def openstack_versions(today: date) -> list[str]:
    """List the versions released by `today`, and "latest". Later ones are served, too."""
    return [v for v in OPENSTACK_VERSIONS if v <= today.isoformat()] + [LATEST]


def documents(guest: Guest, version: str) -> list[str] | None:
    """List the documents of a version; None: there is no such version."""
    version = _version(version)
    if version not in OPENSTACK_VERSIONS:
        return None
    has = {name for name in DOCUMENTS if name != "user_data" or guest.user_data is not None}
    return [name for name, since in DOCUMENTS.items() if name in has and version >= since]


def is_password(steps: Sequence[str]) -> bool:
    """Tell whether a path, split, is that of the password, which may also be posted."""
    match tuple(steps):
        case ("openstack", version, "password"):
            return _version(version) in OPENSTACK_VERSIONS and _version(version) >= GRIZZLY
    return False


def document(
    facts: MetadataFacts, guest: Guest, version: str, name: str, entropy: bytes
) -> bytes | None:
    """Return one document of a version; None: it isn't among `documents`.

    Args:
        facts: of the VM, for its NICs.
        guest: the same VM.
        version: one of OPENSTACK_VERSIONS, or "latest".
        name: of the document.
        entropy: random bytes for the guest's pool, new for every call.

    Raises:
        Invalid: the VM's user data are not base64.
    """
    if name not in (documents(guest, version) or ()):
        return None
    if name == "user_data":
        return user_data(guest)
    if name == "password":
        return guest.password.encode()
    return json.dumps(_values(facts, guest, _version(version), name, entropy)).encode()


def _values(
    facts: MetadataFacts, guest: Guest, version: str, name: str, entropy: bytes
) -> dict[str, Any]:
    match name:
        case "meta_data.json":
            return _meta_data(guest, version, entropy)
        case "network_data.json":
            return dict(network_data(facts))
        case "vendor_data2.json":
            return {"static": {}}  # what nova says where no vendor data is configured
    return {}


def _version(version: str) -> str:
    return OPENSTACK_VERSIONS[-1] if version == LATEST else version


def _meta_data(guest: Guest, version: str, entropy: bytes) -> dict[str, Any]:
    data: dict[str, Any] = {"uuid": guest.id}
    if guest.metadata:
        data["meta"] = guest.metadata
    if guest.keys:
        data["public_keys"] = dict(guest.keys)
        data["keys"] = [{"name": n, "type": "ssh", "data": key} for n, key in guest.keys]
    data["hostname"] = guest.hostname
    data["name"] = guest.name
    data["launch_index"] = guest.launch_index
    data["availability_zone"] = guest.zone
    if version >= GRIZZLY:
        data["random_seed"] = base64.b64encode(entropy).decode()
    if version >= LIBERTY:
        data["project_id"] = guest.project_id
    if version >= NEWTON_ONE:
        data["devices"] = []  # of nova's, only those that a user gave a tag
    return data
