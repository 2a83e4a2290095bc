"""What the metadata service says to a VM: from facts and a path to a page.

Two trees, as in nova: EC2's (also without its leading "/ec2") and OpenStack's.
Source: semantics.md A15.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from lessor.core.metadata.ec2 import EC2_VERSIONS, LATEST, Node, ec2_tree, listing
from lessor.core.metadata.guest import guest
from lessor.core.metadata.openstack import document, documents, openstack_versions
from lessor.model import MetadataFacts

TEXT, JSON = "text/plain", "application/json"


@dataclass(frozen=True, slots=True)
class Page:
    """A body and its content type."""

    body: bytes
    content_type: str = TEXT


def steps(path: str) -> tuple[str, ...]:
    """Split a path into names: the leading "ec2" added, odd slashes, "." and ".." resolved.

    The root is (): it is the same for every VM, known or not.
    """
    names = tuple(name for name in posixpath.normpath(f"/{path}").split("/") if name)
    return names if not names or names[0] in ("ec2", "openstack") else ("ec2", *names)


def root() -> Page:
    """Return the page of "/": the EC2 versions."""
    return _lines((*EC2_VERSIONS, LATEST))


def page(
    facts: MetadataFacts, steps: Sequence[str], *, domain: str, today: date, entropy: bytes
) -> Page | None:
    """Return what the VM behind `facts` is told; None: there is no such path.

    Args:
        facts: what is known of the VM.
        steps: the path, from `steps()`.
        domain: what host names end in, dhcp_domain; "" is nothing.
        today: versions of later days are not listed.
        entropy: random bytes for the guest's pool, new for every call.

    Raises:
        Invalid: what is stored of the VM can't be told (user data that are not base64).
    """
    match tuple(steps):
        case () | ("ec2",):
            return root()
        case ("ec2", version, *names):
            return _printed(_found(ec2_tree(guest(facts, domain), version), names))
        case ("openstack",):
            return _lines(openstack_versions(today))
        case ("openstack", version):
            return _printed(documents(guest(facts, domain), version))
        case ("openstack", version, name):
            body = document(facts, guest(facts, domain), version, name, entropy)
            kind = JSON if name.endswith(".json") else TEXT
            return None if body is None else Page(body, kind)
    return None


def _found(tree: Node | None, names: Sequence[str]) -> Node | None:
    node = tree
    for name in names:
        if not isinstance(node, dict) or name.startswith("_"):
            return None
        node = node.get(name)
    return node


def _printed(node: Node | None) -> Page | None:
    match node:
        case None:
            return None
        case bytes():
            return Page(node)
        case dict():
            return Page(listing(node).encode())
        case list():
            return _lines(node)
    return Page(node.encode())


def _lines(lines: Sequence[str]) -> Page:
    return Page("\n".join(lines).encode())
