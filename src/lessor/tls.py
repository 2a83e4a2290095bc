"""TLS contexts of our clients."""

from __future__ import annotations

import ssl
from pathlib import Path

from lessor.errors import ConfigError


def trust(
    cafile: Path | None = None,
    certfile: Path | None = None,
    keyfile: Path | None = None,
    *,
    insecure: bool = False,
) -> ssl.SSLContext:
    """Return the TLS context of an HTTPS client.

    Args:
        cafile: authorities of the server's certificate; None: the system's.
        certfile: client certificate, if the server requires one.
        keyfile: its key; None: it is in `certfile`.
        insecure: accept any certificate.

    Raises:
        ConfigError: a file can't be read or has the wrong content.
    """
    try:
        context = ssl.create_default_context(cafile=cafile)
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile)
    except OSError as error:  # ssl.SSLError is an OSError
        files = ", ".join(str(file) for file in (cafile, certfile, keyfile) if file)
        raise ConfigError(f"can't be used for TLS: {files}: {error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
