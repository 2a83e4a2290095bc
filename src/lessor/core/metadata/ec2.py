"""The EC2 tree of the metadata service, as a guest of each version's time expects it.

Source: semantics.md A15.2, A15.3; the Instance Metadata chapter of the EC2 user guide.
"""

from __future__ import annotations

from lessor.core.metadata.guest import Guest, short_id, user_data

Tree = dict[str, "Node"]
Node = bytes | str | list[str] | Tree

EC2_VERSIONS = (
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
)
LATEST = "latest"
NO_IMAGE = "ami-00000000"  # nova's word for an image it has no EC2 id of; we know of no images
LISTED_AS = "_name"  # of a dictionary: what its parent's listing prints for it; listed nowhere


def ec2_tree(guest: Guest, version: str) -> Tree | None:
    """Return what lies under /`version`; None: there is no such version.

    The keys of each version are nova's. What a network service can't know (image, flavor, disks,
    floating addresses) is there and empty, since guests ask for every key of a listing.

    Raises:
        Invalid: the VM's user data are not base64.
    """
    if version == LATEST:
        version = EC2_VERSIONS[-1]
    if version not in EC2_VERSIONS:
        return None
    tree: Tree = {"meta-data": _meta_data(guest, version)}
    data = user_data(guest)
    if data is not None:
        tree["user-data"] = data
    return tree


def listing(tree: Tree) -> str:
    """Format a dictionary's sorted keys, one a line; a dictionary as LISTED_AS or with a "/"."""
    return "\n".join(_entry(key, tree[key]) for key in sorted(tree) if key != LISTED_AS)


def _entry(key: str, node: Node) -> str:
    if not isinstance(node, dict):
        return key
    return str(node.get(LISTED_AS, f"{key}/"))


def _meta_data(guest: Guest, version: str) -> Tree:
    """Join what each version added; the versions' names sort by time."""
    tree: Tree = {}
    for since, keys in _additions(guest):
        if version >= since:
            tree |= keys
    return tree


def _additions(guest: Guest) -> list[tuple[str, Tree]]:
    first: Tree = {
        "ami-id": NO_IMAGE,
        "ami-launch-index": str(guest.launch_index),
        "ami-manifest-path": "FIXME",
        "instance-id": short_id("i", guest.id),
        "hostname": guest.hostname,
        "local-ipv4": str(guest.address or ""),
        "reservation-id": short_id("r", guest.id),
        "security-groups": [],
    }
    if guest.keys:
        first["public-keys"] = _public_keys(guest)
    names: Tree = {
        "local-hostname": guest.hostname,
        "public-hostname": guest.hostname,
        "public-ipv4": "",
    }
    return [
        ("1.0", first),
        ("2007-01-19", names),
        ("2007-08-29", {"instance-type": ""}),
        ("2007-12-15", {"block-device-mapping": {}}),
        ("2008-02-01", {"placement": {"availability-zone": guest.zone}}),
        ("2008-09-01", {"instance-action": "none"}),
    ]


def _public_keys(guest: Guest) -> Tree:
    """List keys as "0=name" although the way to them is public-keys/0/openssh-key."""
    return {
        str(index): {LISTED_AS: f"{index}={name}", "openssh-key": key}
        for index, (name, key) in enumerate(guest.keys)
    }
