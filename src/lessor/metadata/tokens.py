"""Session tokens of EC2's metadata service (IMDSv2): handed out, and not asked for.

Clients of Amazon's images ask for one first and take a refusal for "metadata is switched off". A VM
is known by its address, so a token says nothing: any is accepted, on any host, and so is none.

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
    """Answer a request for a token: it names how many seconds it wants it for, 1 to 21600."""
    said = header(scope, LIFE) or ""
    life = (
        int(said)
        if said.isascii() and said.isdecimal() and len(said) <= len(str(MAX_LIFE_S))
        else 0
    )
    if not 1 <= life <= MAX_LIFE_S:
        return refusal(400, f"{LIFE}: {said!r} is not 1 to {MAX_LIFE_S}")
    return Response(200, secrets.token_urlsafe(BYTES).encode(), headers=((LIFE, str(life)),))
