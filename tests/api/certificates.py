"""Certificates for tests, made by openssl: an authority, a server's, a client's."""

from __future__ import annotations

import subprocess
from pathlib import Path

DAYS = "2"
# What Python 3.13 asks of a certificate (VERIFY_X509_STRICT, RFC 5280), and older ones do not
EXTENSIONS = """\
basicConstraints=CA:FALSE
keyUsage=digitalSignature
subjectKeyIdentifier=hash
authorityKeyIdentifier=keyid
subjectAltName=IP:127.0.0.1,DNS:localhost
"""


def _openssl(*args: object) -> None:
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True)


def authority(folder: Path) -> Path:
    """Make an authority; return its certificate."""
    folder.mkdir(exist_ok=True)
    _openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-days", DAYS, "-subj", "/CN=tests", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        "-keyout", folder / "ca.key", "-out", folder / "ca.pem",
    )  # fmt: skip
    return folder / "ca.pem"


def certificate(ca: Path, name: str) -> tuple[Path, Path]:
    """Let an authority certify a name at 127.0.0.1; return the certificate and its key."""
    cert, key, asked = (ca.parent / f"{name}.{end}" for end in ("pem", "key", "csr"))
    extensions = ca.parent / f"{name}.ext"
    extensions.write_text(EXTENSIONS)
    _openssl(
        "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
        f"/CN={name}", "-keyout", key, "-out", asked,
    )  # fmt: skip
    _openssl(
        "x509", "-req", "-in", asked, "-CA", ca, "-CAkey", ca.with_suffix(".key"),
        "-CAcreateserial", "-days", DAYS, "-extfile", extensions, "-out", cert,
    )  # fmt: skip
    return cert, key
