"""Reads a dnsmasq's status as an operator would: from /proc and its files, not from the driver."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lessor.core.diagnosis.dhcp import DhcpStatus
from lessor.core.dnsmasq.files import read_reservations
from lessor.core.state import DhcpServer
from lessor.netns import FOLDER, identity, identity_of

PROC = Path("/proc")


def status(root: Path, server: DhcpServer) -> DhcpStatus:
    """Return the status of a server; `root` is `networks_path`."""
    folder = root / server.name
    pid, here, reservations = _found(folder, server.namespace)
    elsewhere = "" if here else ", in another namespace"
    return DhcpStatus(
        program="dnsmasq",
        process=f"pid {pid}{elsewhere}" if pid else "",
        serves=here,
        process_command=f"ps -ef | grep -- --dhcp-hostsdir={folder}/hosts",
        reservations=reservations,
        store=("dnsmasq files", str(folder)),
        reservations_command=f"cat {folder}/reservations {folder}/hosts/*",
    )


def _found(folder: Path, namespace: str) -> tuple[int, bool, frozenset[tuple[str, str]]]:
    """Return process id, whether it is in the namespace, and reservations; 0 if none runs."""
    with suppress(OSError, ValueError):
        if pid := _pid(folder):
            return pid, _is_in(pid, namespace), _reservations(folder)
    return 0, False, frozenset()


def _pid(folder: Path) -> int:
    """Return the process id of the dnsmasq that serves from this folder; 0: none runs.

    Raises:
        OSError: there is no pid file, or no such process.
    """
    pid = int((folder / "pid").read_text())
    words = (PROC / str(pid) / "cmdline").read_text().split("\0")
    return pid if f"--dhcp-hostsdir={folder}/hosts" in words else 0


def _is_in(pid: int, namespace: str) -> bool:
    named = not namespace or (FOLDER / namespace).exists()
    return named and identity_of(pid) == identity(namespace)


def _reservations(folder: Path) -> frozenset[tuple[str, str]]:
    files = [folder / "reservations", *(folder / "hosts").iterdir()]
    texts = (file.read_text() for file in files if file.is_file())
    return frozenset(one for text in texts for one in read_reservations(text))
