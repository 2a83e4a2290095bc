"""The settings of the servers, a file each: the agent writes them, the process reads them.

It reads them at its start, as root, and opens sockets by them. So they are root's: nothing that a
process without rights has written decides what a later one does with root's rights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import msgspec

from lessor.core.dns.zone import Zone
from lessor.dnsd.messages import READ_HEADER, VERSION, Header, encode

_FOLDER = f"servers-{VERSION}"


def folder(home: Path) -> Path:
    """Return the folder of the files."""
    return home / _FOLDER


def write(home: Path, header: Header) -> None:
    """Write the settings of a server, whole or not at all.

    Raises:
        OSError: that fails.
    """
    path = _path(home, header.name)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    new = path.with_name(f".{path.name}")
    new.write_bytes(encode(header))
    os.replace(new, path)  # noqa: PTH105 - that it takes the former one's place is the point


def remove(home: Path, name: str) -> None:
    """Remove the settings of a server.

    Raises:
        OSError: that fails.
    """
    _path(home, name).unlink(missing_ok=True)


def zone(home: Path, name: str) -> Zone | None:
    """Return the settings of one server; None: there are none, or they are unreadable."""
    with suppress(OSError, msgspec.MsgspecError):
        return READ_HEADER.decode(_path(home, name).read_bytes()).zone
    return None


def read(home: Path) -> Iterator[Header | str]:
    """Yield the settings of all servers; a message for a file that is unreadable.

    Raises:
        OSError: the folder can't be read.
    """
    if not folder(home).exists():
        return
    for path in sorted(folder(home).iterdir()):
        if not path.name.startswith("."):
            try:
                yield READ_HEADER.decode(path.read_bytes())
            except (OSError, msgspec.MsgspecError) as error:
                yield f"{path}: {error}"


def _path(home: Path, name: str) -> Path:
    return folder(home) / quote(name, safe="")
