"""Forwards requests of VMs to Nova's metadata API, with signed headers that identify the VM.

Source: semantics.md A15.4, B20.
"""

from __future__ import annotations

import hashlib
import hmac

import httpx

from lessor.metadata.http import Response, refusal
from lessor.model import Port
from lessor.net.address import Address

PASSED_HEADERS = ("accept", "content-type")  # of the VM's request; none of Nova's own
PASSED_STATUSES = frozenset({400, 403, 404, 409, 500, 502, 503, 504})
TIMEOUT_S = 20.0
PARALLEL = 64  # requests to Nova at once, of all VMs of this host


def signature(secret: str, instance_id: str) -> str:
    """Sign an instance id as Nova checks it: HMAC-SHA256 in hexadecimal."""
    return hmac.new(secret.encode(), instance_id.encode(), hashlib.sha256).hexdigest()


class NovaProxy:
    """Forwards requests to Nova over connections that stay open.

    Args:
        url: of Nova's metadata API; a path in it goes before the VM's.
        secret: metadata_proxy_shared_secret, the same as in nova.conf.
    """

    def __init__(self, url: str, secret: str) -> None:
        self._url = httpx.URL(url)
        self._secret = secret
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=PARALLEL, max_keepalive_connections=8),
            trust_env=False,  # a proxy of the operator's shell must not see VMs' metadata
        )

    async def forward(
        self,
        port: Port,
        address: Address,
        *,
        method: str,
        target: bytes,
        headers: dict[str, str],
        body: bytes,
    ) -> Response:
        """Forward a request of a port's VM to Nova, and return the response for the VM.

        Args:
            port: of the VM; its device_id is the instance, its project the tenant.
            address: of the VM.
            method: GET, HEAD or POST.
            target: path and query of the VM's request, still quoted.
            headers: of the VM's request, lower case; only PASSED_HEADERS are forwarded.
            body: of the VM's request.
        """
        if not port.device_id:
            return refusal(404, "the port of this address has no device_id")
        sent = {name: headers[name] for name in PASSED_HEADERS if name in headers}
        sent |= {
            "X-Forwarded-For": str(address),
            "X-Instance-ID": port.device_id,
            "X-Tenant-ID": port.project_id,
            "X-Instance-ID-Signature": signature(self._secret, port.device_id),
        }
        url = self._url.copy_with(raw_path=self._url.raw_path.rstrip(b"/") + target)
        try:
            answer = await self._client.request(method, url, headers=sent, content=body)
        except httpx.HTTPError:
            return refusal(503, "nova's metadata service can't be reached; try again")
        return _passed(answer)

    async def aclose(self) -> None:
        """Close the connections to Nova."""
        await self._client.aclose()


def _passed(answer: httpx.Response) -> Response:
    if answer.status_code == httpx.codes.OK:
        kind = answer.headers.get("content-type", "text/plain")
        return Response(200, answer.content, kind)
    if answer.status_code in PASSED_STATUSES:
        return refusal(answer.status_code)
    return refusal(500, f"nova's metadata service answered {answer.status_code}")
