"""The lease table that a starting dnsmasq takes from its hook (`init`).

It is written before each start, in a folder of root's: `init` is called as root, and only then. One
that can't be written is removed, so dnsmasq never starts with the leases of an earlier start.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lessor.core.dnsmasq.lease_table import lease_table
from lessor.core.leases import LiveLease


class StartTable:
    """The table of one server.

    Args:
        path: of the file; not on the disk of the lease book, which may be full.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        """The file, which the hook prints."""
        return self._path

    def write(self, leases: Iterable[LiveLease]) -> None:
        """Write these leases.

        Raises:
            OSError: they can't be written; dnsmasq would start without leases.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._path.write_text(lease_table(leases))
        except OSError:
            self.remove()
            raise

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)
