"""The devices of all servers, as files that the agent writes and root reads at a start.

The table on disk is written by a process without rights: root reads nothing of it. Here is all that
the start needs before it has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from lessor.dhcpd.messages import DEVICE, Device


class Devices:
    """One folder; each file has a server's name."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "devices"

    def all(self) -> Iterator[tuple[str, Device]]:
        """Yield the servers' names and devices; a file that is malformed is left out."""
        with suppress(FileNotFoundError):
            for path in sorted(self._folder.iterdir()):
                with suppress(OSError, msgspec.MsgspecError):
                    if not path.name.startswith("."):
                        yield path.name, DEVICE.decode(path.read_bytes())

    def write(self, name: str, device: Device) -> None:
        """Write a server's device, whole.

        Raises:
            OSError: it can't be written.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path, new = self._folder / name, self._folder / f".{name}"
        content = msgspec.json.encode(device)
        with suppress(FileNotFoundError):
            if path.read_bytes() == content:
                return
        new.write_bytes(content)
        new.replace(path)

    def remove(self, name: str) -> None:
        """Remove a server's device.

        Raises:
            OSError: it can't be removed.
        """
        (self._folder / name).unlink(missing_ok=True)
