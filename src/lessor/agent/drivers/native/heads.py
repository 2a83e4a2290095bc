"""What each server was last fed with, besides its reservations: one file a server.

lessor-dhcpd has the reservations and a fingerprint; the rest of a `DhcpServer` is here, for an
agent that starts while the process runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from lessor.agent.host.atomic import atomic_write
from lessor.core.state import DhcpServer
from lessor.errors import Invalid
from lessor.netns import identity
from lessor.wire import decode, encode


class Heads:
    """A folder of the agent."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, name: str) -> DhcpServer | None:
        """Return a server as it was last fed, without reservations; None: it is not known."""
        with suppress(FileNotFoundError, Invalid):
            return decode((self._folder / name).read_bytes(), DhcpServer)
        return None

    def write(self, server: DhcpServer) -> None:
        """Keep a server.

        Raises:
            OSError: the file can't be written.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_write(self._folder / server.name, encode(head(server)), durable=False)

    def remove(self, name: str) -> None:
        """Forget a server.

        Raises:
            OSError: the file can't be removed.
        """
        (self._folder / name).unlink(missing_ok=True)


def head(server: DhcpServer) -> DhcpServer:
    """Return a server without its reservations."""
    return replace(server, reservations={})


def serves_alike(one: DhcpServer, other: DhcpServer) -> bool:
    """Tell whether the same reservation has the same options in both, on the same interface."""
    return _about(one) == _about(other)


def fingerprint(server: DhcpServer, place: str) -> str:
    """Return a short text that differs if all rows, or the sockets, are to be made again.

    Args:
        server: the server.
        place: as `place_of` returns it.
    """
    return sha256(f"{_about(server)} {place}".encode()).hexdigest()[:32]


def place_of(server: DhcpServer) -> str:
    """Return the kernel's numbers of the namespace; "": the host's own.

    A socket keeps its namespace: of a new one by the same name it hears nothing.

    Raises:
        OSError: no namespace has the name.
    """
    return "{},{}".format(*identity(server.namespace)) if server.namespace else ""


def other_version(found: str, ours: str) -> str:
    """Return why a running process is to be replaced; "": it is of this version."""
    return "" if found == ours else f"it is of version {found}, the agent of {ours}"


def changed(
    before: Mapping[str, object], after: Mapping[str, object]
) -> tuple[list[str], list[str]]:
    """Return the keys that are gone or have another value, and those that are new or have one.

    Most values are the same objects, which costs least to compare.
    """
    others = [key for key, value in before.items() if after.get(key) is not value]
    gone = [key for key in others if after.get(key) != before[key]]
    unknown = [key for key, value in after.items() if before.get(key) is not value]
    return gone, [key for key in unknown if before.get(key) != after[key]]


def _about(server: DhcpServer) -> tuple[object, ...]:
    return server.interface, server.namespace, server.ranges, server.lease_time
