"""Manages kernel settings (sysctls).

Settings carry no mark: the driver reads those that it was made for, and no others.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from lessor.core.diff import Changes
from lessor.core.state import Sysctl
from lessor.errors import LessorError
from lessor.steps import each

ROOT = Path("/proc/sys")


class SysctlDriver:
    """Reads and writes kernel settings.

    Args:
        names: the settings to look at, by dotted name ("net.ipv4.ip_forward").
        root: where the kernel shows them.
    """

    def __init__(self, names: Collection[str], root: Path = ROOT) -> None:
        self._names = tuple(names)
        self._root = root

    def observe(self) -> dict[str, Sysctl]:
        """Return the settings as they are. One that this kernel lacks is left out."""
        found = {}
        for name in self._names:
            try:
                value = sysctl_path(self._root, name).read_text()
            except OSError:
                continue
            found[name] = Sysctl(name, " ".join(value.split()))
        return found

    def apply(self, changes: Changes[Sysctl]) -> None:
        """Write every setting; raise one group of the failures.

        Deletions are not done, on purpose: the former value is not known, and another program on
        the host (containers, a VPN) may rely on the setting by now.
        """
        each([partial(self._write, one) for one in changes.create + changes.replace], "sysctls")

    def _write(self, sysctl: Sysctl) -> None:
        try:
            sysctl_path(self._root, sysctl.name).write_text(f"{sysctl.value}\n")
        except OSError as error:
            raise LessorError(f"sysctl {sysctl.name}={sysctl.value}: {error}") from error


def sysctl_path(root: Path, name: str) -> Path:
    """Return the file of a setting. As sysctl(8) has it, a "/" in the name stands for a dot.

    A device may have a dot in its name: "net.ipv4.conf.eth0/100.rp_filter" is eth0.100's.
    """
    return root / name.translate(str.maketrans("./", "/."))
