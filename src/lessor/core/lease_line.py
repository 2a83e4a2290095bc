"""The line by which a DHCP server reports a lease event; `core.leases` parses it.

The line begins and ends with a newline, so that a torn one damages no other:

    SERVER UPTIME ACTION MAC ADDRESS EXPIRES CLIENT-ID HOSTNAME .

SERVER is the name of the DHCP server on its host, UPTIME the host's in seconds, EXPIRES in seconds
since 1970 or 0 for never; "*" stands for an empty field. Processes without rights write these
lines, so they are parsed like a stranger's.

Source: semantics.md A9, A10.
"""

from __future__ import annotations

import re

END = "."
NONE = "*"  # an empty field
_NAME = re.compile(r"[\w.-]{1,255}", re.ASCII)
_CLIENT_ID = re.compile(r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){0,254}", re.ASCII)


def lease_line(  # noqa: PLR0917 - in their order on the line
    server: str,
    uptime: float,
    action: str,
    mac: str,
    address: str,
    expires: int,
    client_id: str,
    hostname: str,
) -> str:
    """Return a line, without its newlines; client-id and hostname in their form there."""
    return f"{server} {uptime:.2f} {action} {mac} {address} {expires} {client_id} {hostname} {END}"


def line_name(hostname: str) -> str:
    """Return a hostname as lines have it."""
    return hostname if _NAME.fullmatch(hostname) else NONE


def line_client_id(client_id: str) -> str:
    """Return a client identifier, as 01:ff, as lines have it."""
    return client_id if _CLIENT_ID.fullmatch(client_id) else NONE
