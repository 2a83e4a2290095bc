"""Tells systemd that a service is ready, so that what is started after it finds it answering.

Source: sd_notify(3), "Standalone Implementations".
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def say_ready() -> None:
    """Say that this process serves now; nothing if systemd did not ask to be told (NOTIFY_SOCKET)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # a socket without a file
        address = f"\0{address[1:]}"
    # what serves goes on serving; systemd says by itself that it heard nothing
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
        out.sendto(b"READY=1", address)
