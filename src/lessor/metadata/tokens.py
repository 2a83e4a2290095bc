"""Session tokens of EC2's metadata service (IMDSv2): issued, but not required.

Clients in Amazon's images request a token first and treat a refusal as "metadata is disabled". A VM
is identified by its MAC and address, so any token is accepted, on any host, and so is none.

Source: Amazon EC2 User Guide, "Use the Instance Metadata Service to access instance metadata".
"""

from __future__ import annotations

import secrets

from lessor.metadata.http import Response, Scope, header, refusal

PATH = ("ec2", "latest", "api", "token")
METHOD = "PUT"
LIFE = "x-aws-ec2-metadata-token-ttl-seconds"
MAX_LIFE_S = 21600
BYTES = 40


def issue(scope: Scope) -> Response:
    """Answer a request for a token with a lifetime of 1 to 21600 seconds."""
    said = header(scope, LIFE) or ""
    life = (
        int(said)
        if said.isascii() and said.isdecimal() and len(said) <= len(str(MAX_LIFE_S))
        else 0
    )
    if not 1 <= life <= MAX_LIFE_S:
        return refusal(400, f"{LIFE}: {said!r} is not 1 to {MAX_LIFE_S}")
    return Response(200, secrets.token_urlsafe(BYTES).encode(), headers=((LIFE, str(life)),))
