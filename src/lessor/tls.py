"""How clients of ours look at a server's certificate, and show their own."""

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
    """Return what an HTTPS client works with.

    Args:
        cafile: authorities that the server's certificate may be of; None: the system's.
        certfile: a certificate of our own, if the server asks for one.
        keyfile: its key; None: it is in `certfile`.
        insecure: take any certificate.

    Raises:
        ConfigError: a file can't be read or is no such thing.
    """
    try:
        context = ssl.create_default_context(cafile=cafile)
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile)
    except OSError as error:  # ssl's own errors are of this kind
        files = ", ".join(str(file) for file in (cafile, certfile, keyfile) if file)
        raise ConfigError(f"can't be used for TLS: {files}: {error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
