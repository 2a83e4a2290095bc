"""Small disks for a lab: a folder of a node that tests can fill and free.

A disk is mounted on this machine before the node starts, so it survives a power-off of the node.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path

from lessor.lab.process import run

FILLER = "filler"
CHUNK = bytes(4096)


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system mounted at a folder of this machine."""

    folder: Path
    size_mib: int

    def mount(self) -> None:
        """Create the folder and mount an empty disk on it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        options = f"size={self.size_mib}m,mode=755"
        run(("mount", "-t", "tmpfs", "-o", options, "lessor-lab-disk", str(self.folder)))

    def unmount(self) -> None:
        """Remove the disk with its content."""
        run(("umount", "--lazy", str(self.folder)))

    def fill(self) -> None:
        """Write until the disk is full."""
        with (self.folder / FILLER).open("ab", buffering=0) as filler:
            for chunk in (CHUNK, CHUNK[:1]):
                _write_until_full(filler.write, chunk)

    def free(self) -> None:
        """Free the space again."""
        (self.folder / FILLER).unlink(missing_ok=True)


def _write_until_full(write: object, chunk: bytes) -> None:
    assert callable(write)
    while True:
        try:
            write(chunk)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return
