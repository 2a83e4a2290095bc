"""Marks a host as one store's; every agent of the network namespace sees the mark.

The mark is an nftables table without chains, `inet lessor_owner`; its comment has the store's epoch
and the state folder of the agent. It is there as long as the host serves anything, and goes with
the kernel, as do bridges and taps.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lessor.agent.host.netlink import links
from lessor.agent.host.run import Run
from lessor.agent.server.viewstore import StoredView
from lessor.errors import Conflict, LessorError
from lessor.model import ViewAnswer

TABLE = "inet lessor_owner"
MAX_COMMENT = 120  # bytes; nftables takes 128
TAP_MARK = "lessor:"


@dataclass(frozen=True, slots=True)
class Mark:
    """The store that a host serves, and where its agent keeps its state."""

    epoch: str
    folder: str = ""


class Owner:
    """Reads and writes the mark.

    Args:
        run: runs nft.
        folder: the `state_dir` of this agent.
    """

    def __init__(self, run: Run, folder: Path) -> None:
        self._run = run
        self.folder = folder

    def read(self) -> Mark | None:
        """Return the mark; None: the host has none."""
        try:
            text = self._run("nft", "list", "table", *TABLE.split())
        except LessorError:
            return None
        found = re.search(r'comment "(\S+) ?([^"]*)"', text)
        return Mark(found[1], found[2]) if found else None

    def keep(self, epoch: str) -> None:
        """Mark the host as that store's, unless it is; "" removes the mark."""
        wanted = Mark(epoch, str(self.folder)[: MAX_COMMENT - len(epoch)]) if epoch else None
        if self.read() == wanted:
            return
        lines = [f"add table {TABLE}", f"delete table {TABLE}"]
        if wanted:
            comment = f"{wanted.epoch} {wanted.folder}".replace('"', "")
            lines.append(f'add table {TABLE} {{ comment "{comment}" ; }}')
        self._run("nft", "-f", "-", stdin="\n".join(lines) + "\n")

    def taps(self) -> dict[str, str]:
        """Return the taps on this host that carry an agent's mark: port ids, by name."""
        marked = {d.name: d.alias for d in links().values() if d.alias.startswith(TAP_MARK)}
        return {name: alias.split(":")[1] for name, alias in marked.items()}


class Guard:
    """Decides whether this agent may act on a host, by the mark found at its start."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._found = owner.read()
        self._kept = self._found.epoch if self._found else ""

    def knows(self, stored: StoredView) -> bool:
        """Return whether a stored view is of the store that the host serves.

        The mark is changed before the view is written. A view of another store was left behind.
        """
        return self._found is None or self._found.epoch == stored.view.epoch

    def check(self, answer: ViewAnswer) -> None:
        """Let an agent without a view take a store's first answer, or refuse.

        Raises:
            Conflict: the host serves another store, or has taps that this one knows nothing of.
        """
        taps = self._owner.taps()
        if self._found:
            if self._found.epoch != answer.epoch:
                raise Conflict(self._refusal(len(taps), self._found))
            return
        known = {port.id for change in answer.scopes.values() for port in change.ports}
        foreign = [name for name, port_id in taps.items() if port_id not in known]
        if foreign:
            raise Conflict(self._refusal(len(foreign), Mark("")))

    def keep(self, epoch: str, *, look: bool = False) -> None:
        """Mark the host as that store's; where nft fails, the next full look tries again.

        Args:
            epoch: of the store; "" removes the mark.
            look: read the mark first, even if it was written before.
        """
        if epoch == self._kept and not look:
            return
        with suppress(LessorError):
            self._owner.keep(epoch)
            self._kept = epoch

    def _refusal(self, count: int, mark: Mark) -> str:
        whose = f" {mark.epoch}" if mark.epoch else ""
        where = f", its agent has state_dir {mark.folder} and is not running" if mark.folder else ""
        return (
            f"this host serves another store{whose} "
            f"({count} port{'s' * (count != 1)} here{where}): nothing was changed. "
            "Start that agent again, or give the host to this one's store, which removes what that "
            "store does not have: "
            f"`lessor agent accept --state-dir {self._owner.folder}`"
        )
