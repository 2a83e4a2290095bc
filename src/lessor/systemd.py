"""Tells systemd that a service is ready, so that units ordered after it can call it.

Source: sd_notify(3), "Standalone Implementations".
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def say_ready() -> None:
    """Report this process as ready; does nothing without NOTIFY_SOCKET."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # abstract socket
        address = f"\0{address[1:]}"
    # a failure must not stop the service; systemd reports a missing notification itself
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"READY=1", address)
